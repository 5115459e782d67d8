"""Whole runs on a small random teacher: exact resume, learning, stages left out."""

import json

import pytest
import torch

from tests.ternarize.teacher import files, finish, start
from train.ternarize import grid
from train.ternarize.files import load_checkpoint, save_checkpoint

BREAKS = [("reconstruct", 1), ("train", 4), ("train", 9), ("finish", 3)]


def drawings(run):
    """Words by which another run shares this one's trajectories."""
    return "--trajectories", run.work / "trajectories"


def summaries(run):
    return {stage["stage"]: stage["summary"] for stage in run.record["stages"]}


def test_a_run_broken_off_in_every_stage_ends_the_same(teacher, prompts, whole, tmp_path):
    """Bit for bit, report included; the steps since the last checkpoint are done again."""
    out = tmp_path / "student"
    for stop in BREAKS:
        words = (*drawings(whole[0]), "--save-minutes", 0)
        run, options = start(teacher, prompts, out, *words, stop=stop)
        with pytest.raises(KeyboardInterrupt):
            finish(run, options)
        assert (run.stage, run.step) == stop and not out.exists()
    run = finish(*start(teacher, prompts, out, *words))
    assert [stage["stage"] for stage in run.record["stages"]] == [
        "init", "reconstruct", "train", "finish"]
    got, want = files(out), files(whole[1])
    assert got.keys() == want.keys()
    assert not [name for name in want if got[name] != want[name]]


def test_drawing_goes_on_where_it_was_broken_off(teacher, prompts, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        start(teacher, prompts, tmp_path / "student", stop=("draw with the teacher", 8))
    drawn = tmp_path / "student.work" / "trajectories"
    assert json.loads((drawn / "drawn.json").read_text())["rows"] == 8
    run, _ = start(teacher, prompts, tmp_path / "student")
    assert files(drawn) == files(whole[0].work / "trajectories")
    assert len(run.held_out_rows) == 4 and len(run.trajectories.states) == 16


def test_a_crash_between_two_renames_loses_nothing(tmp_path):
    folder = tmp_path / "checkpoint"
    save_checkpoint(folder, {"step": 1})
    assert load_checkpoint(folder) == {"step": 1}
    folder.rename(tmp_path / "checkpoint.previous")
    assert load_checkpoint(folder) == {"step": 1}
    save_checkpoint(folder, {"step": 2})
    assert load_checkpoint(folder) == {"step": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_finished_run_only_writes_its_folder_again(teacher, prompts, whole, tmp_path):
    out = tmp_path / "again"
    run, options = start(teacher, prompts, out, *drawings(whole[0]), "--work", whole[0].work)
    assert run.stage is None
    finish(run, options)
    assert files(out) == files(whole[1])


def test_training_helps_on_prompts_that_were_held_out(teacher, prompts, whole, tmp_path):
    words = (*drawings(whole[0]), "--skip", "reconstruct", "--train-steps", 30, "--rate", 2e-3,
             "--finish-steps", 10)
    figures = summaries(finish(*start(teacher, prompts, tmp_path / "student", *words)))
    assert list(figures) == ["init", "train", "finish"]
    assert figures["train"]["error"] < 0.85 * figures["init"]["error"]
    assert figures["finish"]["error"] < 0.75 * figures["init"]["error"]
    assert figures["finish"]["cosine"] > figures["init"]["cosine"]
    assert figures["finish"]["flips"] == 0 < figures["train"]["flips"]


def test_reconstruction_helps_every_block_and_the_whole(whole):
    blocks = whole[0].record["curves"]["reconstruct"]
    assert [entry["block"] for entry in blocks] == [
        "transformer_blocks.0", "single_transformer_blocks.0"]
    assert all(entry["after"] < entry["before"] for entry in blocks)
    figures = summaries(whole[0])
    assert figures["reconstruct"]["error"] < figures["init"]["error"]


def test_initialisation_alone_is_least_squares_of_the_teacher(teacher, prompts, whole, tmp_path):
    words = (*drawings(whole[0]), "--skip", "reconstruct", "train", "finish")
    run = finish(*start(teacher, prompts, tmp_path / "student", *words))
    wanted = dict(run.teacher.named_parameters())
    for name, values, scales in run.student.tensors():
        if scales is None:
            assert torch.equal(values, wanted[name].detach().bfloat16()), name
            continue
        exact = grid.least_squares(wanted[name].detach(), 128, "ternary")
        assert torch.equal(scales, exact.bfloat16()), name
        assert torch.equal(values, grid.nearest(wanted[name], scales.float(), "ternary")), name


def test_absmean_fits_the_weights_worse(teacher, prompts, whole, tmp_path):
    words = (*drawings(whole[0]), "--skip", "reconstruct", "train", "finish", "--scales", "absmean")
    absmean = summaries(finish(*start(teacher, prompts, tmp_path / "student", *words)))["init"]
    best = summaries(whole[0])["init"]
    assert absmean["snr"] < best["snr"] - 1


def test_bf16_and_gradient_checkpointing_compute_what_f32_does(
        teacher, prompts, whole, tmp_path):
    """Checkpointing changes nothing at all; bf16 little in the first step."""
    words = (*drawings(whole[0]), "--skip", "reconstruct", "finish", "--train-steps", 3)
    run = finish(*start(teacher, prompts, tmp_path / "a", *words))
    other = finish(*start(teacher, prompts, tmp_path / "b", *words, "--no-checkpointing"))
    assert run.record["curves"] == other.record["curves"]
    bf16 = finish(*start(teacher, prompts, tmp_path / "c", *words[2:], "--compute", "bf16"))
    got, want = bf16.record["curves"]["train"][1], run.record["curves"]["train"][1]
    assert got["loss"] == pytest.approx(want["loss"], rel=0.1)
    dtypes = {p.dtype for n, p in bf16.student.parameters.items() if "time_guidance" not in n}
    assert dtypes == {torch.bfloat16}
    assert {p.dtype for p in bf16.student.masters.values()} == {torch.float32}
