"""A single file of any name, whose low-bit weights lie on a grid.

Such a file stands at the top of the folder, beside vae/ and the text encoder, as the original code
wrote it; without a configuration beside it, that follows from the shapes.
"""

from export.layouts.unpacked import Unpacked
from export.source.codes2b import unfold
from export.source.safetensors import Checkpoint


class Native(Unpacked):
    name, stands_alone = "native", True
    files: tuple[str, ...] = ("*.safetensors",)

    @staticmethod
    def open(place):
        return unfold(Checkpoint(one_file(place)))


def one_file(place):
    """The file, or the index of the shards, that export.source.files chose."""
    return place.files[0]
