"""Every published layout of one model packs to the same bytes, or to exactly the same weights."""

import json

import numpy as np
import pytest

from tests.export.packed import PackedSite
from tests.export.tiny import save
from tests.fullscale.encoders import write_bf16_encoder
from tests.fullscale.flux2 import GROUP
from tests.fullscale.formats import Part, write_gguf, write_safetensors
from tests.fullscale.layouts import gguf_blocks, native_parts, write, write_gguf_file
from tests.fullscale.model import Model

TO_Q = "transformer.transformer_blocks.0.attn.to_q.weight"
IDENTICAL = ("gemlite", "unpacked", "native")
GGUF = ("gguf", "gguf-64")


@pytest.fixture(scope="module", params=["ternary", "binary"])
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def model(variant):
    return Model("tiny", variant)


def built(build, model, layout, folder, encoder="mlx"):
    write(model, layout, folder / layout, encoder)
    result = build("--model", folder / layout, "--out", folder / f"{layout}-site")
    assert result.status == 0, result.stderr
    return PackedSite(folder / f"{layout}-site")


def shards(site, component="transformer"):
    return [s["sha256"] for s in site.manifest["shards"] if s["component"] == component]


def test_layouts_of_one_model_give_the_same_bytes(build, model, variant, tmp_path):
    mlx = built(build, model, "mlx", tmp_path)
    assert mlx.manifest["variant"] == variant
    for layout in IDENTICAL:
        site = built(build, model, layout, tmp_path)
        assert shards(site) == shards(mlx), layout
        assert site.manifest["source"]["layout"] == layout
    for layout in GGUF:  # its scales are f16
        site = built(build, model, layout, tmp_path)
        for name in (n for n in mlx.manifest["tensors"] if n.startswith("transformer.")):
            assert (site.weight(name) == mlx.weight(name)).all(), (layout, name)
        entry = site.manifest["tensors"][TO_Q]
        assert (entry["storage"], entry["group"], entry["scales_dtype"]) == (variant, 128, "f16")


def test_hqq_is_exact(build, model, tmp_path):
    """w = (code - zero) * scale, with the codes of the writer, not of the reader."""
    site = built(build, model, "mlx", tmp_path, "hqq")
    name = "layers.1.mlp.down_proj.weight"
    codes = np.concatenate(list(model.text_codes(name, model.encoders["text_encoder"][name])))
    scale, zero = hqq_grid(tmp_path / "mlx", name)
    shape = (codes.shape[0], -1)
    scale, zero = (np.repeat(v.reshape(shape), 64, axis=1) for v in (scale, zero))
    assert site.manifest["tensors"][f"text_encoder.{name}"]["storage"] == "affine4"
    assert (site.weight(f"text_encoder.{name}") == (codes - zero) * scale).all()
    assert site.manifest["tensors"]["text_encoder.embed_tokens.weight"]["storage"] == "bf16"


def hqq_grid(folder, name):
    import torch

    state = torch.load(folder / "text_encoder-hqq-4bit" / "qmodel.pt", weights_only=True)
    meta = state[f"model.{name.removesuffix('.weight')}"]["meta"]
    return (meta[key].numpy().astype(float) for key in ("scale", "zero"))


@pytest.mark.parametrize("prefix", ["", "model."])
def test_both_names_of_the_text_encoder(build, model, tmp_path, prefix):
    reference = built(build, model, "mlx", tmp_path, "bf16")
    write_bf16_encoder(model, tmp_path / "mlx", prefix=prefix)
    assert build("--model", tmp_path / "mlx", "--out", tmp_path / "again").status == 0
    assert shards(PackedSite(tmp_path / "again"), "text_encoder") == shards(
        reference, "text_encoder"
    )


def edit_pickle(path, change):
    import torch

    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)


