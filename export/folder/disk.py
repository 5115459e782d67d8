"""What goes wrong with folders and disks, each as one sentence with its true cause and remedy."""

import contextlib
import errno
import os
import shutil
import tempfile
from pathlib import Path

from export.errors import ExportError

ELSEWHERE = "name another --out"
TEMPORARY = "set TMPDIR to another folder"
# Never said of a file that is read, whatever file the system names.
OF_WRITING = {
    errno.ENOSPC: ("the disk is full", "free some space there, or {elsewhere}"),
    errno.EDQUOT: ("the disk quota is used up", "free some of it, or {elsewhere}"),
    errno.EROFS: ("the file system is read-only", "{elsewhere}"),
    errno.EFBIG: ("the file system takes no file as large", "choose a smaller --shard-mib"),
}
OF_THE_PLACE = {
    errno.EACCES: ("permission denied", "allow writing there, or {elsewhere}"),
    errno.EPERM: ("permission denied", "allow writing there, or {elsewhere}"),
    errno.ENAMETOOLONG: ("the name is too long", "a shorter one is needed: {elsewhere}"),
    errno.ENOTDIR: ("a file is in the way, a folder was expected", "{elsewhere}"),
    errno.EEXIST: ("a file is in the way, a folder was expected", "{elsewhere}"),
    errno.EBUSY: ("another program is using it", "end that program, or {elsewhere}"),
}


@contextlib.contextmanager
def telling(*targets, elsewhere=ELSEWHERE):
    """Makes an ExportError of an OSError in the block, which writes to `targets`, absolute paths,

    and to their parents.
    """
    try:
        yield
    except OSError as error:
        raise ExportError(explain(error, *targets, elsewhere=elsewhere)) from None


def explain(error, *targets, elsewhere=ELSEWHERE):
    """The sentence. A file that lies apart from the targets, and is named alone, was being read."""
    reason = error.strerror or str(error)
    names = [name for name in (error.filename2, error.filename) if isinstance(name, (str, bytes))]
    paths = [Path(os.path.abspath(os.fsdecode(name))) for name in names]
    concerned = [(path, t) for path in paths for t in targets if concerns(path, t)]
    if paths and not concerned and error.errno not in OF_WRITING:
        return (f"{paths[0]}: cannot be read ({reason}), and the site needs it; make it readable, "
                "and run again")
    where, target = concerned[0] if concerned else (targets[0], targets[0])
    if error.errno in OF_WRITING or where not in target.parents:
        where = target
    told, remedy = (OF_WRITING | OF_THE_PLACE).get(error.errno, (reason, "{elsewhere}"))
    remedy = remedy.format(elsewhere=elsewhere)
    return f"{where}: {told}, so nothing was written there; {remedy}"


def concerns(path, target):
    """Whether a path is the target, in it, above it, or in what a build keeps beside it."""
    beside = target.parent / f".{target.name}."
    return (path == target or target in path.parents or path in target.parents
            or str(path).startswith(str(beside)))


@contextlib.contextmanager
def temporary_folder():
    """A folder among the system's temporary files, gone afterwards. Raises ExportError."""
    try:
        where = Path(tempfile.gettempdir())
    except OSError as error:
        raise ExportError(
            f"no folder for temporary files can be written ({error.strerror}); free some space, "
            f"or {TEMPORARY}"
        ) from None
    with telling(where, elsewhere=TEMPORARY), tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def check_room(folder, least):
    """Refuses a disk with less than the `least` bytes that will be needed, before the work."""
    free = shutil.disk_usage(folder).free
    if free < least:
        raise ExportError(
            f"{folder}: the disk has {free:,} bytes free, and the site takes at least {least:,}; "
            f"free some space there, or {ELSEWHERE}"
        )


def check_readable(paths):
    """Finds out now what would stop the work at its end."""
    for path in paths:
        with telling(path.parent / "-"):
            path.open("rb").close()
