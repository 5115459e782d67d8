"""Writes a site beside its place and renames it there when it is whole."""

import contextlib
import shutil
from pathlib import Path

from export.errors import ExportError
from export.manifest import is_ours


@contextlib.contextmanager
def staging(out):
    """A new folder that becomes `out` if the block succeeds, and vanishes if it fails.

    An earlier site of ours at `out` is replaced; any other non-empty folder is refused.
    Raises ExportError.
    """
    out = Path(out).resolve()
    partial, previous = leftovers(out)
    try:
        if previous.exists() and not out.exists():
            previous.rename(out)  # a run was killed between the two renames below
        refuse_foreign(out)
        remove_leftovers(out)
        partial.mkdir(parents=True)
    except OSError as error:
        raise unwritable(out, error) from None
    try:
        yield partial
        replace(out, partial, previous)
    except OSError as error:
        raise unwritable(out, error) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def leftovers(out):
    """The folders beside `out` that a killed run may leave: an unfinished site and an older one."""
    out = Path(out).resolve()
    return [out.with_name(f".{out.name}.{what}") for what in ("partial", "previous")]


def remove_leftovers(out):
    for stale in leftovers(out):
        if stale.exists():
            shutil.rmtree(stale)


def refuse_foreign(out):
    if out.exists() and not out.is_dir():
        raise ExportError(f"{out}: is a file, expected a folder for the site; name another --out")
    if out.exists() and any(out.iterdir()) and not is_ours(out):
        raise ExportError(
            f"{out}: is not empty and was not written by build.py, so it is left alone; "
            "name another --out, or empty the folder"
        )


def replace(out, partial, previous):
    if out.exists():
        out.rename(previous)
    try:
        partial.rename(out)
    except BaseException:
        if previous.exists():
            previous.rename(out)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def unwritable(out, error):
    what = error.filename or out
    return ExportError(
        f"{what}: {error.strerror or error}; the site was not written to {out}, "
        "free the space or name another --out"
    )
