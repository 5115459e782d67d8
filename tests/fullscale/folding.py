"""Compares a site's tables of the folded schedule, of the published size, with torch's modules.

    python -m tests.fullscale.folding CHECKPOINT DIST

CHECKPOINT is an MLX-packed folder, DIST the site that build.py made of it. Prints the worst
relative error of a modulation by size (a row) and number of steps (a column).
"""

import argparse
from pathlib import Path

from tests.browser.test_folding import table_errors
from tests.export.packed import PackedSite
from tests.streamed import stream_transformer


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fullscale.folding", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("dist", type=Path)
    options = parser.parse_args()
    built = PackedSite(options.dist)
    transformer = stream_transformer(options.checkpoint / "transformer-packed-mflux")
    errors = table_errors(built, transformer)
    pipeline, patch = built.manifest["pipeline"], built.manifest["latents"]["pixels"]
    sizes = {}  # image tokens -> the offered sizes that have as many
    for width, height in pipeline["sizes"]:
        sizes.setdefault(width * height // patch**2, []).append(f"{width} x {height}")
    most = max(steps for _, steps in errors)
    print("| size |", " | ".join(str(steps) for steps in range(1, most + 1)), "|")
    print("| --- |", " | ".join("---" for _ in range(most)), "|")
    for tokens, names in sizes.items():
        row = (f"{errors[tokens, steps]:.1e}" for steps in range(1, most + 1))
        print(f"| {', '.join(names)} |", " | ".join(row), "|")


if __name__ == "__main__":
    main()
