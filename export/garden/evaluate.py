"""Draw 32 fixed prompts with the packed model, judge their colours, measure the autoencoder:

    python -m export.garden.evaluate models/garden-ternary --grid grid.png
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .autoencoder import psnr
from .judge import judge
from .packed import draw_prompt, load_pipeline
from .prompts import evaluation_prompts

COLUMNS = 8


def grid(pictures):
    """Pictures uint8 [N, H, W, 3] as one image, COLUMNS a row."""
    rows = [np.concatenate(pictures[start:start + COLUMNS], 1)
            for start in range(0, len(pictures), COLUMNS)]
    return Image.fromarray(np.concatenate(rows, 0))


def score(pictures, prompts):
    """Counts of prompts followed: by region, and all three together; and each miss."""
    counts = {"foliage": 0, "pot": 0, "sky": 0, "all": 0}
    misses = []
    for picture, (prompt, wanted) in zip(pictures, prompts, strict=True):
        seen = judge(picture)
        right = {region: seen[region] == wanted[region] for region in seen}
        for region, ok in right.items():
            counts[region] += ok
        counts["all"] += all(right.values())
        if not all(right.values()):
            wrong = ", ".join(f"{region} {seen[region]}" for region in seen if not right[region])
            misses.append(f"{prompt}: {wrong}")
    return counts, misses


def main():
    parser = argparse.ArgumentParser(prog="python -m export.garden.evaluate", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=Path("models/garden-ternary"))
    parser.add_argument("--grid", type=Path, default=Path("garden-grid.png"), metavar="PNG")
    parser.add_argument("--steps", type=int, help="instead of the model's default")
    parser.add_argument("--count", type=int, default=32, help="prompts to draw (at most 32)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pipeline, arguments = load_pipeline(args.model)
    if args.steps:
        arguments["num_inference_steps"] = args.steps
    prompts = evaluation_prompts()[:args.count]
    pictures = [draw_prompt(pipeline, arguments, prompt, seed)
                for seed, (prompt, _) in enumerate(prompts)]
    grid(pictures).save(args.grid)
    counts, misses = score(pictures, prompts)
    print("\n".join(misses))
    print(json.dumps({"steps": arguments["num_inference_steps"], "prompts": len(prompts),
                      **counts, "autoencoder_psnr": round(psnr(pipeline.vae), 2)}))


if __name__ == "__main__":
    main()
