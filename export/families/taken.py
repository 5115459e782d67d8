"""The files that a build takes of a model's listing, and of its base's what the model lacks."""

from export.families.family import DENOISER
from export.families.missing import holds, require


class Taken:
    """Names by Listing: `listing` the model's, `base` that of what it lacks, or None."""

    def __init__(self, listing, base):
        self.listing, self.base = listing, base
        self.taken = {"listing": set(), "base": set()}

    def home(self, part):
        """The Listing that a part is read from."""
        here = self.base is None or holds(self.listing, part)
        return self.listing if here else self.base

    def add(self, home, names):
        """Takes those of `names` that are there."""
        of = "listing" if home is self.listing else "base"
        self.taken[of].update(set(names).intersection(home.names))

    def path(self, home, name):
        """The path of a file, as its Listing has it, which is taken."""
        self.add(home, (name,))
        return home.root / name

    def either(self, name):
        """The path of the model's file of this name, or else of the base's, or None."""
        for home in filter(None, (self.listing, self.base)):
            if name in home.names:
                return self.path(home, name)
        return None

    def config(self, part, place, folder, made_from_it):
        """The path of the config.json of a part that was found at a Place, in `folder`.

        None where the shapes of a file that stands alone tell it. made_from_it: whether the base's
        is the model's own.
        """
        home, name = self.home(part), f"{folder or part.folder}/config.json"
        if not (place.layout.stands_alone and part.kind == DENOISER):
            require(home, name)
            return self.path(home, name)
        if name in home.names or not made_from_it:
            return self.path(home, name) if name in home.names else None
        return self.either(f"{part.folder}/config.json")

    def names(self, home):
        return tuple(sorted(self.taken["listing" if home is self.listing else "base"]))
