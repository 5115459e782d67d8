"""Two processes over gloo, started by torchrun as a user would, against one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ternarize.teacher import SMALL, files, finish, start

ROOT = Path(__file__).resolve().parents[2]
# Small rates: rounding differences of the sums must not turn into other codes at once.
WORDS = ["--rate", "2e-5", "--dense-rate", "1e-4", "--reconstruct-rate", "2e-5",
         "--train-steps", "4", "--finish-steps", "2", "--reconstruct-steps", "3",
         "--reconstruct-samples", "8"]


def torchrun(*words, module="train.ternarize"):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
               "-m", module, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def both(teacher, prompts, tmp_path_factory):
    """Folders of the same run by two processes, and by one that takes their batches together."""
    folder = tmp_path_factory.mktemp("processes")
    given = ["--model", teacher, "--prompts", prompts, "--bits", "ternary", *SMALL, *WORDS]
    result = torchrun(*given, "--out", folder / "two")
    assert result.returncode == 0, result.stderr[-2000:]
    finish(*start(teacher, prompts, folder / "one", *WORDS, "--micro-batch", 8))
    return folder / "two", folder / "one"


def compare(two, one):
    """Reports of the same run: equal at first, and close as far as rounding leads."""
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
        assert got["summary"]["snr"] == pytest.approx(want["summary"]["snr"], abs=1e-3)
        assert got["summary"]["error"] == pytest.approx(want["summary"]["error"], rel=1e-2)
        assert got["layers"].keys() == want["layers"].keys()


def test_two_processes_have_the_loss_of_one(both):
    compare(*(json.loads((out / "report" / "report.json").read_text()) for out in both))


def test_the_initial_weights_of_both_are_the_same(both):
    """What does not hang on sums over samples is equal, whoever holds which rows."""
    two, one = (json.loads((out / "report" / "report.json").read_text()) for out in both)
    for name, layer in two["stages"][0]["layers"].items():
        want = one["stages"][0]["layers"][name]
        assert (layer["zeros"], layer["count"]) == (want["zeros"], want["count"]), name
    got, want = (files(out / "text_encoder-mlx-4bit") for out in both)
    assert got == want


def test_one_process_does_not_go_on_with_the_checkpoint_of_two(both, teacher, prompts, capsys):
    from train.ternarize.__main__ import main

    given = ["--model", teacher, "--prompts", prompts, "--bits", "ternary", *SMALL, *WORDS]
    assert main([str(word) for word in (*given, "--out", both[0])]) == 1
    said = capsys.readouterr().err
    assert "process-0-of-2.pt, expected process-0-of-1.pt" in said and "--restart" in said
