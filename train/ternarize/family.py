"""What the ternariser asks of a model family, and the families that answer: a class and a line.

States and sigmas are f32: x_sigma = (1 - sigma) x_0 + sigma noise, dx/dsigma = velocity.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from export.errors import ExportError, shorten
from export.families.call import Guidance
from export.finding import find_model
from export.source.configuration import Configuration
from train.ternarize.flux1 import Flux1
from train.ternarize.flux2 import Flux2
from train.ternarize.sana import Sana

Tensor = Any  # torch's, which this module does without
Module = Any


class Teacher(Protocol):
    """One family's model, as the ternariser teaches with it. torch's tensors and modules."""

    group: int  # inputs that share a scale
    lowbit: list[str]  # names of the weights that become low-bit, in the order of use
    sigmas: Tensor  # f32 [steps + 1], 1 to 0: the schedule that the model draws with
    state_shape: tuple[int, int]  # of one sample: tokens, channels
    context_shapes: dict[str, tuple[int, ...]]  # of one prompt, by the contexts' names
    guidance: Guidance  # how the pipeline draws; embedded, it is told as contexts["guidance"]
    negative_prompt: str | None  # that classifier-free guidance leads away from, where it does
    step: Callable[..., Tensor]  # of the sampler, as in samplers.py

    def fingerprint(self) -> str:
        """A digest of the teacher and of how it is asked to draw."""

    def load_encoder(self, dtype: Any, device: Any,
                     bits: int = 16) -> Callable[..., dict[str, Tensor]]:
        """A function: prompts -> name -> [B, *context_shapes[name]], by the teacher's encoders, or

        with fewer than 16 bits the student's; negative=True: as a negative prompt is encoded.
        """

    def load_transformer(self) -> tuple[Module, dict[str, Tensor]]:
        """The teacher's transformer in float32, and its tensors by name."""

    def prepare(self, transformer: Module, dtype: Any) -> Module:
        """Makes it compute in dtype, exactly where that matters."""

    def blocks(self, transformer: Module) -> dict[str, Module]:
        """By name, in the order of use."""

    def units(self, transformer: Module) -> list[Module]:
        """The modules whose parameters are gathered together."""

    def velocity(self, transformer: Module, states: Tensor, sigmas: Tensor,
                 contexts: dict[str, Tensor]) -> Tensor:
        """[B, tokens, channels]: the transformer's own output, without classifier-free guidance."""

    def stream(self, output: Any) -> Tensor:
        """A block's output as one tensor [B, tokens, width]."""

    def write(self, folder: Path, bits: int, tensors: dict[str, Tensor],
              text_encoder_bits: int) -> None:
        """The student's whole folder."""


# Classes of Teachers, called with the source and (steps, width, height), None for the model's own;
# they refuse in one sentence what they cannot read.
FAMILIES: dict[str, Any] = {
    "Flux2KleinPipeline": Flux2, "FluxPipeline": Flux1, "SanaPipeline": Sana,
    "SanaSprintPipeline": Sana,
}


def open_teacher(model: str, steps: int | None = None, width: int | None = None,
                 height: int | None = None, group: int = 0) -> Teacher:
    """The family object of a diffusers folder or repository. Raises ExportError."""
    source = find_model(model, text_encoder_bits=16)
    index = Configuration.read(source.folder / "model_index.json")
    name = index.get("_class_name")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        index.fail(f"the teacher is {name!r}, this version ternarises {shorten(FAMILIES)}")
    for folder in ("transformer", *family.encoder_classes):
        if not (Path(source.folder) / folder).is_dir():
            raise ExportError(
                f"{source.folder}: no {folder}/, expected the teacher's full-precision diffusers "
                "folders; a packed model cannot teach"
            )
    return family(source, steps, width, height, group)
