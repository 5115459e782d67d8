"""Which files a checkpoint has, and which of them a build reads: decided here, by their names.

What the hub is asked for, what the readers open, what is copied beside a model: all of it follows
from this list.
"""

import os
import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from export import layouts
from export.errors import ExportError, shorten
from export.source.listing import list_folder
from export.source.safetensors import is_whole
from export.source.standins import refuse_standin
from export.source.weights import (
    ASIDE,
    LORA,
    LORAS,
    PART,
    choose_weights,
    find_weights,
    join,
    tell_others,
)

MODEL_INDEX, CALL = "model_index.json", "trefoil.json"
SCHEDULER, AUTOENCODER = "scheduler", "vae"
SCHEDULER_CONFIG = f"{SCHEDULER}/scheduler_config.json"
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json",
    "added_tokens.json",
)  # fmt: skip
SLOW_TOKENIZER = ("vocab.json", "merges.txt")  # what a tokenizer.json can be made from
CONFIGURATIONS = ("config.json", "quantization_config.json")
LICENCE = re.compile(r"(license|licence|notice|copying).*", re.IGNORECASE | re.DOTALL)
CARD = "readme.md"


@dataclass(frozen=True)
class Chosen:
    """What a build reads. The folders of the two places are those of the listing's own root."""

    transformer: layouts.Place
    text_encoder: layouts.Place
    tokenizer: str  # its folder's name
    names: tuple[str, ...]  # every file that is read, the licences and the card apart


def is_licence(name):
    return LICENCE.fullmatch(name) is not None


def licences(folder):
    """The files at the top of a folder that hold a licence or a notice, as paths."""
    return [path for path in sorted(Path(folder).iterdir())
            if is_licence(path.name) and path.is_file()]  # fmt: skip


def find_card(folder):
    """A model's own README.md, however it is spelt, or None."""
    try:
        paths = [path for path in sorted(Path(folder).iterdir()) if path.name.lower() == CARD]
    except OSError:
        return None  # what lists the folder says so
    return next((path for path in paths if path.is_file()), None)


def readable(name):
    """A file's name as text: bytes that are not UTF-8 become a mark."""
    return os.fsencode(name).decode("utf-8", "replace")


def told(listing):
    """The files of a Listing that tell what the model is and under which terms."""
    return [name for name in listing.inside("") if is_licence(name) or name.lower() == CARD]


def list_checkpoint(folder):
    """The Listing of a checkpoint's folder."""
    return list_folder(folder, is_whole)


def choose(listing, text_encoder_bits=None, only=None):
    """The Chosen of a Listing.

    only: the name of the one transformer file to be taken. Raises ExportError where names already
    tell that a build would fail.
    """
    listing = listing.without(rivals(listing, only)) if only else listing
    transformer = find_place(listing, layouts.TRANSFORMER, only) or refuse_none(
        listing, layouts.TRANSFORMER, "transformer")  # fmt: skip
    refuse_another(listing, transformer, only)
    stands_alone = transformer.layout.stands_alone
    text_encoder = choose_text_encoder(listing, text_encoder_bits)
    own, encoder = folder_of(transformer), folder_of(text_encoder)
    required = [f"{encoder}/config.json", f"{AUTOENCODER}/config.json"]
    required += [] if stands_alone else [MODEL_INDEX, f"{own}/config.json"]
    for name in required:
        require(listing, name)
    autoencoder = choose_weights(listing, AUTOENCODER)
    tokenizer = find_tokenizer(listing, encoder)
    wanted = [MODEL_INDEX, CALL, SCHEDULER_CONFIG, f"{AUTOENCODER}/config.json"]
    places = {own, encoder, *(["transformer"] if stands_alone else [])} - {""}
    wanted += [f"{folder}/{name}" for folder in places for name in CONFIGURATIONS]
    wanted += [join(tokenizer, name) for name in TOKENIZER]
    wanted += [*names_of(transformer), *names_of(text_encoder)]
    wanted += [f"{AUTOENCODER}/{name}" for name in autoencoder.names]
    names = sorted(set(wanted).intersection(listing.names))
    return Chosen(transformer, text_encoder, tokenizer, tuple(names))


def check_contents(listing, chosen):
    """Refuses a file in whose place something else lies. Raises ExportError."""
    for name in chosen.names:
        refuse_standin(listing.open(name))


# Places


def find_place(listing, choices, only=None):
    """The Place of the first layout that is there, with its one file or its shards; or None."""
    for layout in choices:
        place = layouts.find(Path(), listing.names, [layout])
        files = place and one_model(listing, place, only)
        if files:
            return layouts.Place(layout, listing.root, tuple(listing.root / f for f in files))
    return None


def one_model(listing, place, only):
    """Of the files in a Place those of one model, an index first; none where none of them is one.

    A file that stands alone has any name, so a part of another kind may lie beside it.
    """
    names, folder = names_of(place), folder_of(place)
    if only in names and (not folder or only.endswith(".gguf")):
        return [only]
    if all(name.endswith(".gguf") for name in names):
        return choose_gguf(listing, folder, names)
    if not any(".safetensors" in name for name in names):
        return names
    weights = find_weights(listing, folder)
    files = [join(folder, name) for name in weights.names] if weights else []
    if not folder and files and PART.search(files[0].split(".safetensors")[0]):
        return []
    return files


