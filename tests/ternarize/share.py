"""What share of a plain matrix product's FLOP/s the ternariser's steps reach on this machine.

    python -m tests.ternarize.share [TEACHER]

Both are measured in turns in one run, in processor seconds of one thread in float32: prints the
ratio, the --share of a plan on such a machine. TEACHER: models/garden-teacher.
"""

import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from tests.ternarize.teacher import start
from train.ternarize import plan
from train.ternarize.descent import Descent

ROOT = Path(__file__).resolve().parents[2]
STEPS, BATCH, MICRO = 6, 32, 16
SIDE = 1024


def seconds(work):
    """Of the processor."""
    before = time.process_time()
    work()
    return time.process_time() - before


def main():
    torch.set_num_threads(1)
    teacher = sys.argv[1] if len(sys.argv) > 1 else ROOT / "models" / "garden-teacher"
    one, other = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    with TemporaryDirectory() as folder, suppress(BrokenPipeError):
        prompts = Path(folder) / "prompts.txt"
        prompts.write_text("\n".join(f"a pine, number {i}" for i in range(32)), encoding="utf-8")
        run, _ = start(teacher, prompts, Path(folder) / "student", "--batch", BATCH,
                       "--micro-batch", MICRO, "--train-steps", STEPS, "--no-checkpointing")
        run.student.initialise()
        run.stage = "train"
        _, flop = plan.make_plan(run.family, run.settings, run.prompts).stages["train"]
        measuring = (run.settings.held_out * (len(run.family.sigmas) - 1 + len(plan.SIGMAS)) * 2
                     * plan.count_forward(run.family, run.settings).flop)
        descent, ratios = Descent(run), []
        for step in range(STEPS):
            own = (flop - measuring) / STEPS / seconds(lambda step=step: descent.step(step))
            torch.mm(one, other)
            plain = 8 * 2 * SIDE**3 / seconds(lambda: [torch.mm(one, other) for _ in range(8)])
            ratios.append(own / plain)
            print(f"{own / 1e9:7.1f} of {plain / 1e9:7.1f} GFLOP/s: {ratios[-1]:.0%}", flush=True)
    print(f"median {sorted(ratios)[STEPS // 2]:.0%}")


if __name__ == "__main__":
    main()