def test_zero_points_are_biases(build, model, tmp_path):
    """W_group_mode 3 has zeros of 1 (ternary) or 1/2 (binary) and means the same weights."""
    reference = built(build, model, "gemlite", tmp_path)

    def change(state):
        for name in [n for n in state if n.endswith(".metadata")]:
            base = name.removesuffix("metadata")
            state[name][10] = 3
            state[f"{base}zeros"].fill_(1 if model.levels == 3 else 0.5)

    edit_pickle(next((tmp_path / "gemlite").glob("transformer-gemlite*/state_dict.pt")), change)
    result = build("--model", tmp_path / "gemlite", "--out", tmp_path / "again")
    assert result.status == 0, result.stderr
    assert shards(PackedSite(tmp_path / "again")) == shards(reference)


@pytest.mark.parametrize(("index", "value", "says"), [
    (2, 64, "has group_size 64, expected 128"), (9, 1, "has channel_scale_mode 1, expected 0"),
    (10, 2, "has W_group_mode 2, expected 3 or 4"), (1, 8, "holds 8 bits a weight"),
])
def test_gemlite_refusals(build, model, tmp_path, index, value, says):
    write(model, "gemlite", tmp_path / "m", "mlx")

    def change(state):
        for name in [n for n in state if n.endswith(".metadata")]:
            state[name][index] = value

    edit_pickle(next((tmp_path / "m").glob("transformer-gemlite*/state_dict.pt")), change)
    result = build("--model", tmp_path / "m", "--out", tmp_path / "site")
    assert result.status == 1 and says in result.stderr


def test_a_pickle_that_runs_code_is_refused(build, model, tmp_path):
    import torch

    write(model, "gemlite", tmp_path / "m", "mlx")
    path = next((tmp_path / "m").glob("transformer-gemlite*/state_dict.pt"))
    torch.save({"a": Model}, path)
    result = build("--model", tmp_path / "m", "--out", tmp_path / "site")
    assert result.status == 1 and "torch does not load it as plain tensors" in result.stderr


def test_swapped_halves_are_told(build, model, tmp_path):
    reference = built(build, model, "gguf", tmp_path)
    write_gguf_file(model, tmp_path / "gguf", swapped=True)
    call = tmp_path / "gguf" / "trefoil.json"
    call.write_text(json.dumps(model.call | {"swapped_norm_out": True}))
    assert build("--model", tmp_path / "gguf", "--out", tmp_path / "again").status == 0
    assert shards(PackedSite(tmp_path / "again")) == shards(reference)


def test_prefixes_and_missing_configurations(build, model, tmp_path):
    reference = built(build, model, "native", tmp_path)
    path = tmp_path / "native" / "flux-2-klein-4b.safetensors"
    bf16 = lambda native, names, shape: Part(  # noqa: E731
        native, "BF16", shape, lambda: (model.weights(name) for name in names)
    )
    parts = native_parts(model, bf16)
    for part in parts:
        part.name = "model.diffusion_model." + part.name
    write_safetensors(path, parts)
    (tmp_path / "native" / "model_index.json").unlink()
    result = build("--model", tmp_path / "native", "--out", tmp_path / "again")
    assert result.status == 0, result.stderr
    again = PackedSite(tmp_path / "again")
    assert shards(again) == shards(reference)
    config = again.manifest["components"]["transformer"]["config"]
    assert config["num_layers"] == 2 and config["num_single_layers"] == 2
    assert config["attention_head_dim"] == 32 and config["mlp_hidden"] == 384


def gguf_with(model, path, lowbit):
    """A GGUF file whose low-bit tensors are lowbit(name) -> u8 [blocks, bytes]."""

    def part(native, names, shape):
        blocks = [lowbit(name) for name in names]
        size = sum(b.nbytes for b in blocks)
        return Part(native, "Q2_0", shape, lambda: blocks, size)

    write_gguf(path, native_parts(model, part))


