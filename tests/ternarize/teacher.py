"""A small random teacher in full precision, and the runs that tests start from it."""

import numpy as np
import torch
from diffusers import Flux2Transformer2DModel
from transformers import Qwen3ForCausalLM

from tests.checkpoints import SHAPES, fill, make_vae, text_config, write_json, write_unpacked
from train.ternarize import command, processes
from train.ternarize.__main__ import parse
from train.ternarize.stages import run_stages, write_student

SPEC = SHAPES["shallow"]
CALL = SPEC["pipeline"] | {"num_inference_steps": 3, "width": 32, "height": 24}
TREES = ("pine", "maple", "juniper", "plum", "elm")
PLACES = ("in the snow", "by a river", "at night", "under a grey sky")
SMALL = [
    "--compute", "f32", "--device", "cpu", "--batch", "8", "--micro-batch", "4", "--held-out", "4",
    "--train-steps", "12", "--finish-steps", "6", "--reconstruct-steps", "6",
    "--reconstruct-samples", "4", "--rate", "1e-3", "--dense-rate", "1e-3",
]


def write_teacher(path, seed=0):
    """A diffusers folder whose block linears lie on no grid."""
    torch.manual_seed(seed)
    modules = (
        Flux2Transformer2DModel(guidance_embeds=False, **SPEC["transformer"]),
        Qwen3ForCausalLM(text_config(SPEC["text_encoder"])), make_vae(SPEC["vae"]),
    )
    for module in modules:
        fill(module, 1.0)
    transformer, encoder, vae = modules
    path.mkdir(parents=True)
    write_unpacked(path, transformer, encoder, vae)
    write_json(path / "trefoil.json", CALL | {"prompts": ["a pine"], "sizes": [[32, 24]]})
    return path


def write_prompts(path, count=16):
    lines = [f"an old {tree} {place}" for tree in TREES for place in PLACES]
    path.write_text("\n".join(lines[:count]) + "\n", encoding="utf-8")
    return path


class Silent:
    """A Progress that says nothing and, if asked, breaks off in the middle of a stage."""

    silent = True

    def __init__(self, stop=None):
        self.stop, self.stage = stop, None

    def begin(self, stage, total, done=0):
        self.stage = stage

    def advance(self, done, error=None):
        if (self.stage, done) == self.stop:
            raise KeyboardInterrupt

    def close(self):
        pass


def start(teacher, prompts, out, *words, stop=None):
    """A prepared Run of the command line's options, and its options."""
    given = ["--model", teacher, "--prompts", prompts, "--out", out, "--bits", "ternary", *SMALL]
    _, options = parse([str(word) for word in (*given, *words)])
    device = processes.start(options.device)
    run = command.make_run(options, device, Silent(stop))
    run.prepare(options.trajectories or run.work / "trajectories")
    return run, options


def finish(run, options):
    """All stages, and the student's folder."""
    run_stages(run)
    write_student(run, options.out)
    return run


def files(folder):
    """Relative path -> bytes of everything below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(count, columns, seed=0):
    """Weights f32 [count, columns], some of them zero."""
    weight = np.random.default_rng(seed).standard_normal((count, columns)).astype(np.float32)
    weight[np.abs(weight) < 0.02] = 0
    return torch.from_numpy(weight)
