"""What --model may name, and which files of a repository a build reads."""

import pytest

from export.source import needed_files


@pytest.mark.parametrize("model", ["/nowhere", "nowhere", "a/b/c", "a/b@", "a b/c"])
def test_what_is_no_repository_name(build, tmp_path, model):
    result = build("--model", model, "--out", tmp_path / "site")
    says = f"build.py: --model {model}: no such folder, and not a repository name"
    assert result.status == 1 and result.stderr.startswith(says)


FILES = [
    "model_index.json", "README.md", "LICENSE", "scheduler/scheduler_config.json",
    "tokenizer/tokenizer.json", "tokenizer/vocab.json", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors", "transformer/config.json",
    "transformer/diffusion_pytorch_model.safetensors", "text_encoder/config.json",
    "text_encoder/model-00001-of-00002.safetensors", "text_encoder/model.safetensors.index.json",
    "transformer-packed-mflux/config.json",
    "transformer-packed-mflux/diffusion_pytorch_model.safetensors",
    "text_encoder-mlx-4bit/model.safetensors",
    "text_encoder-mlx-4bit/tokenizer.json", "transformer/deep/er.safetensors", "bonsai.gguf",
]  # fmt: skip


@pytest.mark.parametrize(("bits", "encoder"), [
    (None, "text_encoder-mlx-4bit"), (4, "text_encoder-mlx-4bit"), (8, "text_encoder"),
    (16, "text_encoder"),
])  # fmt: skip
def test_needed_files(bits, encoder):
    needed = needed_files(FILES, bits)
    assert {file.split("/")[0] for file in needed if "/" in file} == {
        "scheduler", "tokenizer", "vae", "transformer-packed-mflux", encoder,
    }  # fmt: skip
    assert not set(needed) & {"README.md", "bonsai.gguf", "tokenizer/vocab.json",
                              "text_encoder-mlx-4bit/tokenizer.json"}  # fmt: skip
    assert "LICENSE" in needed


@pytest.mark.parametrize(("files", "needed"), [
    (["transformer-gemlite-int2/state_dict.pt", "transformer-gemlite-int2/gemlite_autotune.json",
      "text_encoder-hqq-4bit/qmodel.pt", "text_encoder-hqq-4bit/tokenizer.json"],
     ["transformer-gemlite-int2/state_dict.pt", "text_encoder-hqq-4bit/qmodel.pt",
      "text_encoder-hqq-4bit/tokenizer.json"]),
    (["transformer/a.safetensors", "transformer/a-00001-of-00002.safetensors",
      "transformer/a.safetensors.index.json"], ["transformer/a.safetensors"]),
    (["bonsai.gguf", "transformer/config.json"], ["bonsai.gguf", "transformer/config.json"]),
    (["flux-2-klein-4b.safetensors", "assets/x.png"], ["flux-2-klein-4b.safetensors"]),
])  # fmt: skip
def test_needed_files_of_other_layouts(files, needed):
    assert needed_files(files) == needed
