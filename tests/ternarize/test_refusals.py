"""What the command refuses, each with one sentence, and beside it what it accepts."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from tests.ternarize.teacher import SMALL, files, write_prompts
from train.ternarize.__main__ import main

INIT_ONLY = ["--skip", "reconstruct", "train", "finish"]


@pytest.fixture
def command(teacher, prompts, whole, tmp_path, capsys):
    """command(*words) -> (exit status, stderr); options given again replace the usual ones."""

    def run(*words):
        usual = ["--model", teacher, "--prompts", prompts, "--bits", "ternary",
                 "--out", tmp_path / "student", *SMALL, *INIT_ONLY]
        capsys.readouterr()
        status = main([str(word) for word in (*usual, *words)])
        return status, "".join(capsys.readouterr().err.splitlines()[-1:])

    return run


@pytest.fixture
def copy(teacher, tmp_path):
    """A copy of the teacher's folder to be spoilt."""
    return shutil.copytree(teacher, tmp_path / "copy")


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(result, *parts):
    status, line = result
    assert status == 1 and line.startswith("train.ternarize: "), line
    for part in parts:
        assert part in line, line


def test_the_usual_command_is_accepted(command, tmp_path):
    assert command()[0] == 0
    assert (tmp_path / "student" / "report" / "report.md").exists()
    assert command()[0] == 0, "an earlier student is replaced"


def test_prompts(command, tmp_path):
    path = tmp_path / "given.txt"
    refused(command("--prompts", path), "given.txt: cannot be read")
    path.write_text("\n  \n")
    refused(command("--prompts", path), "holds no prompt, expected one a line")
    path.write_bytes(b"\xff\xfe pine")
    refused(command("--prompts", path), "is not UTF-8 text")
    path.write_text("a pine\na pine\na maple\n")
    refused(command("--prompts", path), "holds 2 different prompts, expected at least 8 for "
            "--held-out 4")
    assert command("--prompts", path, "--held-out", 1)[0] == 0


def test_teacher_of_another_class(command, copy):
    edit(copy / "model_index.json", _class_name="StableDiffusionPipeline")
    refused(command("--model", copy), "'StableDiffusionPipeline'", "Flux2KleinPipeline")


def test_teacher_that_is_packed_or_missing(command, whole, tmp_path):
    refused(command("--model", whole[1]), "no transformer/", "a packed model cannot teach")
    refused(command("--model", tmp_path / "nowhere"), "nowhere", "no such folder")


def test_teacher_with_a_tensor_missing(command, copy):
    path = next((copy / "transformer").glob("*.safetensors"))
    from safetensors.torch import load_file, save_file
    tensors = load_file(path)
    del tensors["proj_out.weight"]
    save_file(tensors, path)
    refused(command("--model", copy), "1 tensors missing: proj_out.weight")


def test_width_off_the_group(command, copy):
    edit(copy / "transformer" / "config.json", num_attention_heads=3, attention_head_dim=64)
    refused(command("--model", copy), "the width is 192, expected a multiple of 128")


def test_picture_off_the_patch(command):
    refused(command("--width", 60), "60 x 24, expected multiples of 8")


def test_settings_out_of_their_limits(command):
    refused(command("--batch", 0), "--batch is 0, expected at least 1")
    refused(command("--train-steps", -1), "--train-steps is -1, expected at least 0")
    refused(command("--average", 1.5), "--average is 1.5, expected 0 to 1")


def test_a_loss_that_is_not_finite(command):
    refused(command("--skip", "reconstruct", "finish", "--dense-rate", 1e30),
            "train: the loss is", "expected a finite one")


def test_out_that_is_not_ours(command, tmp_path):
    out = tmp_path / "student"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    refused(command(), "is not empty and holds no report of an earlier run")
    assert files(out) == {"thesis.txt": b"mine"}
    refused(command("--out", out / "thesis.txt"), "is a file, expected a folder")


def test_resume_with_other_settings_or_prompts(command, tmp_path):
    assert command()[0] == 0
    refused(command("--seed", 1), "holds a run with seed 0, got 1", "--restart")
    refused(command("--bits", "binary"), "holds a run with bits ternary, got binary")
    other = write_prompts(tmp_path / "other.txt", 12)
    refused(command("--prompts", other), "holds a run with prompts ")
    assert command("--seed", 1, "--restart", "--trajectories", tmp_path / "new")[0] == 0


def test_trajectories_of_another_request(command, tmp_path):
    words = "--trajectories", tmp_path / "drawn"
    assert command(*words)[0] == 0
    refused(command(*words, "--seed", 1, "--work", tmp_path / "w"), "was drawn with another seed")
    (tmp_path / "drawn" / "drawn.json").write_text("{")
    refused(command(*words, "--work", tmp_path / "w"), "drawn.json: cannot be read")


def test_trajectories_that_do_not_fit_on_the_disk(command, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    refused(command(), "the trajectories take 0.0 GB", "larger disk")
    assert not (tmp_path / "student").exists()


def test_checkpoint_that_cannot_be_read(command, tmp_path):
    assert command()[0] == 0
    path = tmp_path / "student.work" / "checkpoint" / "process-0-of-1.pt"
    path.write_bytes(path.read_bytes()[:1000])
    refused(command(), "process-0-of-1.pt: the checkpoint cannot be read", "--restart")
    torch.save(3, path)
    refused(command(), "process-0-of-1.pt: the checkpoint cannot be read")
    torch.save({}, path)
    refused(command(), "holds a run with bits None")
    assert command("--restart")[0] == 0


def test_usage(command, capsys):
    with pytest.raises(SystemExit) as leaving:
        command("--skip", "init")
    assert leaving.value.code == 2
