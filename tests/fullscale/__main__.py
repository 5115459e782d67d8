"""Writes a random checkpoint in a published layout, of Bonsai Image 4B's size or tiny.

    python -m tests.fullscale LAYOUT VARIANT OUT [--scale tiny] [--text-encoder mlx|bf16|hqq]
"""

import argparse
import time
from pathlib import Path

from tests.fullscale.layouts import ENCODERS, TRANSFORMERS, write
from tests.fullscale.model import Model

PUBLISHED = {  # bytes of files, or of their tensors where only those are known
    ("mlx", "ternary"): 1_425_226_752, ("mlx", "binary"): 965_164_032,
    ("gemlite", "ternary"): 1_540_457_482, ("gemlite", "binary"): 1_080_179_712,
    ("unpacked", "ternary"): 7_751_109_712, ("unpacked", "binary"): 7_751_109_712,
    ("native", "ternary"): 7_751_105_712, ("native", "binary"): 7_751_105_712,
    ("gguf", "binary"): 865_000_000,
    "text_encoder-mlx-4bit": 2_262_915_072, "text_encoder-hqq-4bit": 2_822_336_676,
    "vae": 168_122_000,
}
WEIGHTS = (".safetensors", ".pt", ".gguf")


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fullscale", description=__doc__)
    parser.add_argument("layout", choices=TRANSFORMERS)
    parser.add_argument("variant", choices=("ternary", "binary"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", choices=("full", "tiny"), default="full")
    parser.add_argument("--text-encoder", choices=ENCODERS)
    options = parser.parse_args()
    start = time.monotonic()
    write(Model(options.scale, options.variant), options.layout, options.out, options.text_encoder)
    for path in sorted(p for p in options.out.rglob("*") if p.suffix in WEIGHTS):
        place = path.relative_to(options.out).parts[0]
        own = place.startswith("transformer") or path.parent == options.out
        published = PUBLISHED.get((options.layout, options.variant) if own else place)
        beside = f"   published {published:>14,}" if published and options.scale == "full" else ""
        print(f"{path.stat().st_size:>14,}  {path.relative_to(options.out)}{beside}")
    print(f"written in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
