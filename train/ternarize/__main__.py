"""Makes a full-precision text-to-image model ternary or binary, from prompts alone: no image is
read. A folder with a checkpoint is gone on with; several GPUs or machines run it under torchrun:

    python -m train.ternarize --model TEACHER --out STUDENT --bits ternary --prompts FILE
    torchrun --nproc-per-node 8 -m train.ternarize --model TEACHER ...
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from export import environment


def parse(arguments=None):
    from train.ternarize import settings

    parser = argparse.ArgumentParser(
        prog="python -m train.ternarize", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", required=True, metavar="DIR|ORG/NAME[@REV]",
        help="the teacher: a full-precision diffusers folder or repository")
    add("--out", required=True, type=Path, metavar="DIR", help="where the student goes")
    add("--component", choices=settings.COMPONENTS, default=settings.TRANSFORMER,
        help="what of the model becomes low-bit (transformer)")
    add("--bits", required=True, choices=("ternary", "binary"))
    add("--prompts", required=True, type=Path, metavar="FILE", help="one prompt a line")
    add("--work", type=Path, metavar="DIR", help="checkpoints (default: OUT.work)")
    add("--trajectories", type=Path, metavar="DIR",
        help="the teacher's drawings, which several runs can share (default: in --work)")
    add("--restart", action="store_true", help="forget the checkpoint in --work")
    add("--save-minutes", type=float, default=10, metavar="N", help="between checkpoints (10)")
    add("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    for name in ("steps", "width", "height"):
        add(f"--{name}", type=int, metavar="N", help="of the teacher's drawings (the model's own)")
    dry = parser.add_argument_group("a plan of the run, before it")
    dry.add_argument("--dry-run", action="store_true",
                     help="print steps, FLOP, hours, memory and disk; no weight is loaded")
    dry.add_argument("--gpus", type=int, default=1, metavar="N", help="that it is for (1)")
    dry.add_argument("--teraflops", type=float, default=989, metavar="N",
                     help="of a GPU at --compute (989, an H100's in bf16)")
    dry.add_argument("--share", type=float, default=0.4, metavar="N",
                     help="of them that a run reaches (0.4)")
    dry.add_argument("--gigabytes", type=float, default=80, metavar="N",
                     help="of a GPU's memory (80)")
    run = parser.add_argument_group("what the result depends on")
    run.add_argument("--skip", nargs="+", choices=settings.SKIPPABLE, default=[], metavar="STAGE",
                     help=f"stages to leave out: {', '.join(settings.SKIPPABLE)}")
    run.add_argument("--scales", choices=("least-squares", "absmean"), default="least-squares",
                     help="of the first stage; absmean is for comparison")
    run.add_argument("--text-encoder-bits", type=int, choices=(4, 8, 16), default=4,
                     help="of the student's text encoder, of its table of embeddings where the "
                     "rest of it is low-bit; 16: as it is (default: 4)")
    run.add_argument("--compute", choices=("bf16", "f32"), default="bf16")
    run.add_argument("--no-checkpointing", action="store_false", dest="checkpointing",
                     help="keep all activations: faster, and takes more memory")
    encoder = parser.add_argument_group("with --component text_encoder")
    encoder.add_argument("--student-encoder", type=Path, metavar="DIR",
                         help="a smaller encoder of the same kind that becomes the student")
    encoder.add_argument("--denoiser", metavar="DIR",
                         help="a model whose other parts the student's folder has (the teacher)")
    encoder.add_argument("--prune", action="store_true",
                         help="leave out the layers above the last one that is read")
    encoder.add_argument("--row-weights", choices=settings.ROW_WEIGHTS, default=settings.EVEN,
                         help="what errors in the rows' channels count: all the same, or as the "
                         "teacher's denoiser minds them (even)")
    for name, kind, default, text in settings.numeric_fields():
        note = "" if default is None else f" ({default})"
        run.add_argument(settings.flag(name), type=kind, metavar="N", help=text + note)
    return parser, parser.parse_args(arguments)


def main(arguments=None):
    """Exit status 0, or 1 with one line on stderr. Usage errors leave with 2."""
    _, options = parse(arguments)
    if "RANK" not in os.environ:
        again = sys.argv[1:] if arguments is None else arguments
        environment.ensure(["-m", "train.ternarize", *again], extras=("test", "fast"))
    from export.errors import ExportError
    from train.ternarize import command

    try:
        command.run(options)
    except ExportError as error:
        line = "".join(c if c.isprintable() else " " for c in str(error))
        print(f"train.ternarize: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train.ternarize: interrupted; the same command goes on from the last checkpoint",
              file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
