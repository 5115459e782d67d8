"""Which family a checkpoint is of: by model_index.json, by its denoiser's configuration, or by

names: of the files, and of the tensors.
"""

import re
from pathlib import Path

from export.errors import ExportError, shorten
from export.families import FAMILIES
from export.source.configuration import Configuration, show
from export.source.meaning import refuse_unread


def family_of(index):
    """(Family, class) of model_index.json, a Configuration. Raises ExportError."""
    pipelines = {name: family for family in FAMILIES.values() for name in family.pipelines}
    name = index.get("_class_name")
    family = pipelines.get(name) if isinstance(name, str) else None
    if family is None:
        index.fail(f"the pipeline is {show(name)}, this version converts {shorten(pipelines)}")
    scheduler = index.get("scheduler", None)
    known = [None, *family.samplers]
    if isinstance(scheduler, list) and (len(scheduler) != 2 or scheduler[1] not in known):
        choices = " or ".join(family.samplers)
        index.fail(f"scheduler is {show(scheduler)}, this version draws with {choices}")
    for key in {"scheduler", *(part.folder for part in family.parts),
                *(prompt.folder for prompt in family.prompts)}:
        index.get(key, None)  # their own configurations say what they are
    index.flag("is_distilled", False)
    refuse_unread(index, "model_index")
    return family, name


def family_of_class(listing):
    """The family whose denoiser has the class that a Listing's config.json names, or None."""
    for family in FAMILIES.values():
        name = f"{family.denoiser.folder}/config.json"
        if name in listing.names:
            config = Configuration.read(listing.open(name))
            if config.get("_class_name", None) == family.denoiser.module.CLASS:
                return family
    return None


def family_of_files(listing, only=None):
    """The family whose base a model was made from, by its repository's or files' names; or None."""
    return next((family for family in FAMILIES.values() for base in family.bases
                 if is_made_from(base, listing, only)), None)


def is_made_from(base, listing, only=None):
    """Whether names tell that a Listing's model, or the one file of it, was made from a Base."""
    files = [only] if only else listing.inside("")
    names = (Path(listing.where).name, *(Path(name).stem for name in files))
    return any(re.search(base.made, name, re.IGNORECASE) for name in names)


def base_of(family, listing, only=None, tensors=()):
    """The Base of a Listing's model, or of the one file of it: by its names, or by those of the

    denoiser's tensors, which nobody may have read yet. None where nothing tells it.
    """
    bases = [base for base in family.bases if not tensors or base.tensors(tensors)]
    named = [base for base in bases if is_made_from(base, listing, only)]
    return (named or bases)[0] if len(bases) == 1 or len(named) == 1 else None


def refuse_unreadable(listing, names):
    """Raises ExportError where one of a denoiser's files is known as one that nobody reads."""
    for family in FAMILIES.values():
        for pattern, why in family.unread.items():
            found = [name for name in names if re.search(pattern, Path(name).name, re.IGNORECASE)]
            if found:
                raise ExportError(f"{listing.at(found[0])}: {why}")


def standing_alone():
    """The families whose denoiser may stand alone in a file, without a model_index.json."""
    return [family for family in FAMILIES.values() if family.denoiser.derive_config]


def unknown():
    """The family that is taken where nothing tells: its denoiser says what it misses."""
    return standing_alone()[0]


def family_of_names(names):
    """The family that tensors of these names belong to, in a file without a model_index.json; or

    None. Families may share names: it is the one of which most marks are there.
    """
    def count(family):
        denoiser = family.denoiser
        marks = [denoiser.original.mark] if denoiser.original else []
        return sum(any(name == mark or name.endswith(f".{mark}") for name in names)
                   for mark in {*marks, *denoiser.module.ANCHORS})

    best = max(standing_alone(), key=count)
    return best if count(best) else None
