"""FLUX.1, Sana and Sana-Sprint: drawn as diffusers draws, and taught by the stages."""

import numpy as np
import pytest
import torch

from export.errors import ExportError
from export.opening import open_model
from export.source.find import find
from tests.ternarize.families import PROMPT, TEACHERS
from tests.ternarize.teacher import files, finish, start
from train.ternarize import grid
from train.ternarize.family import open_teacher
from train.ternarize.trajectories import led_away, roll


@pytest.fixture(scope="module", params=TEACHERS)
def small(request, tmp_path_factory):
    """(name, folder) of a small teacher."""
    return request.param, TEACHERS[request.param].write(
        tmp_path_factory.mktemp("family") / request.param)


@pytest.fixture(scope="module")
def student(small, prompts, tmp_path_factory):
    """(finished Run, its folder) of a few steps."""
    out = tmp_path_factory.mktemp("student") / "student"
    name, folder = small
    words = ("--train-steps", 8, "--finish-steps", 2, "--rate", "2e-4", "--dense-rate", "2e-4",
             *TEACHERS[name].words)
    return finish(*start(folder, prompts, out, *words)), out


def test_it_draws_as_diffusers_does(small):
    name, folder = small
    drawn, family = TEACHERS[name].draw(folder), open_teacher(str(folder))
    if name != "sprint":
        assert family.sigmas.numpy() == pytest.approx(drawn["sigmas"], abs=1e-6)
    encode = family.load_encoder(torch.float32, "cpu")
    contexts = encode([PROMPT])
    assert {key: value.shape[1:] for key, value in contexts.items()} == family.context_shapes
    negative = None
    if family.negative_prompt is not None:
        negative = led_away(encode([family.negative_prompt], negative=True), 1)
    transformer = family.prepare(family.load_transformer()[0], torch.float32)
    noise = torch.from_numpy(drawn["noise"])[None]
    planes = (1, noise.shape[2], family.rows, family.columns)
    generator = torch.Generator("cpu").manual_seed(5)
    torch.randn(planes, generator=generator)

    def again(step):
        return torch.randn(planes, generator=generator).flatten(2).transpose(1, 2)

    path = roll(family, transformer, noise, contexts, len(family.sigmas) - 1, negative, again)
    np.testing.assert_allclose(path[-1][0], drawn["latents"], atol=3e-4, rtol=1e-3)


def test_low_bit_weights_and_groups(small):
    name, folder = small
    family = open_teacher(str(folder))
    transformer, weights = family.load_transformer()
    assert len(family.lowbit) == TEACHERS[name].linears and family.group == TEACHERS[name].group
    held = {f"{name}.{inner}.weight" for name, block in family.blocks(transformer).items()
            for inner, module in block.named_modules() if isinstance(module, torch.nn.Linear)}
    assert held == set(family.lowbit) <= weights.keys()


@pytest.mark.parametrize(("name", "asked", "told"), [
    ("sana-euler", 112, None), ("sana-euler", 16, None),
    ("sana-euler", 160, "--group is 160, .* expected one of 16, 32, 112, 224$"),
    ("sprint", 128, "--group is 128, .* expected one of 16, 32, 64$"),
])
def test_a_group_that_is_asked_for(name, asked, told, tmp_path):
    """Ragged ones are refused, with those that are not."""
    folder = str(TEACHERS[name].write(tmp_path / name))
    if told is None:
        assert open_teacher(folder, group=asked).group == asked
        return
    with pytest.raises(ExportError, match=told):
        open_teacher(folder, group=asked)


def test_every_stage_helps_and_the_folder_holds_what_was_trained(small, student):
    """The folder is opened as a build opens it; its weights are the student's, bit for bit."""
    run, out = student
    figures = {stage["stage"]: stage["summary"] for stage in run.record["stages"]}
    assert list(figures) == ["init", "reconstruct", "train", "finish"]
    assert figures["reconstruct"]["error"] < figures["init"]["error"]
    assert figures["finish"]["error"] < figures["init"]["error"]
    run.student.load()
    bits = run.settings.text_encoder_bits
    layout = open_model(find(str(out)).take(()), text_encoder_bits=bits).denoiser.layout
    assert layout.name == "mlx-packed" and set(layout.grids) == set(run.family.lowbit)
    for name, values, scales in run.student.tensors():
        if scales is None:
            got = torch.from_numpy(layout.checkpoint.read_finite(name).float32().copy())
            assert torch.equal(got.flatten(), values.float().flatten()), name
            continue
        packed = layout.pack(name)
        codes = unpacked(packed, values.numel()).reshape(values.shape)
        stored = torch.from_numpy(layout.grid(name)[0].float32().copy())
        assert torch.equal(codes, values) and torch.equal(stored, scales.float()), name
        computing = run.student.parameters[name].detach()
        assert torch.equal(grid.decode(codes, stored), computing), name


def unpacked(packed, count):
    """The values int8 of ternary codes, five to a byte."""
    data = packed.parts["codes"].astype(np.int64)
    digits = np.stack([data // 3**i % 3 for i in range(5)], -1).reshape(-1)[:count]
    return torch.from_numpy((digits - 1).astype(np.int8))


def test_a_sprint_broken_off_ends_the_same(prompts, tmp_path):
    """Its sampler draws noise again at each step, which follows from the row and the step."""
    teacher = TEACHERS["sprint"].write(tmp_path / "teacher")
    words = ("--train-steps", 8, "--finish-steps", 2, "--reconstruct-steps", 2, "--save-minutes", 0)
    finish(*start(teacher, prompts, tmp_path / "whole", *words))
    for stop in (("draw with the teacher", 8), ("train", 6)):
        with pytest.raises(KeyboardInterrupt):
            finish(*start(teacher, prompts, tmp_path / "broken", *words, stop=stop))
    finish(*start(teacher, prompts, tmp_path / "broken", *words))
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_a_teacher_with_nan_or_low_bit_weights_is_refused(small):
    family = open_teacher(str(small[1]))
    name = family.lowbit[1]
    _, weights = family.load_transformer()
    scales = grid.least_squares(weights[name], family.group, "ternary")
    low = grid.decode(grid.nearest(weights[name], scales, "ternary"), scales)
    for spoilt, said in ((low, "is low-bit already"), (weights[name] * torch.nan, "holds NaN")):
        family.adapt = lambda model, spoilt=spoilt: spoil(type(family), family, model, name, spoilt)
        with pytest.raises(ExportError, match=f"{name} {said}"):
            family.load_transformer()


@torch.no_grad()
def spoil(kind, family, model, name, weight):
    kind.adapt(family, model)
    model.get_parameter(name).copy_(weight)
