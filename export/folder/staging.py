"""Writes a site beside its place and lets it take that place when it is whole.

Where the folder can be renamed, the new one takes its place in two renames: a run that is killed
leaves the old site or the new one, or, between the two, none, and then the next run puts the old
one back. Where it cannot be (a mount point, the folder that a shell stands in), it is filled in
place: export/folder/filling.py.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
from pathlib import Path

from export import lock
from export.environment import tell
from export.errors import ExportError
from export.folder import keeping, record
from export.folder.disk import check_room, explain, telling
from export.folder.filling import fill
from export.folder.places import Workshop
from export.packing.manifest import is_ours

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("export", "web", "wgsl")
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
LEFT = re.compile(r"(partial|previous)(-[0-9a-f]{8})?")
UNMOVABLE = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EINVAL)
# What may lie in a folder that is still as good as empty: what file systems and hosts put there.
FURNITURE = {".git", ".gitattributes", ".gitignore", "CNAME", ".nojekyll", ".well-known",
             "lost+found", ".DS_Store", "Thumbs.db"}


class Unwritable(ExportError):
    """A folder cannot be written at all; it may hold the right site already."""


@contextlib.contextmanager
def locked(workshops):
    """Holds the folders against other builds, and waits for those. Yields whether builds on other

    machines see that, too. Raises ExportError.
    """
    out, made = workshops[0].out, []

    def wait(holder):
        tell(f"{out}: another build ({holder}) is writing there; waiting for it to end")

    with contextlib.ExitStack() as stack:
        try:
            for workshop in workshops:
                made += make_folders(workshop.folder)
            stack.callback(remove_empty_folders, made)
            paths = [workshop.path("lock") for workshop in workshops]
            everywhere = stack.enter_context(lock.hold(paths, wait))
        except OSError as error:
            kind = Unwritable if error.errno in READ_ONLY else ExportError
            raise kind(explain(error, *(workshop.out for workshop in workshops))) from None
        yield everywhere


def make_folders(folder):
    """Makes a folder and its parents; those that were not there, innermost first."""
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def remove_empty_folders(folders):
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def refuse_sources(out):
    """A site within what sites are made of would be copied into the next."""
    for name in SOURCES:
        if out == ROOT / name or ROOT / name in out.parents:
            raise ExportError(
                f"{out}: lies within Trefoil's own {ROOT / name}, which sites are made of; name "
                "another --out"
            )


@contextlib.contextmanager
def staging(workshops, least=0):
    """A Stage for each folder; what the block leaves unfinished vanishes.

    least: bytes that the last, where the weights go, will take at least. Raises ExportError.
    """
    with contextlib.ExitStack() as stack:
        stages = [stack.enter_context(Stage(workshop)) for workshop in workshops]
        with telling(stages[-1].workshop.out):
            check_room(stages[-1].partial, least)
        yield stages


def prepare(workshop, clean=True):
    """Puts back what a killed run left between two renames, refuses a folder that is not ours, and

    removes what killed runs left, if `clean`. Only under the folder's lock. Raises ExportError.
    """
    with telling(workshop.out):
        left = leftovers(workshop)
        previous = [path for path in left if "previous" in path.name]
        if previous and not os.path.lexists(workshop.out):
            previous[0].rename(workshop.out)
            left.remove(previous[0])
        refuse_foreign(workshop.out)
        for path in left if clean else ():
            shutil.rmtree(path)
        workshop.path("built.partial").unlink(missing_ok=True)


def leftovers(workshop):
    """The folders that a killed run may leave: unfinished sites and earlier ones."""
    if not workshop.folder.is_dir():
        return []
    named = ((path, path.name.removeprefix(workshop.prefix)) for path in workshop.folder.iterdir()
             if path.name.startswith(workshop.prefix))
    return [path for path, what in named if LEFT.fullmatch(what) and path.is_dir()]


def refuse_foreign(out):
    if os.path.lexists(out) and not out.is_dir():
        raise ExportError(f"{out}: is a file, expected a folder for the site; name another --out")
    if not out.is_dir() or is_ours(out):
        return
    others = set(os.listdir(out)) - FURNITURE
    if any(not name.startswith(Workshop.INSIDE) for name in others):
        raise ExportError(
            f"{out}: is not empty and was not written by build.py, so it is left alone; "
            "name another --out, or empty the folder"
        )


class Stage:
    """A folder that is being written, `partial`, and the place that it will take."""

    def __init__(self, workshop):
        self.workshop = workshop
        self.partial = self.make("partial")
        with telling(workshop.out):
            self.partial.mkdir()
        self.previous = None

    def make(self, what):
        return self.workshop.path(f"{what}-{secrets.token_hex(4)}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.partial, ignore_errors=True)

    def sort_out(self):
        """Before the folder is taken: what of it stays. The kept files are in the new one, too."""
        out = self.workshop.out
        self.sizes = record.files(self.partial)
        self.sorted = keeping.sort_out(self.workshop, self.partial)
        if not self.workshop.in_place:
            keeping.carry(self.sorted.kept, out, self.partial)
        self.aside = list(keeping.put_aside(self.sorted.edited, self.workshop))

    def kept_sizes(self):
        """{path: bytes} of the owner's files that a host would be given."""
        paths = {name: self.workshop.out / name for name in self.sorted.kept
                 if not name.startswith(".git/")}
        return {name: path.stat().st_size for name, path in paths.items() if path.is_file()}

    def take(self):
        """The new folder takes the old one's place."""
        record.announce(self.workshop, self.sizes)
        if self.workshop.in_place or not self.move():
            fill(self.workshop.out, self.partial, self.sizes, self.sorted.ours)

    def move(self):
        """By renames; False where the old folder cannot be renamed."""
        out = self.workshop.out
        if out.exists():
            shutil.copymode(out, self.partial)
            previous = self.make("previous")
            try:
                out.rename(previous)
            except OSError as error:
                if error.errno in UNMOVABLE:
                    return False
                raise
            self.previous = previous
        try:
            self.partial.rename(out)
        except BaseException:
            self.give_back()
            raise
        return True

    def give_back(self):
        """Undoes a move."""
        if self.previous:
            if self.workshop.out.exists():
                self.workshop.out.rename(self.partial)
            self.previous.rename(self.workshop.out)
            self.previous = None

    def finish(self):
        """Removes the old folder, and brings along what came into it until a moment ago."""
        if self.previous:
            told = {*self.sorted.ours, *self.sorted.kept, *self.sorted.edited}
            new = [name for name in keeping.entries(self.previous) if name not in told]
            keeping.carry(new, self.previous, self.workshop.out)
            shutil.rmtree(self.previous, ignore_errors=True)


def take(stages):
    """The new folders take the old ones' places, all of them or none."""
    done = []
    try:
        for stage in stages:
            stage.take()
            done.append(stage)
    except BaseException:
        for stage in done:
            stage.give_back()
        raise
    for stage in stages:
        stage.finish()
