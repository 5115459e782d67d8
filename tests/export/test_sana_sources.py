"""One denoiser of Sana's in every layout that it is published in: the same packed tensors."""

import numpy as np
import pytest

from export import opening
from export.errors import ExportError
from export.families import recognise
from export.families.choose import guess_family, read_family
from export.families.family import Asked
from export.families.place import choose_place
from export.families.sana import BASE, SANA
from export.finding import find_model
from export.source.configuration import Configuration
from export.source.files import list_checkpoint
from export.source.safetensors import Entry
from tests.export.test_any_group import Held, weights_of
from tests.export.tiny import Tiny, load, save
from tests.export.tiny_sana import CONFIG, GROUP, TinySana

PART = SANA.denoiser
CONV = "transformer_blocks.1.ff.conv_point.weight"


def opened(folder, only=None):
    """The denoiser's Component, as a build opens it."""
    place = choose_place(list_checkpoint(folder), PART, None, only)
    call = Configuration(folder, {})
    layout, tensors = opening.open_tensors(PART, place, call, None)
    config = PART.read_config(Configuration(folder, dict(CONFIG)), Asked({"negative_prompt": ""}))
    return opening.open_component(PART, config, layout, tensors, None)


def parts_of(component):
    """name -> what is stored, and how."""
    packed = {name: component.layout.pack(name) for name in component.specs}
    return {name: (p.storage, {part: data.tobytes() for part, data in p.parts.items()})
            for name, p in packed.items()}


def written(sana, folder, layout, levels):
    folder.mkdir()
    if layout == "diffusers":
        sana.write_diffusers(folder)
    elif layout == "f32":
        sana.write_diffusers(folder, "F32")
    elif layout == "packed":
        sana.write_packed(folder, levels)
    elif layout == "native":
        sana.write_native(folder / "sana.safetensors")
    else:
        prefix = "model.diffusion_model." if layout == "prefixed" else ""
        sana.write_codes2b(folder / "sana.safetensors", prefix)
    return folder


@pytest.mark.parametrize("levels", [2, 3])
def test_every_layout_is_the_same_model(tmp_path, levels):
    sana = TinySana(levels)
    want = parts_of(opened(written(sana, tmp_path / "d", "diffusers", levels)))
    kind = "ternary" if levels == 3 else "binary"
    for layout, name in (("f32", "unpacked"), ("packed", "mlx-packed"), ("native", "native"),
                         ("codes2b", "codes2b"), ("prefixed", "codes2b")):
        component = opened(written(sana, tmp_path / layout, layout, levels))
        assert component.layout.name == name
        got = parts_of(component)
        assert got.keys() == want.keys()
        for tensor, (storage, data) in want.items():
            if storage.kind in ("bf16", "ternary", "binary"):
                assert got[tensor] == (storage, data), (layout, tensor)
    storage = want[CONV][0]
    assert (storage.kind, storage.group, storage.scales_dtype) == (kind, GROUP, "bf16")
    assert sum(storage.kind == kind for storage, _ in want.values()) == 2 * 10
    packed = component.layout.pack(CONV)
    assert (weights_of(packed) == sana.weights("blocks.1.mlp.point_conv.conv")).all()


def test_what_only_training_needs_is_left_out(tmp_path):
    component = opened(written(TinySana(), tmp_path / "m", "native", 3))
    assert len(component.dropped) >= 1
    assert sum(len(sizes) for sizes in component.dropped.values()) == 2


