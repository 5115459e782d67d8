"""A smaller encoder with an adapter, which the denoiser of the written folder has in itself."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from build import main
from export.source.configuration import read_json
from tests.ternarize.encoders import MODELS, finish, start, words, write_smaller
from train.ternarize import __main__ as ternarize
from train.ternarize.text_encoder.adapter import NAME, READERS

OPTIONS = ("--text-encoder-bits", 16)  # narrow tables have no 4-bit form
FAMILIES = {"qwen3": "flux2", "gemma2": "sana", "t5": "flux1"}


@pytest.fixture(scope="module", params=MODELS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(kind, tmp_path_factory):
    return MODELS[kind](tmp_path_factory.mktemp(kind) / "model")


@pytest.fixture(scope="module")
def student(kind, model, prompts, tmp_path_factory):
    """(finished EncoderRun, its folder)."""
    folder = tmp_path_factory.mktemp("student")
    smaller = write_smaller(kind, model, folder / "smaller")
    return finish(*start(model, prompts, folder / "out", *OPTIONS,
                         "--student-encoder", smaller)), folder


def reader(kind, folder):
    """The denoiser's first weight that takes rows, and the inputs in its config.json."""
    name, key = READERS[FAMILIES[kind]]
    tensors = load_file(next((folder / "transformer").glob("*.safetensors")))
    return tensors[name], read_json(folder / "transformer" / "config.json")[key]


def test_the_denoiser_reads_the_smaller_encoders_rows_as_the_adapted_ones(kind, model, student):
    run, folder = student
    run.student.load()
    module, batch = run.student.transformer, run.batch(run.held_out_rows)
    with torch.no_grad():
        own = run.family.rows(module, run.tables[module](batch.ids), batch.attended).flatten(2)
        adapted = run.compute(module, batch).flatten(2)
    (before, _), (after, inputs) = reader(kind, model), reader(kind, folder / "out")
    assert own.shape[-1] == inputs == after.shape[1] < before.shape[1]
    error = (own @ after.float().T - adapted @ before.float().T).abs()
    assert (error <= 2**-8 * own.abs() @ after.float().abs().T + 1e-6).all()  # of bf16
    adapter = run.student.parameters[NAME].detach()
    assert torch.equal(after, (before.float() @ adapter).bfloat16())


@torch.no_grad()
def test_the_adapter_starts_from_least_squares(model, prompts, student, tmp_path):
    """About as close to the teacher's rows as the best linear, of the texts that trained it."""
    run = finish(*start(model, prompts, tmp_path / "out", *OPTIONS, "--student-encoder",
                        student[1] / "smaller", "--skip", "reconstruct", "train", "finish"))
    run.student.load()
    module, batch = run.student.transformer, run.batch(range(run.trained_rows))
    rows = run.family.rows(module, run.tables[module](batch.ids), batch.attended)
    own, got, want = (each.flatten(2)[batch.read].double() for each in (
        rows, run.compute(module, batch), run.compute(run.teacher, batch)))
    best = (own @ torch.linalg.lstsq(own, want).solution - want).norm()
    assert best <= (got - want).norm() < 1.02 * best < 0.9 * want.norm()


def test_it_learns(student):
    curve = student[0].record["curves"]["train"]
    assert curve[-1]["rows"] < curve[0]["rows"]


def test_build_reads_the_folder(student, tmp_path, capsys):
    assert main(["--model", str(student[1] / "out"), "--dry-run"]) == 0, capsys.readouterr()


def test_an_encoder_with_too_few_ids_is_refused(kind, model, prompts, student, tmp_path, capsys):

    folder = tmp_path / "smaller"
    shutil.copytree(student[1] / "smaller", folder)
    config = read_json(folder / "config.json")
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 16}))
    given = words(model, prompts, tmp_path / "out", *OPTIONS, "--student-encoder", folder)
    assert ternarize.main(given) == 1
    assert "vocab_size is 16, expected the teacher's" in capsys.readouterr().err
