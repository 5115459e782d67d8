"""Turns a ternary or binary text-to-image checkpoint into a static site: python build.py."""

import os
import signal
import sys


def leave_at_once(number, frame):
    """Until all is imported nothing is written, and an exception could be lost in foreign code."""
    os.write(2, b"build.py: interrupted; nothing was written\n")
    os._exit(1)


if __name__ == "__main__":
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave_at_once)

import argparse  # noqa: E402
import re  # noqa: E402
from pathlib import Path  # noqa: E402

from export import console, environment  # noqa: E402
from export.errors import ExportError  # noqa: E402

ROOT = Path(__file__).resolve().parent
EMBEDDED = ROOT / "models" / "garden-ternary"
WEB_ADDRESS = re.compile(r"https?://[\w.:\[\]-]+(/[^\s\"'<>?#]*)?")
HUB_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="build.py", description=__doc__)
    add = parser.add_argument
    add("--model", default=str(EMBEDDED), metavar="DIR|FILE|ORG/NAME[@REV]",
        help="a checkpoint's folder, its one file, or a Hugging Face repository (default: the "
             "embedded model)")
    add("--base", metavar="DIR|ORG/NAME[@REV]",
        help="where parts come from that the model lacks: text encoder, autoencoder, tokenizer, "
             "configurations (default: the base that the model's family is known to have)")
    add("--out", default="dist", metavar="DIR", help="where the site goes (default: dist/)")
    add("--dry-run", action="store_true",
        help="print components, bits, bytes and GPU memory per size; write nothing")
    add("--text-encoder-bits", type=int, choices=(4, 8, 16), metavar="N",
        help="4, 8 or 16 (exact); default: 4, and a quantised text encoder as it is")
    add("--with-image-input", action="store_true",
        help="also pack what encodes reference images; fetched only when a request has some")
    add("--shard-mib", type=float, metavar="N", help="largest shard (default: the host's)")
    add("--host", default="generic",
        choices=("generic", "hf", "cloudflare-pages", "github-pages"),
        help="keep to the limits of a host (default: generic)")
    add("--weights-url", metavar="URL",
        help="the site fetches weights from here; they are written to a folder beside it")
    add("--publish", metavar="USER/SPACE",
        help="then create this Hugging Face Space and upload the site (token: HF_TOKEN)")
    add("--weights-repo", metavar="USER/MODEL",
        help="with --publish: keep the weights in this model repository")
    add("--private", action="store_true", help="with --publish: create private repositories")
    add("--serve", nargs="?", type=int, const=8000, metavar="PORT",
        help="then serve the site on this machine (default port: 8000)")
    add("--onnx", action="store_true",
        help="also write the model as ONNX graphs for onnxruntime, into onnx/")
    add("--onnx-only", action="store_true", help="write onnx/ alone, without a site")
    options = parser.parse_args(arguments)
    for flag in ("model", "out", "base"):
        if getattr(options, flag) == "":
            parser.error(f"--{flag}: got no name at all, expected a folder")
    if options.weights_url and not WEB_ADDRESS.fullmatch(options.weights_url):
        parser.error(f"--weights-url {options.weights_url}: expected an http(s) address")
    check_publishing(parser, options)
    if options.serve is not None and not 0 <= options.serve < 1 << 16:
        parser.error(f"--serve {options.serve}: expected a port from 0 to 65535")
    if options.dry_run and options.serve is not None:
        parser.error("--serve: there is nothing to serve after --dry-run")
    if options.onnx_only and options.serve is not None:
        parser.error("--serve: there is nothing to serve after --onnx-only")
    return parser, options


def check_publishing(parser, options):
    for option in ("publish", "weights_repo"):
        name = getattr(options, option)
        if name and not HUB_REPOSITORY.fullmatch(name):
            flag = "--" + option.replace("_", "-")
            parser.error(f"{flag} {name}: expected USER/NAME, as the hub writes repositories")
    if not options.publish and (options.weights_repo or options.private):
        parser.error("--weights-repo and --private go with --publish")
    if options.weights_repo and options.weights_url:
        parser.error("--weights-repo and --weights-url: the weights can lie in one place only")
    if options.publish and options.onnx_only:
        parser.error("--onnx-only: there is no site to --publish")
    if options.publish and options.host not in ("generic", "hf"):
        parser.error(f"--publish goes to a Space, so --host {options.host} has no use")
    if options.publish:
        options.host = "hf"


def main(arguments=None):
    """Exit status 0, or 1 with one line on stderr. Usage errors leave with 2."""
    with console.steady_streams() as stdout:
        parser, options = parse(arguments)
        what = "nothing was written" if options.dry_run else f"{options.out} is as it was"
        with console.Interrupts(what) as interrupts:
            status = guarded(parser, options, arguments, interrupts)
        stdout.flush()
        if stdout.error and not isinstance(stdout.error, BrokenPipeError):
            say(f"the standard output took no more ({stdout.error.strerror})")
            status = status or int(options.dry_run)  # which writes nothing else
    return status


def guarded(parser, options, arguments, interrupts):
    """The exit status of a run, whatever ends it."""
    try:
        return run(parser, options, arguments, interrupts)
    except ExportError as error:
        say(error)
    except OSError as error:
        say(f"{error.filename or options.out}: {error.strerror or error}")
    except MemoryError:
        say(f"the memory does not suffice; {interrupts.outcome}")
    except BaseException:
        if not interrupts.came:  # foreign code may make something else of an interrupt
            raise
        say(f"interrupted; {interrupts.outcome}")
    return 1


def run(parser, options, arguments, interrupts):
    extras = ("onnx",) if options.onnx or options.onnx_only else ()
    environment.ensure(sys.argv if arguments is None else [sys.argv[0], *arguments], extras)
    with interrupts.importing():
        from export import build
        from export.site import hosts

    try:
        shard_bytes = hosts.shard_bytes(options.host, options.shard_mib)
    except ExportError as error:
        parser.error(str(error))
    build.run(options, shard_bytes, interrupts)
    return 0


def say(message):
    line = "".join(c if c.isprintable() else " " for c in str(message))
    print(f"build.py: {line}", file=sys.stderr)


if __name__ == "__main__":
    status = main()
    for number in console.SIGNALS:  # what there is to say is said
        signal.signal(number, signal.SIG_IGN)
    sys.exit(status)
