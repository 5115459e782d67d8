"""Where the site and its weights will lie, and what is needed to write them."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from export.site.headers import HUB

HUB_REPOSITORY = re.compile(rf"https://{re.escape(HUB)}/([\w.-]+/[\w.-]+)/resolve/")


@dataclass(frozen=True)
class Places:
    """`weights_url` ends with a slash; None: the site carries its weights.

    A weights repository has a `weights_url` of its branch until the commit is known.
    """

    weights_url: str | None = None
    weights_repo: str | None = None  # USER/MODEL
    space: str | None = None  # USER/SPACE
    endpoint: str | None = None  # the hub's, where one of the two repositories is given

    @classmethod
    def of(cls, options):
        """The places that the command line names."""
        url = options.weights_url and options.weights_url.rstrip("/") + "/"
        if not options.publish:
            match = HUB_REPOSITORY.match(url or "")
            return cls(url, match[1] if match else None)
        from huggingface_hub import HfApi  # an import that most runs need not wait for

        places = cls(url, options.weights_repo, options.publish, HfApi().endpoint)
        return places if not options.weights_repo else places.pinned("main")

    def pinned(self, revision: str) -> "Places":
        """The same with the weights at a revision of their repository."""
        url = f"{self.endpoint}/{self.weights_repo}/resolve/{revision}/"
        return Places(url, self.weights_repo, self.space, self.endpoint)

    @property
    def thumbnail(self) -> str:
        """The address of a picture for the Space's card; relative while the Space is unknown."""
        path = "thumbnail.jpg"
        return f"{self.endpoint}/spaces/{self.space}/resolve/main/{path}" if self.space else path


def weights_folder(out: Path) -> Path:
    """The folder beside the site that takes the weights of a site that does not carry them."""
    out = out if out.name not in ("", "..") else out.resolve()
    return out.with_name(f"{out.name}-weights")


class Workshop:
    """Where a build keeps what it needs to write a folder: lock, unfinished files, record.

    That is beside the folder, `.NAME.*`; or, where the folder cannot be renamed or nothing can be
    written beside it, in the folder itself, `.trefoil.*`, which is no part of the site.
    """

    INSIDE = ".trefoil."

    def __init__(self, out: Path) -> None:
        self.out = Path(os.path.realpath(out))
        self.inside = os.path.isdir(self.out) and (
            is_mounted(self.out) or not os.access(self.out.parent, os.W_OK)
        )
        self.folder = self.out if self.inside else self.out.parent
        self.prefix = self.INSIDE if self.inside else f".{self.out.name}."

    def path(self, what: str) -> Path:
        return self.folder / f"{self.prefix}{what}"

    def elsewhere(self, what: str) -> Path:
        """Where it lies for whoever sees the folder under other conditions."""
        return self.out.parent / f".{self.out.name}.{what}" if self.inside else (
            self.out / f"{self.INSIDE}{what}")

    @property
    def in_place(self):
        """Whether the folder has to stay and be filled: a mount point, or somebody's place."""
        here = Path.cwd()
        return self.inside or here == self.out or self.out in here.parents

    @property
    def edited(self):
        """The folder for files of the owner in whose places the site has its own."""
        if self.inside:
            return self.path("edited")
        return self.out.with_name(f"{self.out.name}-edited")

    def owns(self, path: Path) -> bool:
        """Whether a path, absolute, belongs to the folder or to what is needed to write it."""
        return path == self.out or self.out in path.parents or (
            path.parent == self.folder and path.name.startswith(self.prefix))


def is_mounted(folder):
    """Whether a file system is mounted at a folder or somewhere in it."""
    return os.path.ismount(folder) or any(
        point == folder or folder in point.parents for point in mount_points()
    )


def mount_points():
    """Where something is mounted, bind mounts too; nothing where the system has no such list."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return []
    points = (re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), line.split(b" ")[4])
              for line in lines)
    return [Path(os.fsdecode(point)) for point in points]
