"""Locks that keep two builds out of one folder; standard library only.

A lock is held by an open file, so the system releases it when its process ends, however that ends:
no lock is ever stale. The file names its holder, for whoever waits, and goes when the lock does.
"""

import contextlib
import errno
import hashlib
import os
import socket
import tempfile
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # asked for before each use
    import msvcrt

BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # some network drives
AT = 1 << 30  # the byte that Windows locks; it may lie behind the end, and the rest can be read
WAIT_SECONDS = 0.1


@contextlib.contextmanager
def hold(paths, tell):
    """Holds the locks of all these files; in one order everywhere, so that no two runs wait for

    each other. tell(holder): called once for each lock that has to be waited for. Yields whether
    the locks are seen by every machine: where a file system has none, they are this machine's.
    Raises OSError where a file cannot be made.
    """
    with contextlib.ExitStack() as stack:
        yield all([stack.enter_context(hold_one(path, tell)) for path in sorted(set(paths))])


@contextlib.contextmanager
def hold_one(path, tell):
    try:
        file, everywhere = wait_for(path, tell), True
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        path.unlink(missing_ok=True)
        path, everywhere = local_place(path), False
        file = wait_for(path, tell)
    try:
        yield everywhere
    finally:
        release(file, path)


def local_place(path):
    """The lock's place among this machine's temporary files."""
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()
    return Path(tempfile.gettempdir()) / f"trefoil-{digest[:32]}.lock"


def wait_for(path, tell):
    """The open file of the lock at `path`, held."""
    told = False
    while True:
        file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        try:
            if try_lock(file) and is_still_at(file, path):
                name_holder(file)
                return file
            holder = file.read().decode(errors="replace")
        except BaseException:
            file.close()
            raise
        file.close()
        if not told and holder:
            tell(holder)
            told = True
        time.sleep(WAIT_SECONDS)


def try_lock(file):
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(file.fileno(), AT, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in BUSY:
            return False
        raise
    finally:
        os.lseek(file.fileno(), 0, os.SEEK_SET)
    return True


def is_still_at(file, path):
    """Whether the locked file is the one at `path`: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def name_holder(file):
    name = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%H:%M:%S')}"
    with contextlib.suppress(OSError):  # a full disk: it is held without a name
        file.truncate(0)
        file.write(name.encode())


def release(file, path):
    """Removes the file while it is locked, or, on Windows, once it is closed and nobody's."""
    if fcntl:
        path.unlink(missing_ok=True)
    file.close()
    if not fcntl:
        with contextlib.suppress(OSError):
            path.unlink()
