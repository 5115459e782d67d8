"""The plan of a run is what the run takes, counted on its own tensors."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.fullscale.layouts import write
from tests.fullscale.model import FAMILIES, Model
from tests.ternarize.teacher import SMALL, start
from train.ternarize import plan
from train.ternarize.__main__ import main
from train.ternarize.command import read_settings
from train.ternarize.counting import bytes_inside
from train.ternarize.descent import Descent
from train.ternarize.states import Batch


@pytest.fixture(scope="module")
def prepared(teacher, prompts, tmp_path_factory):
    """(a Run that is about to train, its Plan)."""
    out = tmp_path_factory.mktemp("plan") / "student"
    run, options = start(teacher, prompts, out, "--train-steps", "8")
    run.student.initialise()
    run.stage = "train"
    run.begin()
    return run, plan.make_plan(run.family, read_settings(options), run.prompts)


@contextmanager
def counted():
    """torch's counter, which does not know the processor's own attention."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter


def batch_of(run):
    rows = list(range(run.settings.micro_batch))
    contexts = [run.trajectories.context(rows, teacher) for teacher in (False, True)]
    return Batch(run.trajectories.state(rows, 0), torch.ones(len(rows)), *contexts)


def test_a_forward_and_what_it_keeps(prepared):
    """On tensors with storage: the same FLOP, and block by block the same bytes."""
    run, planned = prepared
    transformer, family = run.student.transformer, run.family
    inputs = []
    hooks = [block.register_forward_pre_hook(
        lambda block, *given: inputs.append((block, *given)), with_kwargs=True)
        for block in family.blocks(transformer).values()]
    with counted() as counter:
        family.velocity(transformer, *batch_of(run).inputs())
    for hook in hooks:
        hook.remove()
    assert counter.get_total_flops() == planned.forward.flop * run.settings.micro_batch
    kept = [bytes_inside(transformer, *given) for given in inputs]
    streams = {tensor.data_ptr(): tensor.nbytes for _, given, keywords in inputs
               for tensor in [*given, *keywords.values()] if isinstance(tensor, torch.Tensor)}
    assert planned.forward.activation_bytes >= max(kept)
    assert planned.forward.activation_bytes == pytest.approx(
        max(kept) + sum(streams.values()), rel=0.05)


def test_the_steps_of_a_stage(prepared):
    """All that a stage's steps compute, but for the ends of a backward and who is rolled out."""
    run, planned = prepared
    descent = Descent(run)
    with counted() as counter:
        descent.run_all()
    measured = run.settings.held_out * (3 + 7) * 2 * planned.forward.flop
    steps, flop = planned.stages["train"]
    assert steps == 8
    assert counter.get_total_flops() == pytest.approx(flop - measured, rel=0.1)
    held, student = planned.train_bytes, run.student
    moments = [each for state in descent.optimiser.state.values() for name, each in state.items()
               if name != "step"]
    masters = [*student.masters.values(), *student.scales.values()]
    assert held["AdamW"] == size(moments)
    assert held["moving average"] == size(descent.average.values)
    assert held["masters and their gradients"] == 2 * size(masters)
    assert held["values"] == size(student.values.values())
    both = [*student.transformer.parameters(), *run.teacher.parameters()]
    assert held["student and teacher"] == size(both)
    run.save(descent.state())
    kept = sum(path.stat().st_size for path in (run.work / "checkpoint").rglob("*")
               if path.is_file())
    assert planned.disk_bytes["checkpoints"] / 2 == pytest.approx(kept, rel=0.05)


def size(tensors):
    return sum(tensor.nbytes for tensor in tensors)


def test_the_disk(prepared):
    run, planned = prepared
    drawn = [np.load(path, mmap_mode="r") for path in (run.work / "trajectories").glob("*.npy")]
    assert planned.disk_bytes["drawings"] == sum(each.nbytes for each in drawn)


@pytest.mark.parametrize("name", ["flux2", "flux1-dev", "sana-sprint"])
def test_no_weight_is_read_and_nothing_is_written(name, prompts, tmp_path, capsys):
    """Of files that hold zeros alone, which take no room."""
    model = Model("tiny", "ternary", FAMILIES[name], True)
    write(model, "unpacked", tmp_path / "teacher", "bf16")
    words = ["--model", tmp_path / "teacher", "--out", tmp_path / "out", "--bits", "ternary",
             "--prompts", prompts, *SMALL, "--dry-run"]
    seen = []
    for gpus in (1, 8):
        assert main([str(word) for word in (*words, "--gpus", gpus)]) == 0
        seen.append(capsys.readouterr().out)
    one, eight = ([line for line in text.splitlines() if line.startswith("all")] for text in seen)
    assert one[0].split()[1] == eight[0].split()[1]
    assert "gathered blocks" not in seen[0] and "gathered blocks" in seen[1]
    assert "fits in 80 GB" in seen[0] and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("words", "told"), [
    (["--gpus", "0"], "--gpus is 0, expected more than 0"),
    (["--share", "-1"], "--share is -1.0, expected more than 0"),
    (["--gpus", "3"], "--batch is 8, expected a multiple of the 3 processes"),
    (["--component", "text_encoder"], "--dry-run is of the transformer's run, got --component"),
])
def test_what_cannot_be_planned(words, told, teacher, prompts, tmp_path, capsys):
    given = ["--model", teacher, "--out", tmp_path / "out", "--bits", "ternary",
             "--prompts", prompts, *SMALL, "--dry-run", *words]
    assert main([str(word) for word in given]) == 1
    assert told in capsys.readouterr().err
