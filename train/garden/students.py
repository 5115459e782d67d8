"""Make Garden's low-bit students, and the rows of the ablation, from its teacher:

    python -m train.garden.students ternary binary --work garden-work
    python -m train.garden.students --work garden-work        all of them

Each is one run of train.ternarize into WORK/students/NAME; they share the teacher's drawings in
WORK/drawn, and a run that was broken off goes on. `python -m train.garden.evaluate` judges them.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import torch

from .precision import training_dtype

TRAINED = ["--train-steps", "330", "--finish-steps", "20"]
UNTRAINED = ["--skip", "train", "finish"]
SHORT = ["--skip", "reconstruct", "finish", "--train-steps", "250"]
INITIAL = ["--skip", "reconstruct", "train", "finish"]
# Name of the student: bits and what sets it apart.
STUDENTS = {
    "ternary-absmean": ("ternary", [*INITIAL, "--scales", "absmean"]),
    "ternary-init": ("ternary", INITIAL),
    "ternary-reconstruct": ("ternary", UNTRAINED),
    "ternary": ("ternary", TRAINED),
    "ternary-short": ("ternary", SHORT),
    "ternary-absmean-short": ("ternary", [*SHORT, "--scales", "absmean"]),
    "binary-init": ("binary", INITIAL),
    "binary-reconstruct": ("binary", UNTRAINED),
    "binary": ("binary", TRAINED),
}
# A small model learns with higher rates than the defaults, which are for billions of weights.
COMMON = ["--batch", "32", "--micro-batch", "32", "--no-checkpointing", "--device", "cpu",
          "--dense-rate", "5e-4", "--rate", "1e-3", "--reconstruct-rate", "5e-4",
          "--reconstruct-steps", "100", "--reconstruct-samples", "512", "--average", "0.995",
          "--save-minutes", "4",
          "--compute", "bf16" if training_dtype() == torch.bfloat16 else "f32"]


def command(name, work, teacher):
    """The arguments of train.ternarize for the student `name`."""
    bits, own = STUDENTS[name]
    return ["--model", str(teacher), "--out", str(work / "students" / name), "--bits", bits,
            "--prompts", str(work / "prompts.txt"), "--trajectories", str(work / "drawn"),
            *COMMON, *own]


def make(name, work, teacher, threads=1):
    """Run the ternariser for the student `name`; raises CalledProcessError when it fails."""
    print(name, flush=True)
    subprocess.run([sys.executable, "-m", "train.ternarize", *command(name, work, teacher)],
                   check=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})


def main():
    parser = argparse.ArgumentParser(prog="python -m train.garden.students", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(STUDENTS))
    parser.add_argument("--work", type=Path, default=Path("garden-work"), metavar="DIR")
    parser.add_argument("--teacher", type=Path, default=Path("models/garden-teacher"),
                        metavar="DIR")
    parser.add_argument("--threads", type=int, default=1, help="of one run (1)")
    args = parser.parse_args()
    for name in args.names or STUDENTS:
        if name not in STUDENTS:
            parser.error(f"student is {name!r}, expected one of {', '.join(STUDENTS)}")
        make(name, args.work, args.teacher, args.threads)


if __name__ == "__main__":
    main()
