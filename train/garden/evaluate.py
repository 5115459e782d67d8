"""Judge models by 500 held-out prompts, half of them with combinations that training never saw:

    python -m train.garden.evaluate models/garden-{teacher,ternary,binary}
    python -m train.garden.evaluate --judge models/garden-judge-256 FOLDER

draws them with diffusers in float32, reads the pictures with the classifier of models/garden-judge,
prints a Markdown table and writes quality.json, quality.md and a grid of 64 pictures a model.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC
from PIL import Image
from tqdm import tqdm

from . import judge
from .autoencoder import psnr
from .caption import KEEP_CLEAR
from .dataset import HELD_OUT_SEED, PAINTERS, draw_range
from .figures import frechet, mean_of_columns, share
from .packed import draw_prompts, load_pipeline
from .prompts import evaluation_prompts, grid_prompts
from .report import table, weights
from .sana import autoencoder as sana_autoencoder
from .scene import ATTRIBUTES, Scene, held_out_pairs

JUDGE = Path("models/garden-judge")
COLUMNS = 8             # pictures a row of the grid
RENDERS = 4             # for each prompt, in the Frechet distance
RENDER_SEED = 80_000_000


def grid(pictures):
    """Pictures uint8 [N, H, W, 3] as one image, COLUMNS a row."""
    rows = [np.concatenate(pictures[start:start + COLUMNS], 1)
            for start in range(0, len(pictures), COLUMNS)]
    return Image.fromarray(np.concatenate(rows, 0))


def render(prompt, seed, side):
    """A rendered picture that the prompt describes; what it leaves out is as in training."""
    rng = np.random.default_rng((seed, 9))
    chosen = {name: values[rng.integers(len(values))] for name, values in ATTRIBUTES.items()}
    # Nobody mentions clear weather: P(value | not named) is proportional to 1 - P(named | value).
    chosen["weather"] = rng.choice(ATTRIBUTES["weather"], p=np.array(
        [1 - KEEP_CLEAR, .05, .05]) / (1.1 - KEEP_CLEAR))
    return PAINTERS[side](Scene(**(chosen | prompt.wanted), seed=seed))


def reference_features(prompts, reader, renders, first_seed):
    """The judge's features of `renders` renderings of each prompt."""
    return np.concatenate([
        reader.features(np.stack([render(prompt, first_seed + renders * i + k, reader.side)
                                  for k in range(renders)]))
        for i, prompt in enumerate(prompts)])


def verdicts(pictures, prompts, reader):
    """right, named: bool [prompts, attributes]."""
    seen = reader.read(pictures)
    right = [[saw[name] == prompt.wanted.get(name) for name in ATTRIBUTES]
             for saw, prompt in zip(seen, prompts, strict=True)]
    named = [[name in prompt.wanted for name in ATTRIBUTES] for prompt in prompts]
    return np.array(right), np.array(named)


def score(pictures, prompts, reader, reference):
    """The figures of one model's pictures."""
    right, named = verdicts(pictures, prompts, reader)
    unseen = np.array([prompt.unseen for prompt in prompts])
    names = list(ATTRIBUTES)
    pairs = {}          # "lean and size": whether both are right, wherever both are held out
    for i, prompt in enumerate(prompts):
        for first, _, second, _ in held_out_pairs(prompt.wanted):
            both = right[i, names.index(first)] and right[i, names.index(second)]
            pairs.setdefault(f"{first} and {second}", []).append(both)
    return {
        "mean": mean_of_columns(right, named),
        "seen": mean_of_columns(right[~unseen], named[~unseen]),
        "unseen": mean_of_columns(right[unseen], named[unseen]),
        "held-out pairs": {name: share(both) for name, both in sorted(pairs.items())},
        "everything named": share((right | ~named).all(1)),
        "attributes": {name: share(right[named[:, i], i]) for i, name in enumerate(names)},
        "frechet": frechet(reader.features(pictures), reference),
    }


def evaluate(folder, prompts, reader, reference, steps=None):
    """Figures of a model folder, and its grid's pictures [64, H, W, 3]."""
    pipeline, arguments = load_pipeline(folder)
    if steps:
        arguments["num_inference_steps"] = steps
        if steps != 2 and "intermediate_timesteps" in arguments:
            arguments["intermediate_timesteps"] = None      # which goes with two steps alone
    shown = grid_prompts()
    both = [*prompts, *shown]
    with tqdm(total=len(both), desc=folder.name, unit="picture") as progress:
        pictures = draw_prompts(pipeline, arguments, [prompt.text for prompt in both],
                                [prompt.seed for prompt in both], progress)
    figures = score(pictures[:len(prompts)], prompts, reader, reference)
    return figures | {
        "steps": arguments["num_inference_steps"], **weights(folder),
        "autoencoder_psnr": psnr_of(pipeline.vae, reader.side),
    }, pictures[len(prompts):]


def psnr_of(vae, side):
    """Mean PSNR in dB over held-out renders that the autoencoder encoded and decoded."""
    if isinstance(vae, AutoencoderDC):
        return sana_autoencoder.psnr(vae, draw_range(HELD_OUT_SEED, 32, PAINTERS[side]))
    return psnr(vae)


def parse():
    parser = argparse.ArgumentParser(prog="python -m train.garden.evaluate", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--out", type=Path, default=Path("garden-quality"), metavar="DIR")
    parser.add_argument("--judge", type=Path, default=JUDGE, metavar="DIR")
    parser.add_argument("--steps", type=int, help="instead of each model's default")
    parser.add_argument("--count", type=int, default=500, help="prompts to judge (500)")
    return parser.parse_args()


def main():
    args = parse()
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    reader, prompts = judge.load(args.judge), evaluation_prompts(args.count)
    reference = reference_features(prompts, reader, RENDERS, RENDER_SEED)
    again = reference_features(prompts, reader, 1, RENDER_SEED + 10_000_000)
    result = {"prompts": len(prompts), "frechet_of_renders": frechet(again, reference),
              "models": {}}
    for folder in args.models:
        figures, pictures = evaluate(folder, prompts, reader, reference, args.steps)
        result["models"][folder.name] = figures
        grid(pictures).save(args.out / f"{folder.name}-grid.png")
        # After each model, so that a long row of them that is broken off leaves what it found.
        (args.out / "quality.json").write_text(json.dumps(result, indent=2) + "\n")
        (args.out / "quality.md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
