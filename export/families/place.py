"""Which of a checkpoint's files are one part, by their names: its Place, with its layout."""

from dataclasses import replace
from pathlib import Path

from export import layouts
from export.errors import ExportError, shorten
from export.families.family import AUTOENCODER, DENOISER
from export.families.missing import patterns_of, refuse_none, require
from export.source.weights import (
    ASIDE,
    LORA,
    PART,
    choose_weights,
    find_weights,
    join,
)


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
