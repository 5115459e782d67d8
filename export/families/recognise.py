"""Which family a checkpoint is of: by model_index.json, or by the names that its tensors have."""

from export.errors import shorten
from export.families import FAMILIES
from export.source.configuration import show
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


def standing_alone():
    """The families whose denoiser may stand alone in a file, without a model_index.json."""
    return [family for family in FAMILIES.values() if family.denoiser.derive_config]


def family_of_names(names):
    """The family that tensors of a file without a model_index.json belong to: by their names.

    Where no family has such names it is the first, whose denoiser says what it misses.
    """
    families = standing_alone()
    for family in families:
        denoiser = family.denoiser
        marks = [denoiser.original.mark] if denoiser.original else []
        marks += denoiser.module.ANCHORS
        if any(name == mark or name.endswith(f".{mark}") for name in names for mark in marks):
            return family
    return families[0]
