"""Which of a checkpoint's files are the parts of its family, by their names alone.

What the hub is asked for and what the readers open follows from this choice.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from export import layouts
from export.errors import ExportError, shorten
from export.families import recognise
from export.families.family import AUTOENCODER, DENOISER
from export.families.missing import patterns_of, refuse_none, require
from export.source.configuration import Configuration
from export.source.files import (
    CALL,
    CONFIGURATIONS,
    MODEL_INDEX,
    SCHEDULER_CONFIG,
    SLOW_TOKENIZER,
    TOKENIZER,
)
from export.source.standins import refuse_standin
from export.source.weights import (
    ASIDE,
    LORA,
    PART,
    choose_weights,
    find_weights,
    join,
)


@dataclass(frozen=True)
class Chosen:
    """What a build reads. The folders of the places are those of the listing's own root."""

    places: dict[str, layouts.Place]  # part -> where it lies
    tokenizers: dict[str, str]  # encoder -> its tokenizer's folder
    names: tuple[str, ...]  # every file that is read, the licences and the card apart


def read_family(listing):
    """(Family, pipeline class) of a Listing.

    A file that stands alone may lack a model_index.json: the class is None then, and the family one
    that is known by the names of its tensors, which nobody has read yet.
    """
    if MODEL_INDEX not in listing.names:
        return recognise.standing_alone()[0], None
    return recognise.family_of(Configuration.read(listing.open(MODEL_INDEX)))


def choose(listing, family, text_encoder_bits=None, only=None):
    """The Chosen of a Listing.

    only: the name of the one denoiser file to be taken. Raises ExportError where names already
    tell that a build would fail.
    """
    listing = listing.without(rivals(listing, family.denoiser, only)) if only else listing
    places = {}
    for part in sorted(family.parts, key=lambda part: part.kind != DENOISER):
        places[part.name] = choose_place(listing, part, text_encoder_bits, only)
    alone = places[family.denoiser.name].layout.stands_alone
    refuse_another(listing, places[family.denoiser.name], only)
    wanted = [MODEL_INDEX, CALL, SCHEDULER_CONFIG]
    for part in family.parts:
        folder = folder_of(places[part.name])
        if not (alone and part.kind == DENOISER):
            require(listing, f"{folder}/config.json")
        folders = {folder, *([part.folder] if part.kind == DENOISER and alone else [])} - {""}
        wanted += [f"{folder}/{name}" for folder in folders for name in CONFIGURATIONS]
        wanted += names_of(places[part.name])
    if not alone:
        require(listing, MODEL_INDEX)
    tokenizers = {prompt.encoder: find_tokenizer(listing, prompt, folder_of(places[prompt.encoder]))
                  for prompt in family.prompts}
    wanted += [join(folder, name) for folder in tokenizers.values() for name in TOKENIZER]
    names = sorted(set(wanted).intersection(listing.names))
    return Chosen(places, tokenizers, tuple(names))


def choose_place(listing, part, text_encoder_bits, only):
    """The Place of a part. Raises ExportError."""
    if part.kind == AUTOENCODER:  # whose one folder says best what it lacks
        require(listing, f"{part.folder}/config.json")
        weights = choose_weights(listing, part.folder)
        paths = tuple(listing.root / part.folder / name for name in weights.names)
        return layouts.Place(part.layouts[0], listing.root, paths)
    if part.kind == DENOISER:
        place = find_place(listing, part, only=only)
    else:
        place = choose_text_encoder(listing, part, text_encoder_bits)
    return place or refuse_none(listing, part)


def check_contents(listing, chosen):
    """Refuses a file in whose place something else lies. Raises ExportError."""
    for name in chosen.names:
        refuse_standin(listing.open(name))


# Places


def find_place(listing, part, choices=None, only=None):
    """The Place of the first layout that is there, with its one file or its shards; or None."""
    for layout in choices or part.layouts:
        place = layouts.find(Path(), listing.names, [layout], part.folder)
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


def rivals(listing, part, only):
    """Other files that a part might be read from than the one named.

    A folder's safetensors are read by the folder's own names, so these stay.
    """
    patterns = patterns_of(part)
    folder = Path(only).parent
    together = folder != Path() and only.endswith(".safetensors")
    return [
        name for name in listing.names
        if name != only and any(layouts.matches(name, pattern) for pattern in patterns)
        and not (together and Path(name).parent == folder)
    ]


def choose_text_encoder(listing, part, bits):
    """The Place of an encoder in the bits that are asked for, else the exact one, else the first;

    None where there is none.
    """
    if bits:
        start = f"{part.folder}-mlx-{bits}bit/"
        own = tuple(name for name in listing.names if name.startswith(start))
        place = find_place(replace(listing, names=own), part, [layouts.MlxAffine]) or find_place(
            listing, part, [layouts.Floats])
        if place:
            return place
    return find_place(listing, part)


def find_tokenizer(listing, prompt, encoder):
    """The folder of a prompt's tokenizer, which may also lie in the folder of its encoder."""
    choices = [prompt.folder, f"{encoder}/tokenizer", encoder]
    found = [folder for folder in choices if f"{folder}/{TOKENIZER[0]}" in listing.names]
    if not found:
        slow = [f for f in choices if set(SLOW_TOKENIZER) <= set(listing.inside(f))]
        folder = slow[0] if slow else choices[0]
        remedy = (
            "; write it with AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            if slow else ""
        )
        raise ExportError(
            f"{listing.at(f'{folder}/{TOKENIZER[0]}')}: no such file, {folder}/ "
            f"{listing.tell(folder)}; the model needs a fast tokenizer "
            f"({prompt.folder}/tokenizer.json){remedy}"
        )
    folder = found[0]
    there = {"tokenizer_config.json", "chat_template.jinja"} & set(listing.inside(folder))
    if prompt.chat and not there:
        raise ExportError(
            f"{listing.at(folder)}: no chat template: neither tokenizer_config.json nor "
            f"chat_template.jinja is there, {folder}/ {listing.tell(folder)}; FLUX.2 Klein prompts "
            "go through one"
        )
    return folder


def refuse_another(listing, transformer, only):
    if only and only not in names_of(transformer):
        read = shorten(names_of(transformer))
        raise ExportError(
            f"{listing.at(only)}: is not what its folder's names make the model ({read} is); name "
            "the model's folder, or keep this file alone in its own"
        )
