"""Text encoders made low-bit: rows as diffusers has them, runs, and folders that build.py reads."""

import shutil
import signal

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Qwen3ForCausalLM

from build import main
from export.source.configuration import read_json
from tests import flux1_reference, sana_reference
from tests.export.packed import PackedSite
from tests.ternarize.encoders import MODELS, finish, start, words
from tests.ternarize.teacher import files
from train.ternarize import __main__ as ternarize
from train.ternarize.grid import grouped
from train.ternarize.text_encoder.texts import read_texts

PROMPT = "An old Pine in the snow "
BREAKS = [("reconstruct", 1), ("train", 2), ("train", 5), ("finish", 2)]


@pytest.fixture(scope="module", params=MODELS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(kind, tmp_path_factory):
    return MODELS[kind](tmp_path_factory.mktemp(kind) / "model")


@pytest.fixture(scope="module")
def whole(model, prompts, tmp_path_factory):
    """(finished EncoderRun, its folder) of all stages, ternary, never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "student"
    return finish(*start(model, prompts, out)), out


@pytest.fixture(scope="module")
def binary(model, prompts, tmp_path_factory):
    out = tmp_path_factory.mktemp("binary") / "student"
    more = ("--bits", "binary", "--skip", "reconstruct", "--prune")
    return finish(*start(model, prompts, out, *more)), out


@torch.no_grad()
def of_diffusers(kind, model):
    """Rows that diffusers' denoiser reads, of the prompt and, where there is one, the negative."""
    if kind == "gemma2":
        pipeline, call = sana_reference.load_pipeline(model), sana_reference.call_arguments(model)
        asked = ("max_sequence_length", "complex_human_instruction", "negative_prompt")
        rows, mask, negative, its_mask = pipeline.encode_prompt(
            PROMPT, **{key: call[key] for key in asked})
        return [rows[mask.bool()], negative[its_mask.bool()]]
    if kind == "t5":
        pipeline = flux1_reference.load_pipeline(model)
        length = flux1_reference.call_arguments(model, pipeline)["max_sequence_length"]
        return [pipeline.encode_prompt(PROMPT, None, max_sequence_length=length)[0][0]]
    encoder = Qwen3ForCausalLM.from_pretrained(model / "text_encoder", dtype=torch.float32)
    call = read_json(model / "trefoil.json")
    return [Flux2KleinPipeline._get_qwen3_prompt_embeds(
        encoder, AutoTokenizer.from_pretrained(model / "tokenizer"), PROMPT,
        max_sequence_length=call["max_sequence_length"],
        hidden_states_layers=call["text_encoder_out_layers"])[0]]


@torch.no_grad()
def test_the_teachers_rows_are_those_of_diffusers(kind, model, whole):
    run, _ = whole
    texts = read_texts(run.opened.model, run.opened.part.name, [PROMPT])
    want = of_diffusers(kind, model)
    assert len(texts.ids) == len(want)
    for row, rows in enumerate(want):
        batch = texts.batch([row], "cpu")
        got = run.compute(run.teacher, batch)[batch.read].flatten(1)
        assert got.shape == rows.shape
        np.testing.assert_allclose(got, rows, atol=2e-5, rtol=1e-4)


@pytest.fixture
def signals():
    """build.py's main takes SIGTERM for itself."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize("student", ["whole", "binary"])
def test_a_site_has_exactly_the_students_weights_and_rows(model, student, request, tmp_path,
                                                         capsys, signals):
    run, out = request.getfixturevalue(student)
    assert main(["--model", str(out), "--out", str(tmp_path / "site")]) == 0, capsys.readouterr()
    site, encoder, part = PackedSite(tmp_path / "site"), run.family, run.opened.part.name
    run.student.load()
    module, table, _ = encoder.load()
    own, wanted = dict(module.named_parameters()), run.student.parameters
    assert own.keys() == wanted.keys() == encoder.specs.keys() - {encoder.table}
    for name, spec in encoder.specs.items():
        packed = torch.from_numpy(site.weight(f"{part}.{name}") - spec.plus).float()
        (table.weight if name == encoder.table else own[name]).data = packed
        if name in encoder.lowbit:
            assert site.manifest["tensors"][f"{part}.{name}"]["storage"] == run.settings.bits
        if spec.plus == 0 and name != encoder.table:
            assert torch.equal(packed, wanted[name].detach()), name
    batch = run.batch(run.held_out_rows)
    with torch.no_grad():
        got = encoder.rows(module, table(batch.ids), batch.attended)
        want = run.compute(run.student.transformer, batch)
    if any(spec.plus for spec in encoder.specs.values()):  # which f32 adds and takes away
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    else:
        assert torch.equal(got, want)


def test_it_learned_on_the_grid(whole):
    run, out = whole
    report = read_json(out / "report" / "report.json")
    assert [stage["stage"] for stage in report["stages"]] == [
        "init", "reconstruct", "train", "finish"]
    errors = [stage["summary"]["error"] for stage in report["stages"]]
    assert errors[-1] < errors[0] and errors[-1] < 1
    assert report["stages"][-1]["summary"]["flips"] == 0 < report["stages"][-2]["summary"]["flips"]
    for name, values, scales in run.student.tensors():
        if scales is not None:
            assert set(values.unique().tolist()) == {-1, 0, 1}, name
            assert grouped(values, run.family.group).shape[:2] == scales.shape


def test_a_run_broken_off_in_every_stage_ends_the_same(model, prompts, whole, tmp_path):
    """Bit for bit, report included; the steps since the last checkpoint are done again."""
    out = tmp_path / "student"
    for stop in BREAKS:
        run, options = start(model, prompts, out, "--save-minutes", 0, stop=stop)
        with pytest.raises(KeyboardInterrupt):
            finish(run, options)
        assert (run.stage, run.step) == stop and not out.exists()
    finish(*start(model, prompts, out, "--save-minutes", 0))
    got, want = files(out), files(whole[1])
    assert got.keys() == want.keys()
    assert not [name for name in want if got[name] != want[name]]


@pytest.mark.parametrize("stage", ["reconstruct", "train", "finish"])
def test_every_stage_can_be_left_out(model, prompts, tmp_path, stage):
    out = tmp_path / "student"
    run = finish(*start(model, prompts, out, "--skip", stage, "--train-steps", 2))
    done = [each["stage"] for each in run.record["stages"]]
    assert done == [each for each in ("init", "reconstruct", "train", "finish") if each != stage]
    assert (out / "report" / "report.md").is_file()


def command(model, prompts, out, capsys, *more):
    status = ternarize.main(words(model, prompts, out, *more))
    return status, capsys.readouterr().err


def copy_with(model, folder, change):
    """A copy of a model whose encoder's tensors, by name, went through `change`."""
    shutil.copytree(model, folder)
    for name in ("text_encoder_2", "text_encoder"):
        paths = sorted((folder / name).glob("*.safetensors"))
        if paths:
            break
    for path in paths:
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})
    return folder


