"""manifest.json: what the page is told of the model, and what becomes of an earlier version's."""

import json

import pytest

from export.errors import ExportError
from export.onnx.call import read_call
from export.packing.manifest import FORMAT, read_manifest
from tests.export.tiny import CALL, write_json


@pytest.fixture
def manifest(build, mlx, tmp_path):
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 0, result.stderr
    return read_manifest(tmp_path / "site" / "model" / "manifest.json")


def test_how_a_tensor_is_used(manifest):
    """Vectors of any rank are floats on the GPU, rows are gathered; all others are matrices."""
    used = {name: tensor.get("use") for name, tensor in manifest["tensors"].items()}
    assert used.pop("text_encoder.embed_tokens.weight") == "rows"
    table = {name for name in used if name.startswith("transformer.folded.")}
    for name, use in used.items():
        shape = manifest["tensors"][name]["shape"]
        assert use == ("vector" if len(shape) == 1 else None), name
    assert table and "autoencoder.bn.running_var" in used


def test_prompts(manifest):
    (prompt,) = manifest["prompts"]
    assert prompt["encoder"] == "text_encoder" and prompt["encoder"] in manifest["components"]
    assert prompt["template"] == {
        "prefix": "<|im_start|>user\n", "suffix": "<|im_end|>\ngo<think>\n\n", "lower": False,
        "strip": False,
    }
    assert prompt["length"] == CALL["max_sequence_length"]
    assert prompt["padding"] == {"id": 26, "side": "right"}
    assert prompt["mask"] is True and prompt["keep"] is None
    assert prompt["tokenizer"].keys() == {"file", "bytes", "sha256", "config"}
    assert manifest["components"]["text_encoder"]["config"]["taps"] == [1, 2]


def test_latents_sampler_and_guidance(manifest):
    assert manifest["latents"] == {
        "channels": 16, "pixels": 4, "eps": 1e-4,
        "statistics": ["autoencoder.bn.running_mean", "autoencoder.bn.running_var"],
    }
    assert set(manifest["latents"]["statistics"]) < manifest["tensors"].keys()
    sampler = manifest["sampler"]
    assert sampler["class"] == "FlowMatchEulerDiscreteScheduler"
    assert sampler["shift"] == "empirical" and sampler["config"]["num_train_timesteps"] == 1000
    guidance = manifest["pipeline"]["guidance"]
    assert guidance == {"kind": "none", "scale": 1, "negative": False}
    assert manifest["pipeline"]["text_encoder_out_layers"] == [1, 2]


def test_schedules_name_their_tables(manifest):
    tables = manifest["schedules"]["tables"]
    assert (tables[0]["tokens"], tables[0]["steps"]) == (48, 3)
    width = sum(manifest["schedules"]["parts"]) * 128
    for table in tables:
        assert manifest["tensors"][table["tensor"]]["shape"] == [table["steps"], width]
    assert set(manifest["schedules"]["projections"]) < manifest["tensors"].keys()


def test_what_reference_images_need_is_named(build, mlx, manifest, tmp_path):
    assert "image_input" not in manifest["components"]["autoencoder"]
    assert build("--model", mlx, "--with-image-input", "--out", tmp_path / "images").status == 0
    both = read_manifest(tmp_path / "images" / "model" / "manifest.json")
    names = both["components"]["autoencoder"]["image_input"]
    assert set(names) == both["tensors"].keys() - manifest["tensors"].keys()


@pytest.mark.parametrize("read", [read_manifest, read_call])
def test_an_earlier_version_gets_one_sentence(tmp_path, read):
    path = tmp_path / "site.json"
    for old in ("trefoil-1", None):
        write_json(path, {"format": old, "patch": 16})
        with pytest.raises(ExportError) as error:
            read(path)
        (line,) = str(error.value).splitlines()
        assert str(path) in line and repr(old) in line and "earlier version of build.py" in line
        assert line.endswith(("build the site again", "(python build.py --onnx)"))
    write_json(path, {"format": FORMAT if read is read_manifest else "trefoil-onnx-2"})
    assert json.loads(path.read_text()) == read(path)
