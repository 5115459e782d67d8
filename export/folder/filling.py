"""Fills a folder that cannot be renamed with a new site, in an order that keeps one of them whole.

First what is new, then what is other, the model's manifest and the pages last, then what is no
longer listed goes. Killed before the second of these, the old site is whole; after it, the new one;
within, for the milliseconds of a few renames, some files are the old site's and some the new one's,
and the next run writes all of them.
"""

import contextlib
import errno
import secrets
import shutil

from export.folder import keeping


def fill(out, partial, names, ours):
    """Brings the files `names` of a new site into a folder that stays; removes the other `ours`."""
    out.mkdir(exist_ok=True)
    for name in sorted(names, key=lambda name: (rank(out / name), name)):
        if not keeping.is_equal(out / name, partial / name):
            make_way(out, name)
            place(partial / name, out / name)
    for name in ours - set(names):
        (out / name).unlink(missing_ok=True)
        remove_empty(out, name)


def rank(path):
    """In what order files are placed: new ones, changed ones, manifests, pages, worker."""
    if not path.exists():
        return 0
    return 4 if path.name == "sw.js" else {".json": 2, ".html": 3}.get(path.suffix, 1)


def make_way(out, name):
    """Makes a file's folders, and removes what is put aside and of another kind."""
    for parent in keeping.parents(name):
        path = out / parent
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            path.mkdir()
    if (out / name).is_dir() and not (out / name).is_symlink():
        shutil.rmtree(out / name)


def place(source, target):
    """Renames a file to its place; across file systems, a copy of it."""
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = target.with_name(f".trefoil.{secrets.token_hex(4)}")
        shutil.copyfile(source, copy)
        copy.replace(target)


def remove_empty(out, name):
    for parent in reversed(keeping.parents(name)):
        with contextlib.suppress(OSError):
            (out / parent).rmdir()
