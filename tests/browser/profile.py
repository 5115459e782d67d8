"""A browser's profile on disk, between two runs of it: the model's files as the disk has them."""

import os
from pathlib import Path

# Where Chromium keeps the private file system, and the Cache API.
PLACES = {"opfs": Path("Default/File System"), "cache": Path("Default/Service Worker/CacheStorage")}


def find(profile, storage, content):
    """(the one file that has these bytes, where in it they begin)"""
    found = [(path, at) for path in (profile / PLACES[storage]).rglob("*") if path.is_file()
             and (at := path.read_bytes().find(content)) >= 0]
    assert len(found) == 1, f"{len(found)} files have these {len(content)} bytes"
    return found[0]


def flip(path, at, content):
    _write(path, at + len(content) // 2, bytes([content[len(content) // 2] ^ 1]))


def zero(path, at, content):
    """What a power cut leaves: the length, and no bytes."""
    _write(path, at, bytes(len(content)))


def shorten(path, at, content):
    os.truncate(path, at + len(content) - 1)


def lengthen(path, at, content):
    _write(path, at + len(content), b"\0")


def empty(path, at, content):
    os.truncate(path, 0)


def mix(path, at, content):
    """Bytes in another order, of the same length."""
    _write(path, at, content[::-1])


def _write(path, at, content):
    """With the time of its last change as before."""
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
