"""Uploads the site to a Hugging Face Space, and its weights to a model repository before it.

The weights are pinned: the site's manifest names the very commit that they arrived in. What is
there already is not uploaded again, so that a run that broke off is taken up by another.
"""

import contextlib
import fnmatch
import re

from export.errors import ExportError, shorten
from export.folder.places import Workshop
from export.site import code, pages
from export.source.files import is_licence
from export.source.find import shorten_reason

COMMIT = re.compile(r"[0-9a-f]{40}")
SHARD = "[0-9a-f]" * 64 + ".bin"
# What a new Space of the static kind holds, and a model repository that this module filled.
NEW_SPACE = {".gitattributes", "README.md", "index.html", "style.css"}
WEIGHTS = (".gitattributes", "README.md", "config.json", "manifest.json", "tokenizer.json", SHARD)
AGAIN = "run again, what has arrived is not uploaded twice"
REMEDIES = {
    401: "the hub does not know the token; set HF_TOKEN to one with write access (Settings, Access "
    "Tokens), or run: hf auth login",
    403: "the token may not write there; use one with write access, or name a repository of yours",
    404: "the hub has no such repository for this token; look at the name and the token's rights",
    409: f"somebody else is changing it; {AGAIN}",
    412: f"somebody else has changed it meanwhile; {AGAIN}",
    429: f"the hub asks to wait a few minutes; then {AGAIN}",
}


def check_token():
    """Fails before hours of packing rather than after. Raises ExportError."""
    from huggingface_hub import get_token

    if not get_token():
        raise ExportError(
            "--publish: there is no Hugging Face token; set HF_TOKEN to one with write access, "
            "or run: hf auth login"
        )


def publish(places, private, out, beside):
    """Uploads what was built. Raises ExportError."""
    from huggingface_hub import HfApi

    api, space, weights = HfApi(), places.space, places.weights_repo
    with telling(space):
        check_space(api, space, out)
    if weights:
        with telling(weights):
            check_weights(api, weights)
            api.create_repo(weights, private=private, exist_ok=True)
            commit = upload(api, weights, "model", beside[0])
        pages.pin(out, places.pinned(commit))
        print(f"{places.endpoint}/{weights}: the weights, commit {commit}")
    with telling(space):
        api.create_repo(space, repo_type="space", space_sdk="static", private=private,
                        exist_ok=True)
        earlier = [f"model/{SHARD}", f"{code.PATTERN}/*"]
        commit = upload(api, space, "space", out, delete_patterns=earlier)
    print(f"{places.endpoint}/spaces/{space}: the site, commit {commit}")
    if weights and private:
        print(f"{weights} is private, so no page can fetch from it: make it public with the Space")


def upload(api, repository, kind, folder, **options):
    """Uploads a folder; the commit that then holds all of it."""
    info = api.upload_folder(repo_id=repository, repo_type=kind, folder_path=folder,
                             commit_message="Upload with build.py",
                             ignore_patterns=f"{Workshop.INSIDE}*", **options)
    if not COMMIT.fullmatch(info.oid):
        raise ExportError(f"the hub names the commit {info.oid!r}, expected 40 hexadecimal digits")
    return info.oid


def check_space(api, space, out):
    """Refuses a Space that is something else."""
    info = find(api.space_info, space)
    if info is None:
        return
    if info.sdk not in (None, "static"):
        raise ExportError(
            f"the Space exists and is of the kind {info.sdk}, expected static; name another"
        )
    files = {file.rfilename for file in info.siblings}
    if "model/manifest.json" not in files:
        refuse_others(files - NEW_SPACE - pages.list_files(out).keys())


def check_weights(api, repository):
    """Refuses a model repository with another model in it."""
    info = find(api.model_info, repository)
    names = [file.rfilename for file in info.siblings] if info else []
    refuse_others([name for name in names if not is_licence(name)
                   and not any(fnmatch.fnmatchcase(name, pattern) for pattern in WEIGHTS)])


def refuse_others(files):
    if files:
        raise ExportError(
            f"the repository exists and holds something else ({shorten(files)}); name another"
        )


def find(info, repository):
    """What the hub says of a repository; None where there is none for this token."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return info(repository)
    except RepositoryNotFoundError:
        return None


@contextlib.contextmanager
def telling(repository):
    """Makes one sentence of whatever the hub's client raises."""
    try:
        yield
    except ExportError as error:
        raise ExportError(f"--publish {repository}: {error}") from None
    except Exception as error:  # the client's network library has a family of its own
        raise ExportError(f"--publish {repository}: {explain(error)}") from None


def explain(error):
    """What went wrong and what to do; the client wraps an upload's error in one of its own."""
    while getattr(error, "response", None) is None and error.__cause__ is not None:
        error = error.__cause__
    response = getattr(error, "response", None)
    if response is None:
        return f"the upload stopped ({shorten_reason(error)}); {AGAIN}"
    said = " ".join((getattr(error, "server_message", None) or "").split())
    remedy = REMEDIES.get(response.status_code)
    if remedy is None:
        refused = response.status_code < 500
        remedy = "the hub refuses this" if refused else f"the hub has a problem; {AGAIN}"
    return f"{remedy} (answer {response.status_code}{': ' + said if said else ''})"


def foretell(places, private, files, shards):
    """What would be created and uploaded, as text; asks nobody."""
    kind = "private" if private else "public"
    shards = [("<sha256>.bin", size) for size in shards]
    lines = []
    if places.weights_repo:
        lines += [f"would create {places.endpoint}/{places.weights_repo} (model, {kind}) unless it "
                  "is there, and upload:"]
        others = ("README.md", "config.json", "manifest.json", "tokenizer.json")
        known = {"tokenizer.json": files["model/tokenizer.json"]}
        lines += listing([*shards, *((name, known.get(name)) for name in others)])
        lines += [f"would name its commit in the site: weights_url {places.endpoint}/"
                  f"{places.weights_repo}/resolve/<commit, known after the upload>/"]
    lines += [f"would create {places.endpoint}/spaces/{places.space} (static Space, {kind}) unless "
              "it is there, and upload:"]
    own = [] if places.weights_url else [(f"model/{name}", size) for name, size in shards]
    lines += listing([*(files | {"model/manifest.json": None}).items(), *own])
    return "\n".join(lines)


def listing(files):
    """Lines of a list of (path, bytes); bytes None: known when it is written."""
    total = sum(size or 0 for _, size in files)
    lines = [f"  {'' if size is None else f'{size:,}':>15}  {path}" for path, size in files]
    return [*lines, f"  {total:>15,}  in {len(files)} files"]
