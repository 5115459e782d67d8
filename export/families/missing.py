"""What a checkpoint holds and lacks of its parts, and what lies there instead."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

from export import layouts
from export.errors import ExportError, shorten
from export.families.family import AUTOENCODER, ENCODER
from export.source.files import MODEL_INDEX, TOKENIZER
from export.source.weights import LORAS, PART, PICKLES, tell_others


def patterns_of(part):
    return [pattern for layout in part.layouts for pattern in layouts.patterns(layout, part.folder)]


def holds(listing, part):
    """Whether a part is in a Listing, be it not whole: its folder, or what may be its one file."""
    folders = listing.folders()
    if part.kind == AUTOENCODER:
        return f"{part.folder}/" in folders
    for pattern in patterns_of(part):
        folder, slash, _ = pattern.rpartition("/")
        if any(fnmatchcase(there, folder + slash) for there in folders) if slash else any(
                layouts.matches(name, pattern) and not PART.search(Path(name).stem)
                for name in listing.inside("")):
            return True
    return False


def lacks(listing, family):
    """The folders of parts that a Listing has nothing of, after model_index.json if that lacks."""
    parts = [part.folder for part in family.parts if not holds(listing, part)]
    encoders = {part.name: part for part in family.parts if part.kind == ENCODER}
    prompts = [prompt.folder for prompt in family.prompts
               if not has_tokenizer(listing, prompt, encoders[prompt.encoder].folder)]
    folders = [*dict.fromkeys((*parts, *prompts))]
    return [MODEL_INDEX, *folders] if folders and MODEL_INDEX not in listing.names else folders


def has_tokenizer(listing, prompt, encoder):
    """Whether a prompt's tokenizer is in a Listing: in its folder, or in that of the encoder."""
    own = re.compile(rf"{re.escape(encoder)}(-.+)?/")
    homes = [folder[:-1] for folder in listing.folders() if own.fullmatch(folder)]
    places = [*homes, *(f"{home}/tokenizer" for home in homes)]
    needed = [{TOKENIZER[0]}, *([{*prompt.made_from}] if prompt.made_from else [])]
    return f"{prompt.folder}/" in listing.folders() or any(
        files <= {*listing.inside(folder)} for folder in places for files in needed)


def require(listing, name):
    if name not in listing.names:
        folder, _, _ = name.rpartition("/")
        place = f"{folder}/" if folder else "the folder"
        raise ExportError(
            f"{listing.at(name)}: no such file, {place} {listing.tell(folder)}; is this a complete "
            "model folder?"
        )


def refuse_none(listing, part):
    """Says what is there instead of a part."""
    patterns, what = patterns_of(part), part.folder.replace("_", " ")
    expected = list(dict.fromkeys(p.split("/")[0] + "/" if "/" in p else p for p in patterns))
    there = [folder for folder in listing.folders() if any(
        fnmatchcase(folder, pattern) for pattern in expected)]
    told = "; ".join(
        f"{folder} {tell_others(listing, folder[:-1]) or listing.tell(folder[:-1])}"
        for folder in there
    ) or "it " + (tell_others(listing, "", (LORAS, PICKLES)) or listing.tell(""))
    encoders = [n for n in listing.inside("") if n.endswith(".gguf") and PART.search(Path(n).stem)]
    if encoders and part.kind == ENCODER:
        told += f"; a text encoder in GGUF ({shorten(encoders)}) is not read"
    raise ExportError(
        f"{listing.where}: no {what}, expected the folder {' or '.join(expected)} with its "
        f"weights; {told}; what a model lacks may come from another one: --base"
    )
