"""The student's folder: exactly the trained weights, readable by build.py and by diffusers."""

import json
import signal
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen3ForCausalLM

from build import main
from tests import reference
from tests.ternarize.teacher import files, finish, start
from train.ternarize import grid


@pytest.fixture(scope="module")
def binary(teacher, prompts, whole, tmp_path_factory):
    """(finished Run, its folder): binary, trained for a few steps."""
    out = tmp_path_factory.mktemp("binary") / "student"
    words = ("--bits", "binary", "--skip", "reconstruct", "--train-steps", 4, "--finish-steps", 2,
             "--trajectories", whole[0].work / "trajectories")
    return finish(*start(teacher, prompts, out, *words)), out


@pytest.fixture(params=["ternary", "binary"])
def student(request):
    return request.getfixturevalue("whole" if request.param == "ternary" else "binary")


def test_the_folder_holds_exactly_what_was_trained(student):
    """Unpacked by arithmetic of the reference's own, every weight equals the computing one."""
    run, out = student
    run.student.load()
    unpacked = reference.load_transformer(out / "transformer-packed-mflux")
    tensors = dict(unpacked.named_parameters())
    assert tensors.keys() == run.student.parameters.keys()
    for name, parameter in run.student.parameters.items():
        assert torch.equal(tensors[name].detach(), parameter.detach()), name


def test_the_folder_draws_what_the_student_drew(student):
    run, out = student
    unpacked = run.family.prepare(
        reference.load_transformer(out / "transformer-packed-mflux"), torch.float32)
    rows = run.held_out_rows
    inputs = (run.trajectories.state(rows, 1), run.family.sigmas[1].expand(len(rows)),
              run.trajectories.context(rows))
    with torch.no_grad():
        got = run.family.velocity(unpacked, *inputs)
        want = run.family.velocity(run.student.transformer, *inputs)
    assert torch.equal(got, want)


def test_it_learned_on_the_grid(student):
    run, _ = student
    for name, values, scales in run.student.tensors():
        if scales is None:
            continue
        levels = {-1, 0, 1} if run.settings.bits == "ternary" else {-1, 1}
        assert set(values.unique().tolist()) == levels, name
        assert (scales >= 0).all() and grid.grouped(values, 128).shape[:2] == scales.shape


@pytest.fixture
def signals():
    """build.py's main takes SIGTERM for itself."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def test_build_reads_it(student, tmp_path, capsys, signals):
    run, out = student
    assert main(["--model", str(out), "--out", str(tmp_path / "dist")]) == 0, capsys.readouterr()
    manifest = json.loads((tmp_path / "dist" / "model" / "manifest.json").read_text())
    assert manifest["variant"] == run.settings.bits
    assert manifest["source"]["layout"] == "mlx-packed"
    assert manifest["source"]["text_encoder_layout"] == "mlx-affine"
    kinds = {manifest["tensors"][f"transformer.{name}"]["storage"] for name in run.family.lowbit}
    assert kinds == {run.settings.bits}
    call = manifest["pipeline"]
    assert (call["width"], call["height"], call["num_inference_steps"]) == (32, 24, 3)


def test_the_text_encoder_is_within_half_a_step_of_the_teachers(teacher, whole):
    stored = load_file(whole[1] / "text_encoder-mlx-4bit" / "model.safetensors")
    got = dict(reference.load_text_encoder(whole[1] / "text_encoder-mlx-4bit").named_parameters())
    want = Qwen3ForCausalLM.from_pretrained(teacher / "text_encoder", dtype=torch.float32)
    for name, parameter in want.named_parameters():
        scales = stored.get(name.removesuffix("weight") + "scales")
        error = (got[name] - parameter).abs()
        if scales is None:
            assert not error.any(), name
        else:
            limit = 0.51 * scales.float() + 0.01 * grid.grouped(parameter, 64).abs().amax(-1)
            assert (grid.grouped(error, 64).amax(-1) <= limit).all() and error.any(), name


def test_the_student_is_taught_on_what_its_own_text_encoder_says(whole):
    run, out = whole
    prompts, rows = run.prompts.texts[:3], [0, 1, 2]
    pipeline = reference.load_pipeline(out)
    for row, prompt in zip(rows, prompts, strict=True):
        want = reference.encode_prompt(out, prompt, pipeline.text_encoder)
        own = run.trajectories.context([row])["rows"][0].float().numpy()
        teachers = run.trajectories.context([row], teacher=True)["rows"][0].float().numpy()
        error = np.abs(own - want).max() / np.abs(want).max()
        assert error < 2**-8 < 0.02 < np.abs(teachers - want).max() / np.abs(want).max()


def test_a_text_encoder_of_16_bits_stays_as_it_is(teacher, prompts, tmp_path):
    out = tmp_path / "student"
    words = ("--text-encoder-bits", 16, "--skip", "reconstruct", "train", "finish")
    run = finish(*start(teacher, prompts, out, *words))
    assert files(out / "text_encoder") == files(teacher / "text_encoder")
    assert not (out / "text_encoder-mlx-4bit").exists()
    both = [run.trajectories.context([0, 5], teacher)["rows"] for teacher in (False, True)]
    assert torch.equal(*both)


def test_the_report_says_everything(student):
    run, out = student
    folder = out / "report"
    report = json.loads((folder / "report.json").read_text())
    assert report["settings"]["bits"] == run.settings.bits
    assert report["prompts"] == {"trained": 12, "held_out": 4}
    assert set(report["bytes"]) == {"transformer", "text_encoder", "vae"}
    weights = load_file(out / "transformer-packed-mflux" / "diffusion_pytorch_model.safetensors")
    held = sum(tensor.nbytes for tensor in weights.values())
    assert held < report["bytes"]["transformer"]["student"] < 1.1 * held
    for stage in report["stages"]:
        assert stage["layers"].keys() == set(run.family.lowbit)
        assert len(stage["held_out"]) == 3 + 7
        assert all(-1 <= point["cosine"] <= 1 for point in stage["held_out"])
    final = report["stages"][-1]["layers"]
    for name, values in run.student.values.items():
        assert final[name]["zeros"] == pytest.approx((values == 0).float().mean().item())
    lines = [line["step"] for line in report["curves"]["train"]]
    assert lines == list(range(run.settings.train_steps))
    text = (folder / "report.md").read_text()
    for name in (*run.family.lowbit, "Sizes", "code flips", "held-out prompts"):
        assert name in text
    pictures = {path.name for path in folder.glob("*.svg")}
    assert pictures >= {"train.svg", "finish.svg", "cosine.svg", "snr.svg", "zeros.svg"}
    for picture in pictures:
        assert picture in text and ElementTree.parse(folder / picture).getroot().tag.endswith("svg")
    drawn = ElementTree.parse(folder / "cosine.svg").iter("{http://www.w3.org/2000/svg}polyline")
    assert len(list(drawn)) == len(report["stages"])


def test_snr_of_the_first_stage_is_of_the_weights(teacher, whole):
    source = next((teacher / "transformer").glob("*.safetensors"))
    name = whole[0].family.lowbit[3]
    weight = load_file(source)[name].float()
    scales = grid.stored(grid.least_squares(weight, 128, "ternary"))
    noise = weight - grid.decode(grid.nearest(weight, scales, "ternary"), scales)
    want = 10 * torch.log10(weight.square().sum() / noise.square().sum()).item()
    assert whole[0].record["stages"][0]["layers"][name]["snr"] == pytest.approx(want, abs=1e-3)
