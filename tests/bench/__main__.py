"""python -m tests.bench: the site's bench in headless Chromium, beside onnxruntime-web.

    python -m tests.bench                                the headline rows and Garden's pictures
    python -m tests.bench --rows headline bonsai         sections or single rows (bench/shapes.js)
    python -m tests.bench --chromium PATH --lavapipe-env a Chromium whose adapter is Mesa's lavapipe

Prints a table: for every row the engine's kernels and onnxruntime's, milliseconds, and how long the
engine takes for each that onnxruntime takes, by its f32 kernel and by its fastest one (below 1: the
engine is faster). Brings what it needs: the `test` and `bench` extras of pyproject.toml, and with
npm the pinned onnxruntime-web into .npm/, which git ignores.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".bench"
GARDEN = ROOT / "models" / "garden-ternary"
LAVAPIPE = {"LP_NATIVE_VECTOR_WIDTH": "256", "MESA_SHADER_CACHE_DIR": str(CACHE / "mesa-256")}


def parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", metavar="PATH", help="default: the one on the PATH")
    parser.add_argument("--model", type=Path, default=GARDEN, metavar="DIR",
                        help="the checkpoint that the site is built with, default Garden")
    parser.add_argument("--rows", nargs="+", default=["headline", "pipeline"], metavar="NAME",
                        help="headline, pipeline, model, bonsai, sana, or ids of rows")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--precisions", nargs="+", metavar="NAME",
                        help="of the pictures: f32, f16, int8; default: what the device has")
    parser.add_argument("--alone", action="store_true", help="without onnxruntime-web")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="and a picture of the page")
    parser.add_argument("--lavapipe-env", action="store_true",
                        help="lavapipe's vectors of 256 bits, its compiled kernels kept in .bench/")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    from export import environment

    environment.ensure(["-m", "tests.bench", *arguments], extras=("test", "bench"))
    from export.errors import ExportError
    from tests.bench import page, table

    environ = os.environ | (LAVAPIPE if options.lavapipe_env else {})
    with tempfile.TemporaryDirectory() as folder:
        dist = page.build(options.model, Path(folder) / "dist", options.alone)
        try:
            results, complaints = page.run(dist, options, environ)
        except ExportError as error:
            environment.fail(f"{error}; or compare with nothing: python -m tests.bench --alone")
    print(table.format_results(results))
    for complaint in complaints:
        print(f"console: {complaint}", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return int(table.has_failures(results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