def test_blocks_of_64_with_scales_of_their_own(build, tmp_path):
    """They keep their group; code 3 makes a tensor general. Both are exact."""
    model = Model("tiny", "ternary")
    write(model, "gguf-64", tmp_path / "m")
    name, general = "transformer_blocks.0.attn.to_k.weight", "transformer_blocks.1.attn.to_out.0"

    def lowbit(tensor):
        blocks = gguf_blocks(model, tensor, 64)
        if tensor == name:
            blocks[0, :2] = np.frombuffer(np.float16(0.125).tobytes(), np.uint8)
        if tensor == f"{general}.weight":
            blocks[0, 2] = 0xFF
        return blocks

    gguf_with(model, next((tmp_path / "m").glob("*.gguf")), lowbit)
    result = build("--model", tmp_path / "m", "--out", tmp_path / "site")
    assert result.status == 0, result.stderr
    site = PackedSite(tmp_path / "site")
    codes, scales = model.lowbit(name)
    scales = np.repeat(scales, GROUP, axis=1)
    scales[0, :64] = 0.125
    entry = site.manifest["tensors"][f"transformer.{name}"]
    assert (entry["storage"], entry["group"]) == ("ternary", 64)
    assert (site.weight(f"transformer.{name}") == scales * (codes.astype(float) - 1)).all()
    codes, scales = model.lowbit(f"{general}.weight")
    codes = codes.copy()
    codes[0, :4] = 3
    entry = site.manifest["tensors"][f"transformer.{general}.weight"]
    assert entry["storage"] == "affine2"
    want = np.repeat(scales, GROUP, axis=1) * (codes.astype(float) - 1)
    assert (site.weight(f"transformer.{general}.weight") == want).all()


@pytest.mark.parametrize(("kind", "says"), [
    (34, "is TQ1_0, which has one scale for 256 inputs"), (35, "is TQ2_0, which has one scale"),
    (10, "is Q2_K, expected Q1_0"), (99, "of the unknown type 99"),
])
def test_inexact_gguf_types_are_refused(build, tmp_path, monkeypatch, kind, says):
    from tests.fullscale import formats

    monkeypatch.setitem(formats.GGML, "Q2_0", kind)
    write(Model("tiny", "ternary"), "gguf", tmp_path / "m")
    result = build("--model", tmp_path / "m", "--out", tmp_path / "site")
    assert result.status == 1 and says in result.stderr


def test_q8_0_is_dequantised(build, tmp_path):
    model = Model("tiny", "binary")
    write(model, "gguf", tmp_path / "m")
    random = np.random.default_rng(0)
    scales, codes = random.standard_normal(512).astype("<f2"), random.integers(-127, 128, (512, 32))
    blocks = np.concatenate(
        [scales[:, None].view(np.uint8), codes.astype(np.int8).view(np.uint8)], axis=1
    )

    def lowbit(native, names, shape):
        data = [gguf_blocks(model, name, GROUP) for name in names]
        return Part(native, "Q1_0", shape, lambda: data, sum(d.nbytes for d in data))

    parts = [
        Part(p.name, "Q8_0", p.shape, lambda: [blocks], blocks.nbytes)
        if p.name == "txt_in.weight" else p for p in native_parts(model, lowbit)
    ]
    write_gguf(next((tmp_path / "m").glob("*.gguf")), parts)
    result = build("--model", tmp_path / "m", "--out", tmp_path / "site")
    assert result.status == 0, result.stderr
    want = (scales.astype(float)[:, None] * codes).reshape(128, 128)
    site = PackedSite(tmp_path / "site")
    assert (site.weight("transformer.context_embedder.weight") == want).all()


def test_damaged_gguf_files_are_refused(build, tmp_path):
    write(Model("tiny", "binary"), "gguf", tmp_path / "m")
    path = next((tmp_path / "m").glob("*.gguf"))
    data = path.read_bytes()
    for cut in (2, 30, 400, len(data) // 2, len(data) - 64):
        path.write_bytes(data[:cut])
        result = build("--model", tmp_path / "m", "--out", tmp_path / "site")
        assert result.status == 1 and str(path) in result.stderr, cut


def test_two_files_at_the_top_are_refused(build, tmp_path):
    write(Model("tiny", "binary"), "gguf", tmp_path / "m")
    save(tmp_path / "m" / "a.safetensors", {})
    path = next((tmp_path / "m").glob("*.gguf"))
    path.with_name("b.gguf").write_bytes(path.read_bytes())
    result = build("--model", tmp_path / "m", "--out", tmp_path / "site")
    assert result.status == 1 and "2 files hold a transformer" in result.stderr
