"""Small random models whose text encoders are made low-bit, and the runs that tests start."""

import torch

from export.source.configuration import read_json
from tests.checkpoints import make_checkpoint
from tests.flux1_checkpoints import make_flux1
from tests.sana_checkpoints import make_sana
from tests.ternarize.teacher import Silent
from train.ternarize import processes
from train.ternarize.__main__ import parse
from train.ternarize.stages import run_stages
from train.ternarize.text_encoder import command
from train.ternarize.text_encoder.encoders import KINDS
from train.ternarize.text_encoder.run import STAGES

# The last tap of "shallow" is below the last layer; "heads" has an instruction and a negative text.
MODELS = {
    "qwen3": lambda path: make_checkpoint(path, "shallow", layout="unpacked"),
    "gemma2": lambda path: make_sana(path, "heads", negative_prompt="grey, flat",
                                     num_inference_steps=2, width=64, height=64),
    "t5": lambda path: make_flux1(path, "dev", num_inference_steps=2, width=64, height=64),
}
SMALL = [
    "--component", "text_encoder", "--compute", "f32", "--device", "cpu", "--batch", "8",
    "--micro-batch", "8", "--held-out", "4", "--train-steps", "6", "--finish-steps", "3",
    "--reconstruct-steps", "3", "--reconstruct-samples", "8", "--rate", "1e-3",
    "--dense-rate", "1e-3",
]


def words(model, prompts, out, *more):
    given = ["--model", model, "--prompts", prompts, "--out", out, "--bits", "ternary", *SMALL]
    return [str(word) for word in (*given, *more)]


def start(model, prompts, out, *more, stop=None):
    """A prepared EncoderRun of the command line's options, and its options."""
    _, options = parse(words(model, prompts, out, *more))
    run = command.make_run(options, processes.start(options.device), Silent(stop))
    run.prepare()
    return run, options


def finish(run, options):
    """All stages, and the student's folder."""
    run_stages(run, STAGES)
    command.write_student(run, command.open_rest(options, run), options.out)
    return run


def write_smaller(kind, model, folder):
    """An encoder of the same kind, half as wide, that reads the same tokenizer's ids."""
    torch.manual_seed(7)
    part = "text_encoder_2" if kind == "t5" else "text_encoder"
    given = read_json(model / part / "config.json")
    halves = ("hidden_size", "intermediate_size") if kind != "t5" else ("d_model", "d_ff")
    config = {key: value // 2 if key in halves else value for key, value in given.items()}
    load = KINDS[{"qwen3": "Qwen3", "gemma2": "Gemma2", "t5": "T5EncoderModel"}[kind]].load
    encoder = load(load.config_class(**config))
    encoder.to(torch.bfloat16).save_pretrained(folder)
    return folder
