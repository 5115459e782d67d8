"""A text encoder by two processes over gloo, started by torchrun as a user would, against one."""

import pytest

from export.source.configuration import read_json
from tests.ternarize.encoders import MODELS, finish, start, words
from tests.ternarize.test_processes import torchrun

# Small rates: rounding differences of the sums must not turn into other codes at once.
WORDS = ["--rate", "2e-5", "--dense-rate", "1e-4", "--reconstruct-rate", "2e-5", "--train-steps",
         "4", "--finish-steps", "2", "--micro-batch", "4"]


@pytest.mark.parametrize("kind", MODELS)
def test_two_processes_have_the_loss_of_one(kind, prompts, tmp_path):
    model = MODELS[kind](tmp_path / "model")
    result = torchrun(*words(model, prompts, tmp_path / "two", *WORDS))
    assert result.returncode == 0, result.stderr[-2000:]
    finish(*start(model, prompts, tmp_path / "one", *WORDS, "--micro-batch", 8))
    two, one = (read_json(tmp_path / out / "report" / "report.json") for out in ("two", "one"))
    assert two["curves"].keys() == one["curves"].keys() == {"reconstruct", "train", "finish"}
    for stage, keys in (("reconstruct", ("before", "after")), ("train", ("loss", "flips")),
                        ("finish", ("loss",))):
        for got, want in zip(two["curves"][stage], one["curves"][stage], strict=True):
            for key in keys:
                limit = 1e-3 if key == "loss" else 1e-2
                assert got[key] == pytest.approx(want[key], rel=limit, abs=2e-5), (stage, got, want)
    first = [report["curves"]["train"][0]["loss"] for report in (two, one)]
    assert first[0] == pytest.approx(first[1], rel=1e-5)
    for got, want in zip(two["stages"], one["stages"], strict=True):
        assert got["summary"]["error"] == pytest.approx(want["summary"]["error"], rel=1e-2)