def choose_gguf(listing, folder, names):
    """The one transformer among GGUF files; none where all of them are something else."""
    stems = {name: Path(name).stem for name in names if not LORA.search(Path(name).name)}
    left = [name for name, stem in stems.items() if not PART.search(stem)]
    for stranger in ASIDE:
        left = [name for name in left if not stranger.search(stems[name])] or left
    if len(left) > 1:
        raise ExportError(
            f"{listing.at(folder)}: {len(left)} files hold a transformer ({shorten(left)}), "
            "expected one; name the one that is the model: --model .../FILE"
        )
    return left


def folder_of(place):
    """A Place's folder in the checkpoint, "" for its top."""
    folder = place.path.relative_to(place.folder).as_posix()
    return "" if folder == "." else folder


def names_of(place):
    return [file.relative_to(place.folder).as_posix() for file in place.files]


def rivals(listing, only):
    """Other files that a transformer might be read from than the one named.

    A folder's safetensors are read by the folder's own names, so these stay.
    """
    patterns = [pattern for layout in layouts.TRANSFORMER for pattern in layout.files]
    folder = Path(only).parent
    together = folder != Path() and only.endswith(".safetensors")
    return [
        name for name in listing.names
        if name != only and any(layouts.matches(name, pattern) for pattern in patterns)
        and not (together and Path(name).parent == folder)
    ]  # fmt: skip


def choose_text_encoder(listing, bits):
    """The encoder in the bits that are asked for, else the exact one, else the first."""
    if bits:
        own = [n for n in listing.names if n.startswith(f"text_encoder-mlx-{bits}bit/")]
        place = find_place(replace(listing, names=own), [layouts.MlxAffine]) or find_place(
            listing, [layouts.Floats])  # fmt: skip
        if place:
            return place
    return find_place(listing, layouts.TEXT_ENCODER) or refuse_none(
        listing, layouts.TEXT_ENCODER, "text encoder")  # fmt: skip


def find_tokenizer(listing, text_encoder):
    """The folder of the tokenizer, which may also lie with the text encoder."""
    choices = ["tokenizer", f"{text_encoder}/tokenizer", text_encoder]
    found = [folder for folder in choices if f"{folder}/{TOKENIZER[0]}" in listing.names]
    if not found:
        slow = [f for f in choices if set(SLOW_TOKENIZER) <= set(listing.inside(f))]
        folder = slow[0] if slow else choices[0]
        remedy = (
            "; write it with AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            if slow else ""
        )  # fmt: skip
        raise ExportError(
            f"{listing.at(f'{folder}/{TOKENIZER[0]}')}: no such file, {folder}/ "
            f"{listing.tell(folder)}; the model needs a fast tokenizer "
            f"(tokenizer/tokenizer.json){remedy}"
        )
    folder = found[0]
    if not {"tokenizer_config.json", "chat_template.jinja"} & set(listing.inside(folder)):
        raise ExportError(
            f"{listing.at(folder)}: no chat template: neither tokenizer_config.json nor "
            f"chat_template.jinja is there, {folder}/ {listing.tell(folder)}; FLUX.2 Klein prompts "
            "go through one"
        )
    return folder


# What is missing


def require(listing, name):
    if name not in listing.names:
        folder, _, _ = name.rpartition("/")
        place = f"{folder}/" if folder else "the folder"
        raise ExportError(
            f"{listing.at(name)}: no such file, {place} {listing.tell(folder)}; is this a complete "
            "model folder?"
        )


def refuse_another(listing, transformer, only):
    if only and only not in names_of(transformer):
        read = shorten(names_of(transformer))
        raise ExportError(
            f"{listing.at(only)}: is not what its folder's names make the model ({read} is); name "
            "the model's folder, or keep this file alone in its own"
        )


def refuse_none(listing, choices, what):
    """Says what is there instead of a component."""
    patterns = [pattern for layout in choices for pattern in layout.files]
    expected = list(dict.fromkeys(p.split("/")[0] + "/" if "/" in p else p for p in patterns))
    there = [folder for folder in listing.folders() if any(
        fnmatchcase(folder, pattern) for pattern in expected)]  # fmt: skip
    told = "; ".join(
        f"{folder} {tell_others(listing, folder[:-1]) or listing.tell(folder[:-1])}"
        for folder in there
    ) or "it " + (tell_others(listing, "", (LORAS,)) or listing.tell(""))
    encoders = [n for n in listing.inside("") if n.endswith(".gguf") and PART.search(Path(n).stem)]
    if encoders and what == "text encoder":
        told += f"; a text encoder in GGUF ({shorten(encoders)}) is not read"
    raise ExportError(
        f"{listing.where}: no {what}, expected the folder {' or '.join(expected)} with its "
        f"weights; {told}"
    )
