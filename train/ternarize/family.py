"""What the ternariser asks of a model family, and the families that answer: a class and a line.

A family is made from (folder name or repository, steps, width, height), the last three None for
the model's own, refuses in one sentence what it cannot read, and has

    group                         inputs that share a scale
    lowbit                        names of the weights that become low-bit, in the order of use
    sigmas                        f32 [steps + 1], 1 to 0: the schedule that the model draws with
    state_shape, context_shape    of one sample: (tokens, channels), (text tokens, width)
    fingerprint()                 a digest of the teacher and of how it is asked to draw
    load_encoder(dtype, device, bits)   a function: prompts -> contexts [B, *context_shape], by the
                                  teacher's encoder, or with fewer than 16 bits the student's
    load_transformer()            the teacher's transformer in float32, and its tensors by name
    prepare(transformer, dtype)   makes it compute in dtype, exactly where that matters
    blocks(transformer)           name -> module, in the order of use
    units(transformer)            the modules whose parameters are gathered together
    velocity(transformer, states, sigmas, contexts)     [B, tokens, channels]
    stream(output)                a block's output as one tensor [B, tokens, width]
    write(folder, bits, tensors, text_encoder_bits)     the student's whole folder

States and sigmas are f32: x_sigma = (1 - sigma) x_0 + sigma noise, dx/dsigma = velocity.
"""

from pathlib import Path

from export.errors import ExportError, shorten
from export.source.configuration import Configuration
from export.source.find import find_model
from train.ternarize.flux2 import Flux2

FAMILIES = {"Flux2KleinPipeline": Flux2}


def open_teacher(model, steps=None, width=None, height=None):
    """The family object of a diffusers folder or repository. Raises ExportError."""
    source = find_model(model, text_encoder_bits=16)
    index = Configuration.read(source.folder / "model_index.json")
    name = index.get("_class_name")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        index.fail(f"the teacher is {name!r}, this version ternarises {shorten(FAMILIES)}")
    for folder in ("transformer", "text_encoder"):
        if not (Path(source.folder) / folder).is_dir():
            raise ExportError(
                f"{source.folder}: no {folder}/, expected the teacher's full-precision diffusers "
                "folders; a packed model cannot teach"
            )
    return family(source, steps, width, height)
