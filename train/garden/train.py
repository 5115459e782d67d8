"""Train Garden, one stage a command, each seeded and resumable:

    python -m train.garden.train scenes        draw the training pictures, train the tokenizer
    python -m train.garden.train autoencoder   train the autoencoder on crops of the pictures
    python -m train.garden.train latents       encode the pictures
    python -m train.garden.train flow          train transformer and text encoder
    python -m train.garden.train distil        teach the transformer to draw in four steps
    python -m train.garden.train teacher       write them as a diffusers folder, WORK/teacher
    python -m train.garden.train prompts       write captions for the ternariser, one a line
    python -m train.garden.train students      make the low-bit students, WORK/students
    python -m train.garden.train all           all of these in this order
"""

import argparse
from pathlib import Path

from . import autoencoder, dataset, distil, flow, parallel, students, teacher
from .caption import captions
from .scene import random_scene
from .tokenizer import save_tokenizer

PROMPT_SEED = 30_000_000
SECONDS = {"autoencoder": 2150, "flow": 3700, "distil": 570}


def draw_scenes(args):
    save_tokenizer(args.work / "tokenizer")
    dataset.render(args.work / "scenes.npy", args.scenes, args.workers)


def train_autoencoder(args):
    parallel.run(autoencoder.train,
                 (args.work / "scenes.npy", args.work, seconds_of(args, "autoencoder")),
                 args.workers)


def encode_scenes(args):
    parallel.run(autoencoder.encode_all, (args.work / "scenes.npy", args.work, args.scenes),
                 args.workers)


def train_flow(args):
    parallel.run(flow.train, (args.work, seconds_of(args, "flow"), args.batch), args.workers)


def train_distilled(args):
    parallel.run(distil.train, (args.work, seconds_of(args, "distil"), args.batch), args.workers)


def write_teacher(args):
    teacher.write(args.work, args.work / "teacher")


def write_prompts(args):
    """Captions of scenes that no other stage has seen."""
    scenes = [random_scene(seed) for seed in range(PROMPT_SEED, PROMPT_SEED + args.prompts)]
    lines = captions(scenes, PROMPT_SEED)
    (args.work / "prompts.txt").write_text("".join(f"{line}\n" for line in lines))


def make_students(args):
    for name in students.STUDENTS:
        students.make(name, args.work, args.work / "teacher")


STAGES = {
    "scenes": draw_scenes, "autoencoder": train_autoencoder, "latents": encode_scenes,
    "flow": train_flow, "distil": train_distilled, "teacher": write_teacher,
    "prompts": write_prompts, "students": make_students,
}


def seconds_of(args, stage):
    return args.seconds or SECONDS[stage]


def parse():
    parser = argparse.ArgumentParser(prog="python -m train.garden.train", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=(*STAGES, "all"))
    parser.add_argument("--work", type=Path, default=Path("garden-work"), metavar="DIR",
                        help="pictures, latents and checkpoints (default: garden-work)")
    parser.add_argument("--scenes", type=int, default=20000, help="pictures to draw and encode")
    parser.add_argument("--prompts", type=int, default=4000, help="captions for the ternariser")
    parser.add_argument("--seconds", type=float,
                        help=f"wall clock of a training stage (default: {SECONDS})")
    parser.add_argument("--batch", type=int, default=32,
                        help="samples a process a step of flow and distil")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    return parser.parse_args()


def main():
    args = parse()
    args.work.mkdir(parents=True, exist_ok=True)
    for stage in STAGES if args.stage == "all" else [args.stage]:
        STAGES[stage](args)


if __name__ == "__main__":
    main()
