"""A model being packed: its components, and what each of them stores."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from export.families.call import Call
from export.families.family import Family, Latents, Part, Prompt, Sampler
from export.packing import memory
from export.packing.formats import CODE_BITS, Storage
from export.packing.shards import stream_bytes
from export.packing.spec import ROWS, Spec
from export.prompts.instruction import Instruction
from export.prompts.tokenizer import Tokenizer
from export.source.find import Source


class Table(Protocol):
    """One schedule: `name` follows the component's."""

    name: str
    storage: Storage


class Tables(Protocol):
    """The schedules of a denoiser as tables: the first is what a first picture needs.

    projections: names of the tensors that they stand for, which lie apart. computer(): an object
    with take(name, Packed) for these in their order, and then table(Table), an array f32.
    """

    tables: list[Table]
    projections: tuple[str, ...]

    def manifest(self, component: str) -> dict: ...

    def computer(self) -> Any: ...


@dataclass
class Component:
    """A part of the family with its tensors. `layout` packs the tensors of `specs`."""

    part: Part
    config: Any
    layout: Any  # of export.layouts
    specs: dict[str, Spec]
    storages: dict[str, Storage] = field(default_factory=dict)
    dropped: dict[str, list[int]] = field(default_factory=dict)  # why -> bytes of each tensor
    folding: Tables | None = None
    image_input: tuple[str, ...] = ()  # tensors that only a request with reference images needs

    @property
    def name(self):
        return self.part.name

    @property
    def module(self):
        return self.part.module

    @property
    def parameters(self):
        return sum(storage.parameters for storage in self.storages.values())

    @property
    def source_bytes(self):
        """Bytes at the source of what is packed, dropped tensors left out."""
        entries = self.layout.checkpoint.entries
        return sum(entries[name].bytes for name in self.layout.expected())

    @property
    def apart(self):
        """Names of the tensors that lie apart, in shards on demand."""
        return {*(self.folding.projections if self.folding else ()), *self.image_input}

    @property
    def kept(self):
        """Storages of the tensors that are on the GPU whenever this draws."""
        apart = self.apart
        return {name: storage for name, storage in self.storages.items() if name not in apart}

    @property
    def first(self):
        """What a first picture needs: lists of storages, each in shards of its own."""
        tables = [[table.storage] for table in self.folding.tables[:1]] if self.folding else []
        return [list(self.kept.values()), *tables]

    @property
    def on_demand(self):
        """What other schedules and reference images need, likewise."""
        if not self.folding:
            return self.for_images
        projections = [self.storages[name] for name in self.folding.projections]
        tables = ([table.storage] for table in self.folding.tables[1:])
        return [projections, *tables, *self.for_images]

    @property
    def for_images(self):
        """What reference images need, likewise."""
        return [[self.storages[name] for name in self.image_input]] if self.image_input else []

    @property
    def image_input_bytes(self):
        """Bytes of the shards that reference images need."""
        return shard_bytes(self.for_images)

    @property
    def packed_bytes(self):
        return sum(storage.wire_bytes for storages in self.first for storage in storages)

    @property
    def on_demand_bytes(self):
        return sum(storage.wire_bytes for storages in self.on_demand for storage in storages)

    @property
    def gpu_bytes(self):
        """Of the weights, but those whose rows are gathered on the CPU."""
        return sum(storage.gpu_bytes for name, storage in self.kept.items()
                   if self.specs[name].role != ROWS)


@dataclass(frozen=True)
class PromptInput:
    """How prompts reach one encoder; `file` is the name of its tokenizer in the site, own_rows the

    length that it has whatever the call says, or None.
    """

    about: Prompt
    tokenizer: Tokenizer
    file: str
    instruction: Instruction | None = None
    own_rows: int | None = None

    def rows(self, most):
        """Rows of the encoder that go on, of `most` that the call allows."""
        return self.own_rows or most

    def length(self, most):
        """Ids of the longest text, likewise."""
        rows = self.rows(most)
        return self.instruction.length(rows) if self.instruction else rows


@dataclass
class Model:
    source: Source
    family: Family
    pipeline_class: str  # diffusers', a key of family.pipelines
    call: Call
    latents: Latents
    sampler: Sampler
    prompts: tuple[PromptInput, ...]
    components: dict[str, Component]

    @property
    def name(self):
        return self.source.name

    @property
    def denoiser(self):
        return self.components[self.family.denoiser.name]

    @property
    def variant(self):
        """binary when every low-bit tensor has one-bit codes, else ternary."""
        storages = self.denoiser.storages.values()
        lowbit = {CODE_BITS[s.kind] for s in storages if s.kind in CODE_BITS}
        return "binary" if lowbit == {1} else "ternary"

    @property
    def tokenizer_bytes(self):
        return sum(len(prompt.tokenizer.file) for prompt in self.prompts)

    @property
    def first_bytes(self):
        """Bytes that a first picture downloads."""
        shards = (shard_bytes(component.first) for component in self.components.values())
        return sum(shards) + self.tokenizer_bytes

    @property
    def on_demand_bytes(self):
        """Bytes of the shards that are fetched only when a request needs them."""
        return sum(shard_bytes(component.on_demand) for component in self.components.values())

    @property
    def image_input_bytes(self):
        """Those of them that reference images need."""
        return sum(component.image_input_bytes for component in self.components.values())

    def shard_sizes(self, most):
        """Bytes of every shard, where one may have `most`."""
        sizes = []
        for component in self.components.values():
            for run in (*component.first, *component.on_demand):
                full, rest = divmod(shard_bytes([run]), most)
                sizes += [most] * full + [rest] * (rest > 0)
        return sizes

    def peak_gpu_bytes(self, size, images=()):
        """About the most GPU memory for a picture of `size` from reference images of `images`."""
        return memory.peak_gpu_bytes(self, size, images)

    def step_flop(self, size):
        """About the floating-point operations of a step of a picture of `size`."""
        return memory.step_flop(self, size)


def shard_bytes(runs):
    """Bytes of lists of storages, each in shards of its own."""
    parts = ([n for storage in run for n in storage.part_bytes().values()] for run in runs)
    return sum(stream_bytes(run) for run in parts)
