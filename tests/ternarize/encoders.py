"""Small random models whose text encoders are made low-bit, and the runs that tests start."""

from tests.checkpoints import make_checkpoint
from tests.flux1_checkpoints import make_flux1
from tests.sana_checkpoints import make_sana
from tests.ternarize.teacher import Silent
from train.ternarize import processes
from train.ternarize.__main__ import parse
from train.ternarize.stages import run_stages
from train.ternarize.text_encoder import command
from train.ternarize.text_encoder.run import STAGES

# The last tap of "shallow" is below the last layer; "heads" has an instruction and a negative text.
MODELS = {
    "qwen3": lambda path: make_checkpoint(path, "shallow", layout="unpacked"),
    "gemma2": lambda path: make_sana(path, "heads", negative_prompt="grey, flat"),
    "t5": lambda path: make_flux1(path, "dev"),
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
