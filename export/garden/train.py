"""Train Garden, one stage a command, each seeded and resumable:

    python -m export.garden.train scenes        draw the training pictures, train the tokenizer
    python -m export.garden.train autoencoder   train the autoencoder on crops of the pictures
    python -m export.garden.train latents       encode the pictures
    python -m export.garden.train denoiser      train transformer and text encoder, then ternary
"""

import argparse
from pathlib import Path

from . import autoencoder, dataset, flow, parallel
from .tokenizer import save_tokenizer

SECONDS = {"autoencoder": 1765, "denoiser": 4300}


def arguments():
    parser = argparse.ArgumentParser(prog="python -m export.garden.train", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("scenes", "autoencoder", "latents", "denoiser"))
    parser.add_argument("--work", type=Path, default=Path("garden-work"), metavar="DIR",
                        help="pictures, latents and checkpoints (default: garden-work)")
    parser.add_argument("--scenes", type=int, default=24000, help="pictures to draw or encode")
    parser.add_argument("--seconds", type=float,
                        help=f"wall clock of a training stage (default: {SECONDS})")
    parser.add_argument("--batch", type=int, default=32, help="denoiser samples a process a step")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    return parser.parse_args()


def main():
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    scenes, seconds = args.work / "scenes.npy", args.seconds or SECONDS.get(args.stage)
    if args.stage == "scenes":
        save_tokenizer(args.work / "tokenizer")
        dataset.render(scenes, args.scenes, args.workers)
    elif args.stage == "autoencoder":
        parallel.run(autoencoder.train, (scenes, args.work, seconds), args.workers)
    elif args.stage == "latents":
        parallel.run(autoencoder.encode_all, (scenes, args.work, args.scenes), args.workers)
    else:
        parallel.run(flow.train, (args.work, seconds, args.batch), args.workers)


if __name__ == "__main__":
    main()