def test_a_teacher_with_values_that_are_not_finite(model, prompts, tmp_path, capsys, whole):
    name = whole[0].family.lowbit[1]

    def spoil(tensors):
        key = next(key for key in tensors if key.endswith(name))
        tensors[key][0, 0] = float("nan")

    folder = copy_with(model, tmp_path / "model", spoil)
    status, said = command(folder, prompts, tmp_path / "out", capsys)
    assert status == 1 and f"{name} holds NaN or infinity" in said


def test_a_teacher_that_is_low_bit_already(model, prompts, tmp_path, capsys, whole):
    lowbit = whole[0].family.lowbit

    def quantise(tensors):
        for key in tensors:
            if key.endswith(tuple(lowbit)):
                tensors[key] = tensors[key].sign() / 8

    folder = copy_with(model, tmp_path / "model", quantise)
    status, said = command(folder, prompts, tmp_path / "out", capsys)
    assert status == 1 and "is low-bit already, expected full-precision" in said
    status, said = command(whole[1], prompts, tmp_path / "out", capsys)
    part = whole[0].opened.part.folder
    assert status == 1 and f"no {part}/ with safetensors" in said


def test_pruning_leaves_one_layer_above_the_last_tap(kind, model, binary, whole):
    kept = [read_json(next(out.glob("text_encoder*-mlx-*bit")) / "config.json")
            for out in (whole[1], binary[1])]
    key = "num_layers" if kind == "t5" else "num_hidden_layers"
    total, depth = whole[0].family.total, whole[0].family.depth
    assert [config[key] for config in kept] == [total, min(total, depth + 1)]


@pytest.mark.parametrize("asked", [["--trajectories", "drawn"], ["--steps", 4], ["--width", 64]],
                         ids=lambda asked: asked[0])
def test_what_concerns_drawings_alone_is_refused(asked, prompts, tmp_path, capsys):
    status, said = command(tmp_path, prompts, tmp_path / "out", capsys, *asked)
    assert status == 1 and f"{asked[0]} is of the transformer's run" in said
