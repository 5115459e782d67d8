"""Which of a checkpoint's files are the parts of its family, by their names alone.

What the hub is asked for and what the readers open follows from this choice. What a checkpoint
lacks may come from another one, its base.
"""

from dataclasses import dataclass
from pathlib import Path

from export import layouts
from export.errors import ExportError, shorten
from export.families import recognise
from export.families.family import DENOISER
from export.families.missing import require
from export.families.place import choose_place, find_place, folder_of, names_of, rivals
from export.families.taken import Taken
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
from export.source.weights import join


@dataclass(frozen=True)
class Chosen:
    """What a build reads; paths are as their listings have them, whose own root is the model's.

    places: part -> where it lies; configs: part -> its config.json, None where the shapes tell;
    tokenizers: encoder -> its tokenizer's folder; settings: MODEL_INDEX, CALL and SCHEDULER_CONFIG
    -> their paths, or None; names: every file that is read of the model, the licences and the card
    apart; base_names: likewise of the base.
    """

    places: dict[str, layouts.Place]
    configs: dict[str, Path | None]
    tokenizers: dict[str, Path]
    settings: dict[str, Path | None]
    names: tuple[str, ...]
    base_names: tuple[str, ...] = ()


def read_family(listing, only=None, base=None):
    """(Family, pipeline class) of a Listing and of its base's, each None where no name tells.

    only: the name of the one denoiser file that is meant. Such a file may lack a model_index.json:
    the names of its tensors, which nobody has read yet, tell the family then.
    """
    for home in filter(None, (listing, base)):
        if MODEL_INDEX in home.names:
            return recognise.family_of(Configuration.read(home.open(MODEL_INDEX)))
    return recognise.family_of_class(listing) or recognise.family_of_files(listing, only), None


def guess_family(listing, only=None):
    """The Family of a denoiser's file on this machine, by the names of its tensors; or None."""
    return recognise.family_of_names(tensors_of(listing, recognise.unknown().denoiser, only))


def tensors_of(listing, denoiser, only=None):
    """The names of a denoiser's tensors in its files on this machine; none where it has none."""
    listing = listing.without(rivals(listing, denoiser, only)) if only else listing
    try:
        place = find_place(listing, denoiser, only=only)
        return place.layout.open(place).entries.keys() if place else ()
    except ExportError:  # who reads it, or misses it, says so
        return ()


def choose(listing, family, text_encoder_bits=None, only=None, base=None, made_from_it=True):
    """The Chosen of a Listing.

    only: the name of the one denoiser file to be taken; base: a Listing of what this one lacks,
    with the denoiser's configuration if the model was made from it. Raises ExportError where names
    already tell that a build would fail.
    """
    listing = listing.without(rivals(listing, family.denoiser, only)) if only else listing
    taken = Taken(listing, base)
    places = choose_places(taken, family, text_encoder_bits, only)
    configs = {}
    for part in family.parts:
        home, folder = taken.home(part), folder_of(places[part.name])
        configs[part.name] = taken.config(part, places[part.name], folder, made_from_it)
        alone = part.kind == DENOISER and places[part.name].layout.stands_alone
        folders = {folder, *([part.folder] if alone else [])} - {""}
        taken.add(home, [f"{inside}/{name}" for inside in folders for name in CONFIGURATIONS])
        taken.add(home, names_of(places[part.name]))
    settings = {name: taken.either(name) for name in (MODEL_INDEX, CALL, SCHEDULER_CONFIG)}
    if not settings[MODEL_INDEX] and not places[family.denoiser.name].layout.stands_alone:
        require(listing, MODEL_INDEX)
    tokenizers = {}
    for prompt in family.prompts:
        home, folder = find_tokenizer(taken, prompt, places[prompt.encoder])
        made_from = () if TOKENIZER[0] in home.inside(folder) else prompt.made_from
        taken.add(home, [join(folder, name) for name in (*TOKENIZER, *made_from)])
        tokenizers[prompt.encoder] = home.root / folder
    return Chosen(places, configs, tokenizers, settings, taken.names(listing),
                  taken.names(base) if base else ())


def choose_places(taken, family, text_encoder_bits, only):
    """part -> Place, each in the Listing that has it; the denoiser's is chosen first."""
    places = {}
    for part in sorted(family.parts, key=lambda part: part.kind != DENOISER):
        home = taken.home(part)
        places[part.name] = choose_place(home, part, text_encoder_bits,
                                         only if home is taken.listing else None)
        if part.kind == DENOISER:
            recognise.refuse_unreadable(home, names_of(places[part.name]))
    refuse_another(taken.listing, places[family.denoiser.name], only)
    return places


def check_contents(chosen, listing, base=None):
    """Refuses a file in whose place something else lies. Raises ExportError."""
    for name in chosen.names:
        refuse_standin(listing.open(name))
    for name in chosen.base_names:
        refuse_standin(base.open(name))


def find_tokenizer(taken, prompt, place):
    """(Listing, folder) of a prompt's tokenizer, which may also lie in the folder of its encoder,

    whose Place is `place`.
    """
    encoder = folder_of(place)
    choices = [prompt.folder, f"{encoder}/tokenizer", encoder]
    for home in filter(None, (taken.listing, taken.base)):
        found = [folder for folder in choices if f"{folder}/{TOKENIZER[0]}" in home.names]
        found += [folder for folder in choices
                  if prompt.made_from and {*prompt.made_from} <= {*home.inside(folder)}]
        if found:
            check_template(home, found[0], prompt)
            return home, found[0]
    listing = taken.listing
    slow = [f for f in choices if set(listing.inside(f)) & set(SLOW_TOKENIZER)]
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


def check_template(listing, folder, prompt):
    """Refuses a tokenizer without a chat template where prompts go through one."""
    there = {"tokenizer_config.json", "chat_template.jinja"} & set(listing.inside(folder))
    if prompt.chat and not there:
        raise ExportError(
            f"{listing.at(folder)}: no chat template: neither tokenizer_config.json nor "
            f"chat_template.jinja is there, {folder}/ {listing.tell(folder)}; the model's prompts "
            "go through one"
        )


def refuse_another(listing, transformer, only):
    if only and only not in names_of(transformer):
        read = shorten(names_of(transformer))
        raise ExportError(
            f"{listing.at(only)}: is not what its folder's names make the model ({read} is); name "
            "the model's folder, or keep this file alone in its own"
        )