@pytest.mark.parametrize(("columns", "layers"), [(1152, 28), (2240, 20)])
def test_the_shapes_of_a_packed_file_are_its_configuration(columns, layers, tmp_path):
    """Of the published widths, whose heads are known."""
    shapes = {"patch_embed.proj.weight": (columns, 32, 1, 1), "ff.conv_depth.weight": None,
              "caption_projection.linear_1.weight": (columns, 2304)}
    entries = {name: shape for name, shape in shapes.items() if shape}
    for i in range(layers):
        block = f"transformer_blocks.{i}"
        entries |= {f"{block}.ff.conv_depth.weight": (5 * columns, 1, 3, 3),
                    f"{block}.attn2.to_q.codes2b": (columns, columns // 4),
                    f"{block}.attn2.to_q.bias": (columns,)}
    held = Held(tmp_path, {})
    held.entries = {name: Entry(tmp_path, "BF16", shape, 0, 2) for name, shape in entries.items()}
    config = Configuration(tmp_path, PART.derive_config(tmp_path, held))
    c = PART.read_config(config, Asked({"negative_prompt": ""}))
    assert (c.width, c.num_layers, c.mlp_hidden) == (columns, layers, 5 * columns // 2)
    assert c.cross_width == columns and c.caption_channels == 2304 and not c.qk_norm


def test_the_family_is_known_without_a_model_index(tmp_path):
    folder = TinySana().write_diffusers(tmp_path / "clark")
    assert read_family(list_checkpoint(folder)) == (SANA, None)
    (tmp_path / "n").mkdir()
    TinySana().write_native(tmp_path / "n" / "mine.safetensors")
    listing = list_checkpoint(tmp_path / "n")
    assert read_family(listing) == (None, None) and guess_family(listing) is SANA
    assert not recognise.is_made_from(BASE, listing)
    (tmp_path / "n" / "mine.safetensors").rename(
        tmp_path / "n" / "clark_air_sana_gemlite_comfy.safetensors")
    listing = list_checkpoint(tmp_path / "n")
    assert read_family(listing) == (SANA, None) and recognise.is_made_from(BASE, listing)
    assert not recognise.is_made_from(BASE, listing, "another.safetensors")  # that lies beside it


def test_a_base_of_another_family(tmp_path):
    base = Tiny().write(tmp_path / "klein", "unpacked")
    sana = TinySana()
    for model in (sana.write_codes2b(tmp_path / "a" / "mine.safetensors"),
                  sana.write_diffusers(tmp_path / "b")):
        with pytest.raises(ExportError, match=f"^--base {base}: is of the family flux2, and the "
                           "tensors of .* are named as those of the family sana; name a base of"):
            find_model(str(model), base=str(base))


def test_the_named_file_tells_the_family_not_what_lies_beside_it(tmp_path):
    Tiny().write(tmp_path, "unpacked")
    TinySana().write_native(tmp_path / "mine.safetensors")
    listing = list_checkpoint(tmp_path)
    assert guess_family(listing).name == "flux2"
    assert guess_family(listing, "mine.safetensors") is SANA


def test_the_file_of_an_unpublished_layout(tmp_path):
    """Told by its name, and under another name by what it holds."""
    sana, name = TinySana(), "clark-air-sana-1.6b-packed.safetensors"
    sana.write_codes2b(tmp_path / name)
    tensors = {tensor.replace("::codes2b", ".trits").replace("::", "."): stored
               for tensor, stored in load(tmp_path / name).items()}
    save(tmp_path / name, tensors)
    listing = list_checkpoint(tmp_path)
    with pytest.raises(ExportError) as error:
        recognise.refuse_unreadable(listing, [name])
    assert str(error.value) == (
        f"{tmp_path / name}: the layout of this file is not published, so it is not read; take the "
        "same weights from the folder transformer/ beside it: --model "
        "clark-labs/clark-air-sana-1.6b-1.58bit")
    recognise.refuse_unreadable(listing, ["clark_air_sana_gemlite_comfy.safetensors"])
    (tmp_path / name).rename(tmp_path / "mine.safetensors")
    with pytest.raises(ExportError, match="packed in a layout that this version does not know "
                       r"\(.*\.trits is U8 \[\d+, \d+\]\); take the same model's folder of bf16"):
        opened(tmp_path)


def test_a_denoiser_in_full_precision_is_refused(tmp_path):
    sana = TinySana()
    folder = sana.write_diffusers(tmp_path / "m")
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load(path)
    noise = np.random.default_rng(0).normal(size=tensors[CONV][1].shape)
    save(path, tensors | {CONV: ("F32", noise)})
    with pytest.raises(ExportError, match="an ordinary full-precision checkpoint"):
        opened(folder).layout.pack(CONV)
