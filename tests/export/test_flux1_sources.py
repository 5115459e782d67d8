"""One transformer of FLUX.1's in every layout that it is published in: the same packed tensors."""

import re

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from export import layouts, opening
from export.denoisers import flux1, flux1_native
from export.errors import ExportError
from export.families.family import DENOISER, OriginalNames, Part
from export.families.place import choose_place
from export.source.configuration import Configuration
from export.source.files import list_checkpoint
from tests.export.test_any_group import weights_of
from tests.export.tiny import as_float, edit, load, save
from tests.export.tiny_flux1 import TinyFlux1
from tests.fullscale import formats

PART = Part("transformer", DENOISER, flux1, lambda file, asked: flux1.read_config(file),
            layouts.LOWBIT, "transformer", derive_config=flux1.derive_config,
            original=OriginalNames(flux1_native.MARK, flux1_native.renaming))
SINGLE_OUT = re.compile(r"single_transformer_blocks.*\.proj_out\.weight")  # cut at column D of 5 D


def opened(folder, base=None):
    """The transformer's Component, as a build opens it; base: the configuration of its base."""
    place = choose_place(list_checkpoint(folder), PART, None, None)
    layout, tensors = opening.open_tensors(PART, place, Configuration(folder, {}), None)
    path = place.path / "config.json"
    file = (Configuration(folder, dict(base)) if base else opening.read_part_file(
        PART, place, path if path.exists() else None, layout, tensors))
    return opening.open_component(PART, PART.read_config(file, None), layout, tensors, None)


def check(component, tiny):
    """Every weight is the model's, exactly; each low-bit one has a scale for a row if it can."""
    assert not component.dropped
    for name, want in tiny.diffusers.items():
        packed = component.layout.pack(name)
        assert packed.storage == component.layout.storage(name)
        if name.removesuffix(".weight") not in tiny.lowbit:
            assert (floats_of(packed) == want).all(), name
            continue
        assert (weights_of(packed) == want).all(), name
        assert packed.storage.kind == ("ternary" if tiny.levels == 3 else "binary")
        if not isinstance(tiny.group, int):
            columns = tiny.width if SINGLE_OUT.fullmatch(name) else want.shape[1]
            assert packed.storage.group == columns, name


def floats_of(packed):
    kind = {"bf16": "BF16", "f16": "F16", "f32": "F32"}[packed.storage.kind]
    return as_float(packed.parts["data"], kind)


