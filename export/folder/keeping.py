"""What a site's owner put into its folder: it stays there when the site is built again.

Our files are those that an earlier build recorded. Everything else is the owner's: a CNAME, .git,
pages of their own. A file of ours that was edited, and a file of theirs in whose place the new site
has one, is put aside into a folder of its own, and told.
"""

import contextlib
import filecmp
import os
import shutil
from dataclasses import dataclass, field

from export.folder import record
from export.folder.places import Workshop


@dataclass
class Sorted:
    """Paths in a site's folder, by what becomes of them when the new site takes it over."""

    ours: set[str] = field(default_factory=set)  # go, or are replaced
    kept: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)  # put aside


def sort_out(workshop, new):
    """The Sorted entries of the folder. new: the folder of the site that will take its place."""
    known = record.written(workshop)
    names = record.files(new).keys()
    folders = {parent for name in names for parent in parents(name)}
    result = Sorted()
    for name in entries(workshop.out):
        path = workshop.out / name
        taken = name in names or name in folders or any(p in names for p in parents(name))
        if name in known and not is_edited(path, known[name], new / name):
            result.ours.add(name)
        elif path.is_dir() and not path.is_symlink():  # an empty one
            result.kept += [name] if name not in names | folders else []
        elif name in names and is_equal(path, new / name):
            result.ours.add(name)
        elif taken or name in known:
            result.edited.append(name)
        else:
            result.kept.append(name)
    return result


def entries(folder):
    """Paths of all that is in a folder: files, links (not gone into) and empty folders."""
    found = []
    for at, folders, names in os.walk(folder):
        at = os.path.relpath(at, folder)
        links = [name for name in folders if os.path.islink(os.path.join(folder, at, name))]
        if not folders and not names and at != ".":
            found.append(at)
        found += [os.path.normpath(os.path.join(at, name)) for name in [*names, *links]]
        folders[:] = [name for name in folders
                      if not (at == "." and name.startswith(Workshop.INSIDE))]
    found = (name.replace(os.sep, "/") for name in found)
    return sorted(name for name in found if not name.startswith(Workshop.INSIDE))


def parents(name):
    """Of 'a/b/c': 'a' and 'a/b'."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def is_edited(path, told, new):
    """Whether a file of ours is no longer as it was written.

    A shard cannot be edited, only damaged. Where it is not known what was written, a file that is
    not the new one's equal may have been.
    """
    if path.is_symlink() or not path.is_file():
        return True
    if record.SHARD.fullmatch(path.name):
        return False
    if told[3] is None:
        return new.is_file() and not is_equal(path, new)
    return not record.is_same(path, told)


def is_equal(one, other):
    regular = one.is_file() and not one.is_symlink() and other.is_file()
    return regular and filecmp.cmp(one, other, shallow=False)


def carry(names, source, target):
    """Brings entries from one folder into another, where they are not there yet."""
    for name in names:
        if not os.path.lexists(target / name):
            make_parents(name, source, target)
            link(source / name, target / name)


def make_parents(name, source, target):
    """Their modes are the source's."""
    for parent in parents(name):
        if not (target / parent).exists():
            (target / parent).mkdir()
            shutil.copystat(source / parent, target / parent)


def link(source, target):
    """A second name for the same file; a copy where the file system has no such thing."""
    if source.is_dir() and not source.is_symlink():
        target.mkdir()
        return shutil.copystat(source, target)
    with contextlib.suppress(OSError, NotImplementedError):
        return os.link(source, target, follow_symlinks=False)
    return shutil.copy2(source, target, follow_symlinks=False)


def put_aside(names, workshop):
    """Brings entries into the folder for edited files, under names that are free there.

    Yields (path in the site, its new place).
    """
    for name in names:
        place, number = workshop.edited / name, 1
        while os.path.lexists(place) and not is_equal(workshop.out / name, place):
            place, number = workshop.edited / f"{name}.{number}", number + 1
        if not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            link(workshop.out / name, place)
        yield name, place
