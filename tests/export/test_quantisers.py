"""Files of other quantisers are refused by name; their types where nobody needs them are not."""

import json

import numpy as np
import pytest

from export.errors import ExportError
from export.packing.spec import Expected, check_complete
from export.source import quantisers
from export.source.safetensors import Entry, read_header
from tests.export.test_checkpoint import entry as raw_entry
from tests.export.test_checkpoint import write_raw
from tests.export.tiny import edit, load, save, write_json

DIT = "transformer/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
UP = "transformer_blocks.0.ff.linear_in"
GATE = "model.layers.0.mlp.gate_proj"
CONV = "decoder.conv_in"


def u8(*shape):
    return "U8", np.zeros(shape)


def f32(*shape):
    return "F32", np.ones(shape)


def fp8(tensors, base):
    shape = tensors[f"{base}.weight"][1].shape
    return {"weight": ("F8_E4M3", np.zeros(shape))}


def packed(tensors, base):
    """Four bits a weight, two in a byte."""
    rows, columns = tensors[f"{base}.weight"][1].shape
    return {"weight": u8(rows, columns // 2)}


def flat(tensors, base):
    return {"weight": u8(tensors[f"{base}.weight"][1].size // 2, 1)}


def none(tensors, base):
    return {"weight": None}


FORMS = {  # what becomes of `weight`, the tensors beside it, and the name that is told
    "BFL fp8": (fp8, {"weight_scale": f32(), "input_scale": f32()}, "fp8"),
    "fp8 alone": (fp8, {}, "fp8"),
    "ComfyUI fp8": (fp8, {"scale_weight": f32(1)}, "fp8"),
    "DeepSeek fp8": (fp8, {"weight_scale_inv": f32(2, 2)}, "fp8"),
    "nvfp4": (packed, {"weight_scale": ("F8_E4M3", np.zeros((4, 4))), "weight_scale_2": f32()},
              "nvfp4"),
    "bitsandbytes": (flat, {"weight.absmax": f32(9), "weight.quant_map": f32(16),
                            "weight.quant_state.bitsandbytes__nf4": u8(80)}, "bitsandbytes"),
    "bitsandbytes int8": (lambda t, b: {"weight": ("I8", np.zeros(t[f"{b}.weight"][1].shape))},
                          {"SCB": f32(4)}, "bitsandbytes"),
    "int8": (lambda t, b: {"weight": ("I8", np.zeros(t[f"{b}.weight"][1].shape))},
             {"weight_scale": f32(4)}, "int8"),
    "AWQ": (none, {"qweight": ("I32", np.zeros((4, 4))), "qzeros": ("I32", np.zeros((1, 4))),
                   "scales": ("F16", np.ones((1, 4)))}, "AWQ or GPTQ"),
    "SVDQuant": (none, {"qweight": ("I8", np.zeros((4, 4))), "wscales": f32(4, 4),
                        "smooth_factor": f32(4), "proj_down": f32(4, 4)}, "SVDQuant"),
    "MLX mxfp4": (lambda t, b: {"weight": ("U32", np.zeros((t[f"{b}.weight"][1].shape[0],
                                t[f"{b}.weight"][1].shape[1] // 8)))},
                  {"scales": u8(4, 4)}, "MLX mxfp4"),
    "quanto": (none, {"weight._data": ("I8", np.zeros((4, 4))), "weight._scale": f32(4, 1)},
               "quanto"),
    "torchao": (none, {"weight_qdata": ("I8", np.zeros((4, 4))), "weight_scale": f32(4, 1)},
                "torchao"),
    "HQQ": (none, {"W_q": u8(4, 4), "meta": u8(4)}, "HQQ"),
    "compressed-tensors": (none, {"weight_packed": ("I32", np.zeros((4, 4))),
                                  "weight_shape": ("I64", np.zeros(2))}, "compressed-tensors"),
}


def requantise(form, base):
    make, beside, _ = FORMS[form]

    def change(tensors):
        for part, tensor in make(tensors, base).items():
            tensors[f"{base}.{part}"] = tensor
            if tensor is None:
                del tensors[f"{base}.{part}"]
        tensors.update({f"{base}.{part}": tensor for part, tensor in beside.items()})

    return change


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("file", "base"), [(DIT, UP), (TEXT, GATE)])
def test_the_quantiser_is_named(build, unpacked, tmp_path, form, file, base):
    edit(unpacked / file, requantise(form, base))
    result = build("--model", unpacked, "--out", tmp_path / "site")
    assert result.status == 1 and len(result.stderr.splitlines()) == 1
    assert f"this is the {FORMS[form][2]}" in result.stderr, result.stderr
    assert "its weights are rounded; take the bf16" in result.stderr


def test_an_fp8_autoencoder(build, unpacked, tmp_path):
    edit(unpacked / VAE, requantise("fp8 alone", CONV))
    result = build("--model", unpacked, "--out", tmp_path / "site")
    assert result.status == 1 and "this is the fp8 file (decoder.conv_in.weight" in result.stderr


def test_a_single_fp8_file_without_configuration(build, unpacked, tmp_path):
    tensors = load(unpacked / DIT)
    requantise("BFL fp8", "x_embedder")(tensors)
    save(unpacked / "klein-fp8.safetensors", tensors)
    (unpacked / DIT).unlink()
    (unpacked / "transformer" / "config.json").unlink()
    result = build("--model", unpacked, "--out", tmp_path / "site")
    assert result.status == 1 and "this is the fp8 file (x_embedder.weight" in result.stderr


def test_the_configuration_names_the_method(build, unpacked, tmp_path):
    path = unpacked / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    write_json(path, config | {"quantization_config": {"quant_method": "higgs", "bits": 4}})
    result = build("--model", unpacked, "--out", tmp_path / "site")
    assert result.status == 0, result.stderr  # the tensors are whole
    edit(unpacked / TEXT, lambda t: t.pop(f"{GATE}.weight"))
    edit(unpacked / TEXT, lambda t: t.update({f"{GATE}.tables": f32(3)}))
    result = build("--model", unpacked, "--out", tmp_path / "other")
    assert result.status == 1 and "gives the quant_method 'higgs'" in result.stderr


def test_what_fp8_leaves_beside_whole_weights(build, unpacked, tmp_path):
    """Also types that nobody reads here, on tensors that nobody needs."""
    def change(tensors):
        tensors[f"{UP}.input_scale"] = f32()
        tensors["scaled_fp8"] = ("F8_E4M3", np.zeros(0))
        tensors["time_guidance_embed.guidance_embedder.linear_1.weight"] = (
            "F8_E5M2", np.zeros((128, 32)))

    edit(unpacked / DIT, change)
    result = build("--model", unpacked, "--out", tmp_path / "site")
    assert result.status == 0, result.stderr


@pytest.mark.parametrize(("dtype", "shape", "bytes"), [
    ("F8_E4M3", (4, 9), 36), ("F8_E5M2", (36,), 36), ("F8_E8M0", (36,), 36), ("F4", (72,), 36),
    ("F6_E2M3", (48,), 36), ("F6_E3M2", (48,), 36), ("C64", (4,), 32),
])
def test_every_type_of_the_format_has_its_size(tmp_path, dtype, shape, bytes):
    header = {"a": raw_entry(dtype, shape, (0, bytes))}
    path = write_raw(tmp_path / "x.safetensors", header, bytes_of(bytes))
    assert read_header(path)["a"].bytes == bytes
    header["a"]["shape"] = [2 * shape[0], *shape[1:]]
    with pytest.raises(ExportError, match="the offsets give"):
        read_header(write_raw(path, header, bytes_of(bytes)))


def bytes_of(count):
    return bytearray(count)


def test_a_file_of_no_quantiser_is_not_blamed_on_one(tmp_path):
    entries = {"a.weight": Entry(tmp_path, "F32", (3,), 0, 12),
               "b.strange": Entry(tmp_path, "U8", (3,), 0, 3)}
    quantisers.refuse(tmp_path, entries, entries)
    with pytest.raises(ExportError, match="1 tensors unknown: b.strange"):
        check_complete(tmp_path, {"a.weight": Expected((3,))}, entries, lambda name: None)
