"""trefoil.json of an ONNX bundle: what the pipeline is called with, and how large a token is."""

from export.errors import ExportError
from export.source.configuration import read_json, show

MARK, FORMAT = "trefoil.json", "trefoil-onnx-2"


def call_of(model):
    """The values that the file holds for a packed Model."""
    latents = {"channels": model.latents.channels, "pixels": model.latents.pixels}
    about = {"format": FORMAT, "name": model.name, "latents": latents}
    return about | model.call.manifest()


def read_call(path):
    """The values in a file. Raises ExportError where another version of this code wrote it."""
    call = read_json(path)
    if call.get("format") != FORMAT:
        raise ExportError(
            f"{path}: was written by an earlier version of build.py ({show(call.get('format'))}), "
            f"and this one reads {FORMAT}: write the bundle again (python build.py --onnx)"
        )
    return call
