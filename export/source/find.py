"""Where a model comes from: a folder here, or a repository on Hugging Face."""

import contextlib
import errno
import glob
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from export.errors import ExportError
from export.site.headers import HUB
from export.source import files
from export.source.addresses import find_snapshot, is_weights, read_address
from export.source.files import readable
from export.source.licence import read_licence
from export.source.listing import Listing, list_repository
from export.source.standins import refuse_standin

REFUSED = (401, 403)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Source:
    folder: Path
    name: str  # for display
    origin: dict[str, str] = field(default_factory=dict)  # repository and revision, of the hub
    file: str | None = None  # the one transformer file that is meant, where one is named
    licence: dict = field(default_factory=dict)  # license, license_name, license_link of its card
    base: "Source | None" = None  # which has what this one lacks
    made_from_base: bool = True  # so that the base's configurations are its own

    @property
    def folders(self):
        """Its own and its base's."""
        return [self.folder, *([self.base.folder] if self.base else [])]


@dataclass(frozen=True)
class Found:
    """What an option names, as far as the names of its files tell.

    file: the one transformer file that is meant, where one is named; is_here: whether all of it is
    on this machine; take(names): the Source, for which these files are fetched, and those that
    say what it is.
    """

    listing: Listing
    file: str | None
    is_here: bool
    take: Callable[[Iterable[str]], Source]


def find(model, option="--model"):
    """The Found of a folder, a file or a repository. Raises ExportError."""
    if os.path.isdir(model):
        return found_here(open_folder(Path(model)))
    if os.path.isfile(model) or os.path.islink(model):
        return found_here(open_file(Path(model), option))
    address = read_address(model, option)
    if address is None:
        raise ExportError(
            f"{option} {model}: no such folder, and not a repository name like ORG/NAME or "
            "ORG/NAME@REVISION"
        )
    return find_repository(address, option)


def found_here(source):
    return Found(files.list_checkpoint(source.folder), source.file, True, lambda names: source)


def open_folder(path, file=None):
    folder, origin = find_snapshot(path)
    name = folder.resolve().name
    if origin and name == origin["revision"]:
        name = origin["repository"].split("/")[-1]
    licence = read_licence(files.find_card(folder), origin)
    return Source(folder, readable(name), origin, file, licence)


def open_file(path, option="--model"):
    """The folder of a single file, with that file for its transformer."""
    refuse_standin(path)
    if not is_weights(path.name):
        raise ExportError(
            f"{option} {path}: is a file, expected a model's folder, or its .safetensors or .gguf"
        )
    inside = path.absolute().parent.name.startswith("transformer")
    folder = path.absolute().parent.parent if inside else path.absolute().parent
    file = path.absolute().relative_to(folder).as_posix()
    source = open_folder(folder, file)
    if source.origin:
        return replace(source, origin=source.origin | {"file": file})
    return source if inside and file.endswith(".safetensors") else replace(
        source, name=readable(path.stem))


def find_repository(address, option):
    """The Found of a repository. Without a network it is the copy that an earlier run left in the

    cache. A snapshot's folder is named by its commit and has only what was fetched.
    """
    from huggingface_hub import HfApi, get_cached_repo_tree, snapshot_download

    repository, revision = address.repository, address.revision
    where = f"{option} {repository}" + (f"@{revision}" if revision else "")
    page = f"https://{HUB}/{repository}"
    with telling(where, page):
        info = find_revision(HfApi(), repository, revision)
        if info is None:
            names = [file.path for file in get_cached_repo_tree(repository, revision=revision)]
        else:
            names = [file.rfilename for file in info.siblings]

    def fetch(wanted):
        patterns = [glob.escape(name) for name in wanted]
        with telling(where, page):
            return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns,
                                          local_files_only=info is None))

    listing = list_repository(where, names, fetch)

    def take(wanted):
        folder = fetch(sorted({*wanted, *files.told(listing)}))
        origin = {"repository": repository, "revision": folder.name}
        licence = read_licence(files.find_card(folder), origin, download_card)
        origin |= {"file": address.file} if address.file else {}
        return Source(folder, repository.split("/")[1], origin, address.file, licence)

    return Found(listing, address.file, False, take)


@contextlib.contextmanager
def telling(where, page):
    """Says in an ExportError what became of a repository of this name in messages, and its page."""
    from huggingface_hub import errors

    try:
        yield
        return
    except ExportError:
        raise
    except errors.GatedRepoError:
        problem = (f"asks for its terms to be accepted: accept them on {page}, then run "
                   "`hf auth login` with a token of that account, or set HF_TOKEN")
    except errors.RevisionNotFoundError:
        problem = "has no such revision; name a branch, a tag or a commit after the @"
    except errors.RepositoryNotFoundError:
        problem = "does not exist on Hugging Face, or needs HF_TOKEN set"
    except (errors.CachedRepoTreeNotFoundError, errors.LocalEntryNotFoundError):
        problem = "is not in the cache and the network does not answer; connect, or name a folder"
    except Exception as error:  # the client's network library has a family of its own
        reason = shorten_reason(error)
        if getattr(getattr(error, "response", None), "status_code", None) in REFUSED:
            problem = f"is not to be read with this token: {reason}; see {page} and its settings"
        elif getattr(error, "errno", None) in DISK_FULL:
            problem = f"could not be written to the cache: {reason}; free space, or set HF_HOME"
        else:
            problem = f"could not be downloaded: {reason}; run again, what is complete is kept"
    raise ExportError(f"{where}: the repository {problem}")


def download_card(repository):
    """(path, origin) of a repository's README.md, from the cache or the hub; None without one."""
    from huggingface_hub import hf_hub_download

    try:
        path = Path(hf_hub_download(repository, "README.md"))
    except Exception:  # nobody answers, there is none, or the name is no repository's
        return None
    return path, {"repository": repository, "revision": path.parent.name}


def find_revision(api, repository, revision):
    """What the hub says of a revision; None when nobody answers."""
    from huggingface_hub import errors

    try:
        return api.model_info(repository, revision=revision)
    except errors.HfHubHTTPError:
        raise
    except Exception:  # no answer at all: offline, or an error of the client's network library
        return None


def shorten_reason(error):
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
