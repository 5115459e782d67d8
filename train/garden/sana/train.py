"""Train Garden at 256 pixels, one stage a command, each seeded and resumable:

    python -m train.garden.sana.train scenes        draw the training pictures, train the tokenizer
    python -m train.garden.sana.train autoencoder   train the autoencoder on crops of the pictures
    python -m train.garden.sana.train latents       encode the pictures
    python -m train.garden.sana.train flow          train transformer and text encoder
    python -m train.garden.sana.train distil        teach the transformer to draw in two steps
    python -m train.garden.sana.train teacher       write them as a diffusers folder, WORK/teacher
    python -m train.garden.sana.train prompts       write captions for the ternariser, one a line
    python -m train.garden.sana.train all           all of these in this order

A training stage saves every three minutes and goes on where it was when it is started again; with
a larger --seconds it goes on beyond its end. `measure` prints the autoencoder's PSNR so far.
"""

import argparse
from pathlib import Path

from .. import dataset, parallel
from ..large.draw import draw
from ..train import write_prompts
from . import autoencoder, distil, flow, teacher
from .tokenizer import save_tokenizer

SECONDS = {"autoencoder": 7200, "flow": 21600, "distil": 5400}


def draw_scenes(args):
    save_tokenizer(args.work / "tokenizer")
    dataset.render(args.work / "scenes.npy", args.pictures, args.workers, draw)


def train_autoencoder(args):
    parallel.run(autoencoder.train, (args.work, seconds_of(args, "autoencoder")), args.workers)


def measure_autoencoder(args):
    autoencoder.measure(args.work)


def encode_scenes(args):
    autoencoder.encode_all(args.work, args.scenes)


def train_flow(args):
    parallel.run(flow.train, (args.work, seconds_of(args, "flow"), args.batch), args.workers)


def train_distilled(args):
    parallel.run(distil.train, (args.work, seconds_of(args, "distil"), args.batch), args.workers)


def write_teacher(args):
    teacher.write(args.work, args.work / "teacher")


STAGES = {
    "scenes": draw_scenes, "autoencoder": train_autoencoder, "latents": encode_scenes,
    "flow": train_flow, "distil": train_distilled, "teacher": write_teacher,
    "prompts": write_prompts,
}


def seconds_of(args, stage):
    return args.seconds or SECONDS[stage]


def parse():
    parser = argparse.ArgumentParser(prog="python -m train.garden.sana.train", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=(*STAGES, "all", "measure"))
    parser.add_argument("--work", type=Path, default=Path("garden-sana-work"), metavar="DIR",
                        help="pictures, latents and checkpoints (default: garden-sana-work)")
    parser.add_argument("--pictures", type=int, default=6000, help="pictures to draw and keep")
    parser.add_argument("--scenes", type=int, default=20000, help="pictures to encode")
    parser.add_argument("--prompts", type=int, default=4000, help="captions for the ternariser")
    parser.add_argument("--seconds", type=float,
                        help="of a training stage, by each process's own clock "
                             f"(default: {SECONDS})")
    parser.add_argument("--batch", type=int, default=32,
                        help="samples a process a step of flow and distil")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    return parser.parse_args()


def main():
    args = parse()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.stage == "measure":
        return measure_autoencoder(args)
    for stage in STAGES if args.stage == "all" else [args.stage]:
        STAGES[stage](args)


if __name__ == "__main__":
    main()
