"""Where a model comes from: a folder here, or a repository on Hugging Face."""

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from export import layouts
from export.checkpoint import is_shard
from export.errors import ExportError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
             "special_tokens_map.json", "added_tokens.json")  # fmt: skip
CONFIGURATIONS = ("config.json", "quantization_config.json")
ALWAYS = (
    "model_index.json", "trefoil.json", "LICENSE*", "NOTICE*", "scheduler/scheduler_config.json",
    *(f"tokenizer/{name}" for name in TOKENIZER),
    "vae/config.json", "vae/*.safetensors", "vae/*.safetensors.index.json",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    folder: Path
    name: str  # for display
    origin: dict[str, str]  # repository and revision of a downloaded model


def find_model(model, text_encoder_bits=None):
    """The Source that --model names; a repository is downloaded. Raises ExportError."""
    folder = Path(model)
    if os.path.isdir(model):
        return Source(folder, readable(Path(os.path.realpath(model)).name), {})
    match = REPOSITORY.fullmatch(model)
    if os.path.exists(model) or not match:
        raise ExportError(
            f"--model {model}: no such folder, and not a repository name like ORG/NAME or "
            "ORG/NAME@REVISION"
        )
    repository, revision = match.groups()
    folder, commit = download(repository, revision, text_encoder_bits)
    return Source(folder, repository.split("/")[1], {"repository": repository, "revision": commit})


def readable(name):
    """A file's name as text: pages and JSON have no place for bytes that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def needed_files(files, text_encoder_bits=None):
    """Of a repository's files, the ones that a build reads."""
    top = Path()
    transformer = layouts.find(top, files, layouts.TRANSFORMER)
    text_encoder = layouts.find_text_encoder(top, files, text_encoder_bits)
    patterns = list(ALWAYS)
    for place in filter(None, (transformer, text_encoder)):
        patterns += without_shards([path.as_posix() for path in place.files])
        patterns += [(place.path / name).as_posix() for name in CONFIGURATIONS]
    if transformer and transformer.layout.stands_alone:
        patterns.append("transformer/config.json")
    if text_encoder and "tokenizer/tokenizer.json" not in files:
        own = text_encoder.path
        patterns += [(own / f / name).as_posix() for f in ("", "tokenizer") for name in TOKENIZER]
    return [f for f in files if any(layouts.matches(f, pattern) for pattern in patterns)]


def without_shards(files):
    """A single file is preferred to the shards and the index beside it, as Checkpoint does."""
    single = [f for f in files if not f.endswith(".json") and not is_shard(Path(f))]
    return single or files


def download(repository, revision, text_encoder_bits):
    """(folder, commit) of a repository's snapshot with only the needed files.

    Without a network it is the copy that an earlier run left in the cache.
    """
    from huggingface_hub import HfApi, errors, get_cached_repo_tree, snapshot_download

    try:
        info = find_revision(HfApi(), repository, revision)
        if info is None:
            names = [file.path for file in get_cached_repo_tree(repository, revision=revision)]
        else:
            names = [file.rfilename for file in info.siblings]
        folder = snapshot_download(repository, revision=revision, local_files_only=info is None,
                                   allow_patterns=needed_files(names, text_encoder_bits))
        return Path(folder), Path(folder).name
    except errors.GatedRepoError:
        problem = "asks for its terms to be accepted; accept them on its page and set HF_TOKEN"
    except errors.RevisionNotFoundError:
        problem = "has no such revision; name a branch, a tag or a commit after the @"
    except errors.RepositoryNotFoundError:
        problem = "does not exist on Hugging Face, or needs HF_TOKEN set"
    except (errors.CachedRepoTreeNotFoundError, errors.LocalEntryNotFoundError):
        problem = "is not in the cache and the network does not answer; connect, or name a folder"
    except Exception as error:  # the client's network library has a family of its own
        reason = shorten_reason(error)
        if getattr(error, "errno", None) in DISK_FULL:
            problem = f"could not be written to the cache: {reason}; free space, or set HF_HOME"
        else:
            problem = f"could not be downloaded: {reason}; run again, what is complete is kept"
    where = repository + (f"@{revision}" if revision else "")
    raise ExportError(f"--model {where}: the repository {problem}")


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
