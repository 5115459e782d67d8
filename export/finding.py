"""What --model and --base name becomes a Source: what the model lacks comes from its base."""

from dataclasses import replace

from export.environment import tell
from export.errors import ExportError
from export.families import recognise
from export.families.choose import choose, guess_family, read_family, tensors_of
from export.families.missing import lacks
from export.families.place import find_place, names_of
from export.source.files import MODEL_INDEX
from export.source.find import find


def find_model(model, text_encoder_bits=None, base=None):
    """The Source of a model, whose repository is downloaded, and so is that of its base.

    base: what --base names; without it the family's own, for a model that does not say that it is
    whole. What names and model_index.json tell is refused before weights are fetched. Raises
    ExportError.
    """
    found = find(model)
    rest = find(base, "--base") if base else None
    if rest and rest.file:
        raise ExportError(f"--base {base}: is one file, expected a whole model's folder or "
                          "repository")
    if found.is_here and rest is None and says_whole(found):
        return found.take(())
    family, _ = read_family(found.listing, found.file, rest and rest.listing)
    told = guess_family(found.listing, found.file) if found.is_here else None
    family = family or told or recognise.unknown()
    refuse_unreadable(found, family)
    if rest and told not in (None, family) and MODEL_INDEX not in found.listing.names:
        raise ExportError(f"--base {base}: is of the family {family.name}, and the tensors of "
                          f"{found.listing.where} are named as those of the family {told.name}; "
                          "name a base of that family")
    tensors = tensors_of(found.listing, family.denoiser, found.file) if found.is_here else ()
    known = recognise.base_of(family, found.listing, found.file, tensors)
    made_from_it = rest is not None or (
        known is not None and recognise.is_made_from(known, found.listing, found.file))
    rest = rest or known_base(found, family, known, made_from_it)
    if found.is_here and rest is None:
        return found.take(())
    chosen = choose(found.listing, family, text_encoder_bits, found.file,
                    rest and rest.listing, made_from_it)
    source = found.take(chosen.names)
    if not chosen.base_names:
        return source
    return replace(source, base=rest.take(chosen.base_names), made_from_base=made_from_it)


def refuse_unreadable(found, family):
    """Raises ExportError, before a base is looked for, where nobody reads the denoiser's file."""
    place = None if found.file else find_place(found.listing, family.denoiser)
    recognise.refuse_unreadable(found.listing, names_of(place) if place else [found.file or ""])


def says_whole(found):
    """Whether a model has a model_index.json, and is none that is known to lack parts."""
    told = MODEL_INDEX in found.listing.names
    return told and not recognise.family_of_files(found.listing, found.file)


def known_base(found, family, known, made_from_it):
    """The Found of the `known` one of the family's bases, for a model that lacks parts; said before

    it is asked for. None where nothing is lacking, or where there is none.
    """
    lacking = lacks(found.listing, family)
    if not lacking or not family.bases or (says_whole(found) and not made_from_it):
        return None
    if known is None:
        choices = " or ".join(f"--base {base.repository}" for base in family.bases)
        raise ExportError(f"{found.listing.where} has no {', '.join(lacking)}, and no name tells "
                          f"which model it was made from; say {choices}")
    why = "which it was made from" if made_from_it else "as of all models of its family"
    tell(f"{found.listing.where} has no {', '.join(lacking)}; from {known.repository}, {why} "
         "(--base names another)")
    return find(known.repository, "--base")