LAYOUTS = {
    "diffusers": lambda tiny, folder: tiny.write_diffusers(folder),
    "f16": lambda tiny, folder: tiny.write_diffusers(folder, "F16"),
    "f32": lambda tiny, folder: tiny.write_diffusers(folder, "F32"),
    "mlx-packed": lambda tiny, folder: tiny.write_packed(folder),
    "native": lambda tiny, folder: tiny.write_native(folder / "mine.safetensors"),
    "native f16": lambda tiny, folder: tiny.write_native(folder / "mine.safetensors", "F16"),
    "native f32": lambda tiny, folder: tiny.write_native(
        folder / "mine.safetensors", "F32", "model.diffusion_model."),
    **{f"gguf {kind}": lambda tiny, folder, kind=kind: tiny.write_gguf(folder / "a.gguf", kind)
       for kind in ("F32", "F16", "BF16", "Q2_0", "PQ2_0", "PTQ1_0")},
    "gguf, F32 beside": lambda tiny, folder: tiny.write_gguf(folder / "a.gguf", "Q2_0", "F32"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("guidance", [False, True])
def test_every_layout_is_the_same_model(tmp_path, layout, guidance):
    tiny = TinyFlux1(guidance=guidance)
    LAYOUTS[layout](tiny, tmp_path)
    check(opened(tmp_path), tiny)


@pytest.mark.parametrize("layout", ["diffusers", "mlx-packed", "native", "gguf F16"])
@pytest.mark.parametrize(("levels", "group", "width"), [
    (2, None, 128), (3, "tensor", 192), (2, "tensor", 64), (3, 48, 192), (2, 32, 64), (3, 64, 192),
])
def test_groups_of_any_width(tmp_path, layout, levels, group, width):
    """For each row and for a whole tensor, too; ternary and binary."""
    tiny = TinyFlux1(levels, group, width=width)
    if layout == "mlx-packed":
        tiny.write_packed(tmp_path, group if isinstance(group, int) else 32)
    else:
        LAYOUTS[layout](tiny, tmp_path)
    component = opened(tmp_path, tiny.config)
    check(component, tiny)
    if isinstance(group, int):
        name = "transformer_blocks.0.ff.net.2.weight"
        assert component.layout.storage(name).group == group


def test_binary_gguf(tmp_path):
    tiny = TinyFlux1(levels=2)
    tiny.write_gguf(tmp_path / "a.gguf", "Q1_0")
    check(opened(tmp_path), tiny)


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_blocks_of_256_that_were_trained(tmp_path, kind):
    """Of a model with a scale for a row, or for 256 inputs at least."""
    for group in (None, 256):
        tiny = TinyFlux1(width=256, group=group)
        tiny.write_gguf(tmp_path / "a.gguf", kind)
        check(opened(tmp_path), tiny)


def test_a_scale_for_a_row_costs_next_to_nothing(tmp_path):
    """A quarter of a byte for a weight on the GPU, a fifth in the download."""
    tiny = TinyFlux1(width=256)
    component = opened(tiny.write_diffusers(tmp_path))
    storages = [component.layout.storage(f"{name}.weight") for name in tiny.lowbit]
    weights, rows = (sum(values) for values in zip(
        *((s.parameters, s.parameters // s.group) for s in storages), strict=True))
    assert sum(s.gpu_bytes for s in storages) == weights / 4 + 2 * rows
    assert 2 * rows < weights / 4 / 30
    assert sum(s.wire_bytes for s in storages) < weights / 5 + 2 * rows + 4 * len(storages)


def test_q8_0_is_read_exactly(tmp_path):
    """Low-bit weights are on a grid there too, a 127th of each being rounded; the others are in the

    narrowest float that holds them: here scale times byte takes f32.
    """
    tiny = TinyFlux1()
    for name, values in tiny.whole.items():
        if values.ndim > 1:
            tiny.whole[name] = tiny.random.normal(size=values.shape).astype("<f4")
    tiny.write_gguf(tmp_path / "a.gguf", "Q8_0", "Q8_0")
    component = opened(tmp_path)
    for name, values in tiny.diffusers.items():
        packed = component.layout.pack(name)
        if values.ndim == 1:
            continue
        blocks = values.reshape(-1, 32)
        scales = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype("<f2").astype("<f4")
        want = (np.rint(blocks / np.where(scales == 0, 1, scales)) * scales).reshape(values.shape)
        if name.removesuffix(".weight") in tiny.lowbit:
            assert packed.storage.kind == "ternary" and (weights_of(packed) == want).all(), name
        else:
            assert packed.storage.kind == "f32" and (floats_of(packed) == want).all(), name


def rounded(tiny, kind):
    """The tiny model's low-bit tensors, ordinary weights rounded by llama.cpp's own package."""
    def part(name, _, names, values):
        weights = tiny.random.normal(size=values.shape).astype("<f4")
        data = quants.quantize(weights, GGMLQuantizationType[kind])
        return formats.Part(name, kind, values.shape, lambda: [data], data.nbytes)

    tiny.lowbit_part = part
    return tiny


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_an_ordinary_model_rounded_to_three_values(tmp_path, kind):
    rounded(TinyFlux1(width=256), kind).write_gguf(tmp_path / "flux1-dev.gguf", kind)
    with pytest.raises(ExportError, match=rf"transformer_blocks.*are {kind}, and 8\d% of their "
                       "weights are zero: an ordinary model rounded to three values, which was not "
                       "trained for that, so its pictures are noise; take a model that was trained "
                       "with ternary or binary weights: its file of Q2_0, PQ2_0, PTQ1_0 or Q1_0"):
        opened(tmp_path)


def test_an_ordinary_model_rounded_to_four_bits(tmp_path, monkeypatch):
    monkeypatch.setitem(formats.GGML, "Q4_K", 12)
    tiny = TinyFlux1(width=256)
    blocks = np.zeros(144, np.uint8)  # of 256 weights
    tiny.lowbit_part = lambda name, _, names, values: formats.Part(
        name, "Q4_K", values.shape, lambda: [np.tile(blocks, values.size // 256)],
        values.size // 256 * 144)
    tiny.write_gguf(tmp_path / "flux1-schnell-Q4_K_S.gguf", "Q4_K")
    with pytest.raises(ExportError, match=r"is Q4_K, expected Q1_0.*: Q4_K holds an ordinary "
                       "model's weights rounded, and rounds ternary and binary ones too; take a "
                       "model that was trained with ternary or binary weights"):
        opened(tmp_path)


@pytest.mark.parametrize("layout", ["diffusers", "native", "gguf BF16"])
def test_an_ordinary_model(tmp_path, layout):
    """Of which one weight is enough to tell."""
    tiny = TinyFlux1()
    tiny.weights = lambda name: tiny.random.normal(
        size=tiny.lowbit[name][0].shape).astype("<f4")
    LAYOUTS[layout](tiny, tmp_path)
    with pytest.raises(ExportError, match="different magnitudes .*this is an ordinary full-"
                       "precision checkpoint, and only ternary or binary ones can be packed"):
        opened(tmp_path).layout.storage("transformer_blocks.0.attn.to_q.weight")


@pytest.mark.parametrize(("change", "says"), [
    (lambda name, t: {name: ("F8_E4M3", np.zeros(t[1].shape))}, "this is the fp8 file"),
    (lambda name, t: {name: ("U8", np.zeros((t[1].size // 2, 1))),
                      f"{name}.absmax": ("F32", np.ones(t[1].size // 64)),
                      f"{name}.quant_state.bitsandbytes__nf4": ("U8", np.zeros(9))},
     "this is the bitsandbytes file"),
    (lambda name, t: {name.replace("weight", "qweight"): ("I8", np.zeros((128, 64))),
                      name.replace("weight", "wscales"): ("BF16", np.zeros((2, 128)))},
     r"this is the SVDQuant \(nunchaku\) file"),
])
@pytest.mark.parametrize("layout", ["diffusers", "native"])
def test_files_of_other_quantisers(tmp_path, layout, change, says):
    """Those in which FLUX.1 is published, with and without a configuration beside them."""
    LAYOUTS[layout](TinyFlux1(), tmp_path)
    path = next(tmp_path.rglob("*.safetensors"))
    tensors = load(path)
    for name in [n for n in tensors if "blocks.0" in n and tensors[n][1].ndim == 2]:
        tensors |= change(name, tensors.pop(name))
    save(path, tensors)
    with pytest.raises(ExportError, match=says):
        opened(tmp_path)


def test_a_file_of_a_whole_pipeline(tmp_path):
    """Of which the transformer alone is read, and the rest is told."""
    tiny = TinyFlux1()
    path = tiny.write_native(tmp_path / "all.safetensors", prefix="model.diffusion_model.")
    edit(path, lambda tensors: tensors.update({
        "text_encoders.clip_l.transformer.text_model.embeddings.position_embedding.weight":
            ("F32", np.ones((4, 4))),
        "vae.decoder.conv_in.bias": ("F32", np.ones(4))}))
    component = opened(tmp_path)
    dropped = {why: sorted(sizes) for why, sizes in component.dropped.items()}
    assert dropped == {
        "another part in the same file; text encoders and the autoencoder are read from their own "
        "folders": [16, 64]}
    component.dropped.clear()
    check(component, tiny)
