"""What a layout promises: how published checkpoints encode tensors, of whatever model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from export.packing.formats import Packed, Storage
from export.packing.spec import Expected, Spec
from export.source.safetensors import Tensors


class Layout(Protocol):
    """A class made from a source of tensors and the part's specs.

    files: patterns relative to the model's folder, "{folder}" for diffusers' name of the part;
    stands_alone: whether its file may have any name, and no configuration beside it; quantises:
    whether it takes a third argument, the bits to which linears are quantised here.
    """

    name: str
    stands_alone: bool
    quantises: bool
    checkpoint: Tensors
    specs: dict[str, Spec]

    def __init__(self, checkpoint: Tensors, specs: dict[str, Spec]): ...

    @property
    def files(self) -> tuple[str, ...]: ...

    @staticmethod
    def open(place: "Place") -> Tensors:
        """The source's tensors, by its own names."""

    def expected(self) -> dict[str, Expected]:
        """source name -> Expected, for the completeness check."""

    def storage(self, name: str) -> Storage:
        """How a tensor, by its spec's name, will be stored; reads only what that takes."""

    def pack(self, name: str) -> Packed: ...


class EncoderLayout(Layout, Protocol):
    """One that text encoders have."""

    @staticmethod
    def stored_bits(folder: Path) -> int | None:
        """The bits that it is stored in; None for full precision."""


@dataclass(frozen=True)
class Place:
    """Where a layout was found."""

    layout: Any  # a class with Layout's members
    folder: Path  # of the model
    files: tuple[Path, ...]  # in one folder, that match the layout's patterns

    @property
    def path(self):
        return self.files[0].parent
