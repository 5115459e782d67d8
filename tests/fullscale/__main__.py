"""Writes a random checkpoint in a published layout, of a published model's size or tiny.

    python -m tests.fullscale LAYOUT VARIANT OUT [--family FAMILY] [--scale tiny]
                              [--text-encoder mlx|bf16|hqq|ternary|binary] [--hollow]

flux2 (the default) is Bonsai Image 4B, sana Clark Air, sana-sprint Sprint 1.6B in its shapes,
flux1-schnell and flux1-dev FLUX.1. With --hollow the files have every tensor's name, type and
shape, and zeros that take no room: enough for a dry run.
"""

import argparse
import time
from pathlib import Path

from tests.fullscale.layouts import ENCODERS, TRANSFORMERS, write
from tests.fullscale.model import FAMILIES, Model

WEIGHTS = (".safetensors", ".pt", ".gguf")


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fullscale", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layout", choices=TRANSFORMERS)
    parser.add_argument("variant", choices=("ternary", "binary"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--family", choices=FAMILIES, default="flux2")
    parser.add_argument("--scale", choices=("full", "tiny"), default="full")
    parser.add_argument("--text-encoder", choices=ENCODERS)
    parser.add_argument("--hollow", action="store_true")
    options = parser.parse_args()
    start = time.monotonic()
    family = FAMILIES[options.family]
    model = Model(options.scale, options.variant, family, options.hollow)
    write(model, options.layout, options.out, options.text_encoder)
    for path in sorted(p for p in options.out.rglob("*") if p.suffix in WEIGHTS):
        place = path.relative_to(options.out).parts[0]
        own = place.startswith("transformer") or path.parent == options.out
        key = (options.layout, options.variant) if own else place
        published = family.published.get(key)
        beside = f"   published {published:>14,}" if published and options.scale == "full" else ""
        print(f"{path.stat().st_size:>14,}  {path.relative_to(options.out)}{beside}")
    print(f"written in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
