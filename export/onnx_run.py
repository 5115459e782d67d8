"""Draws a picture with onnxruntime on the CPU, from what build.py --onnx wrote:

    python -m export.onnx_run dist --prompt "a red maple in a blue pot" --seed 7 --out picture.png

The seed's picture is diffusers' own. One stage is in memory at a time. It needs no torch.
"""

import argparse
import sys
import time
from pathlib import Path

from export import environment

PRECISIONS = ("fp32", "fp16")


def parse(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m export.onnx_run", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, help="a site with onnx/ in it, or onnx/ itself")
    add("--prompt", required=True, metavar="TEXT")
    add("--seed", type=int, default=0, metavar="N", help="as torch's CPU generator takes it (0)")
    for name in ("width", "height", "steps"):
        add(f"--{name}", type=int, metavar="N", help="default: the model's own")
    add("--out", type=Path, default=Path("picture.png"), metavar="FILE", help="picture.png")
    add("--precision", choices=PRECISIONS, default="fp32", help="of the graphs (fp32)")
    add("--threads", type=int, default=0, metavar="N", help="of onnxruntime (one a core)")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Exit status 0, or 1 with one line on stderr. Usage errors leave with 2."""
    options = parse(arguments)
    again = sys.argv[1:] if arguments is None else arguments
    environment.ensure(["-m", "export.onnx_run", *again], extras=("onnx",))
    from PIL import Image

    from export.errors import ExportError
    from export.onnx.drawing import Bundle

    try:
        bundle = Bundle(options.folder, options.precision, options.threads)
        start = time.monotonic()
        picture = bundle.draw(options.prompt, options.seed, options.width, options.height,
                              options.steps, tell)
        Image.fromarray(picture).save(options.out)
    except (ExportError, OSError) as error:
        print(f"onnx_run: {error}", file=sys.stderr)
        return 1
    height, width, _ = picture.shape
    print(f"{options.out}: {width} x {height}, {time.monotonic() - start:.1f} s")
    return 0


def tell(line):
    print(line, file=sys.stderr, flush=True)



if __name__ == "__main__":
    sys.exit(main())
