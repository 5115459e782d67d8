"""What the denoiser minds: channels that it does not read count nothing."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.ternarize.encoders import MODELS, start
from train.ternarize.text_encoder.adapter import READERS

FAMILIES = {"qwen3": "flux2", "gemma2": "sana", "t5": "flux1"}
UNREAD = 16  # channels of the last tap


@pytest.mark.parametrize("kind", MODELS)
def test_channels_that_the_denoiser_does_not_read_weigh_nothing(kind, prompts, tmp_path,
                                                                monkeypatch):
    monkeypatch.setattr("train.ternarize.text_encoder.sensitivity.PICTURES", 2)
    model = MODELS[kind](tmp_path / "model")
    path, = (model / "transformer").glob("*.safetensors")
    tensors, (name, _) = load_file(path), READERS[FAMILIES[kind]]
    tensors[name][:, -UNREAD:] = 0
    save_file(tensors, path, metadata={"format": "pt"})
    run, _ = start(model, prompts, tmp_path / "out", "--row-weights", "sensitivity")
    taps, width = len(run.opened.encoder.taps), run.opened.encoder.width
    channels = run.weights.channels
    assert channels.shape == (taps, width)
    assert not channels[-1, -UNREAD:].any() and (channels.flatten()[:-UNREAD] > 0).all()
    assert channels.mean().item() == pytest.approx(1)
    assert (run.weights.padding > 0) == (kind != "gemma2")  # whose padding is masked
    again, _ = start(model, prompts, tmp_path / "again", "--row-weights", "sensitivity")
    assert torch.equal(again.weights.channels, channels)
