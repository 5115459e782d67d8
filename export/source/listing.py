"""The names of a checkpoint's files, of a folder here or of a repository not yet downloaded.

What is decided by names alone is decided over a Listing, so that a folder and a repository are
read alike.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from export.errors import ExportError, shorten

DEPTH = 3  # text_encoder/tokenizer/tokenizer.json


@dataclass(frozen=True)
class Listing:
    """`names` are relative paths with slashes; hidden ones are none of the model's.

    where: the folder, or what names the repository, for messages; root: the folder, Path() of a
    repository; open(name): the path of one file here, which downloads it first where need be;
    is_whole(name): whether a safetensors file can be read, as far as is known.
    """

    where: str
    names: tuple[str, ...]
    root: Path
    open: Callable[[str], Path]
    is_whole: Callable[[str], bool] = field(default=lambda name: True)

    def at(self, name: str) -> str:
        """A file or folder, for messages."""
        if not name:
            return self.where
        return f"{self.where}: {name}" if self.where.startswith("--") else f"{self.where}/{name}"

    def inside(self, folder: str) -> list[str]:
        """File names in one folder ("" is the top)."""
        start = f"{folder}/" if folder else ""
        rest = (name[len(start) :] for name in self.names if name.startswith(start))
        return [name for name in rest if "/" not in name]

    def without(self, names: Collection[str]) -> "Listing":
        return replace(self, names=tuple(name for name in self.names if name not in names))

    def folders(self) -> list[str]:
        """The folders at the top, each with its slash."""
        return sorted({name.split("/")[0] + "/" for name in self.names if "/" in name})

    def tell(self, folder: str) -> str:
        """What a folder holds, in words: "holds a, b", "holds no files" or "is not there"."""
        files = self.inside(folder)
        if not folder:
            files = self.folders() + files
        if not files:
            known = not folder or any(name.startswith(f"{folder}/") for name in self.names)
            return "holds no files" if known else "is not there"
        return f"holds {shorten(files, 6)}"


def hidden(name: str) -> bool:
    """Whether a path is the system's or a tool's own: ._model.safetensors, .cache/x, __MACOSX/x"""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def list_folder(folder: str | Path, is_whole: Callable[[Path], bool] = lambda path: True,
                depth: int = DEPTH) -> Listing:
    """The Listing of a folder, down to `depth` names in a path. Raises ExportError."""
    folder = Path(folder)
    return Listing(str(folder), tuple(sorted(walk(folder, "", depth))), folder, folder.joinpath,
                   lambda name: is_whole(folder / name))


def list_repository(where: str, names: Iterable[str],
                    fetch: Callable[[list[str]], Path]) -> Listing:
    """The Listing of a repository; fetch(names) downloads them and gives their folder."""
    shown = tuple(sorted(name for name in names if not hidden(name)))
    return Listing(where, shown, Path(), lambda name: fetch([name]) / name)


def walk(folder, start, depth):
    """Names of files; links that lead nowhere are files too, and are told when they are read."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise ExportError(f"{folder}: cannot be read ({error.strerror})") from None
    for entry in entries:
        name = start + entry.name
        if hidden(entry.name):
            continue
        if not entry.is_dir():
            yield name
        elif depth > 1:
            yield from walk(entry, name + "/", depth - 1)
