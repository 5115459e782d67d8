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
    "transformer-packed-mflux/config.json", "text_encoder-mlx-4bit/model.safetensors",
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
