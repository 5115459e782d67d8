"""What a model family is made of, as values, and what its parts promise. No family is known here.

A family is one value in a file of this folder and one line in its registry; a part is one file in
denoisers/, text_encoders/ or autoencoders/ (PartModule).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Protocol

from export.families.call import Call
from export.layouts.layout import Layout
from export.packing.spec import Spec
from export.source.configuration import Configuration

DENOISER, ENCODER, AUTOENCODER = "denoiser", "text encoder", "autoencoder"


class PartConfig(Protocol):
    """What a part reads of its config.json, checked."""

    def manifest(self) -> dict: ...


class PartModule(Protocol):
    """One part in one file; `c` is its PartConfig, None where none is known yet.

    It may have TIED, too: how names begin -> how those begin that a file may have in their place.
    """

    @property
    def CLASS(self) -> str:
        """diffusers' or transformers', in the manifest."""

    @property
    def ANCHORS(self) -> tuple[str, ...]:
        """Names that tell a prefix of all names."""

    @property
    def PREFIX(self) -> str:
        """Of its names at the source, "" for none."""

    def spec(self, c: Any) -> dict[str, Spec]:
        """name -> Spec of what drawing needs, in the order of use."""

    def image_spec(self, c: Any) -> dict[str, Spec]:
        """Likewise of what only reference images need; {} where they were not asked for."""

    def drop_reason(self, c: Any) -> Callable[[str], str | None]:
        """A function: why a tensor is left out on purpose, or None."""

    def activation_bytes(self, c: Any, picture: Any) -> int:
        """About the most GPU memory beside the weights; picture: export.packing.memory.Picture."""

    def image_activation_bytes(self, c: Any, images: Any) -> int:
        """Likewise for reference images, [(width, height), ...]."""

    def streamed_layers(self, c: Any) -> int:
        """Layers of which one may be on the GPU at a time; a denoiser's only where it is large."""


class DenoiserModule(PartModule, Protocol):
    """What a denoiser has besides."""

    def step_flop(self, c: Any, picture: Any) -> int:
        """About the floating-point operations of a step after the first, all its texts together."""


class SamplerModule(Protocol):
    """One sampler in one file; `config` is what read_config gives: scheduler_config.json."""

    @property
    def KEYS(self) -> tuple[str, ...]:
        """Of its class's scheduler_config.json."""

    def read_config(self, config: Configuration | None, own: dict, call: Call) -> dict:
        """The values, some of which the pipeline's call may have; where there is no file `own`, the

        family's, or the class's. Raises ExportError.
        """

    def shift_of(self, config: dict) -> str:
        """How the times are shifted: "empirical", "static", "twice" or "none"."""

    def times(self, steps: int, tokens: int, config: dict) -> Any:
        """f32 [steps]: the times at which the denoiser is asked, `tokens` of the picture's."""


@dataclass(frozen=True)
class Asked:
    """What a part's configuration is read with: trefoil.json's own values of the family, and

    whether reference images are to be encoded.
    """

    own: dict[str, Any]
    image_input: bool = False


@dataclass(frozen=True)
class OriginalNames:
    """How a file with the names of the original code is known and renamed.

    mark: a name that it has; rename(trefoil.json, its names): a function (name, rows) -> {our
    name: [(first row, rows), ...]}.
    """

    mark: str
    rename: Callable[[Configuration, Collection[str]],
                     Callable[[str, int], dict[str, list[tuple[int, int]]]]]


@dataclass(frozen=True)
class Part:
    """A component of a family, by its name in the manifest, where it prefixes its tensors' names.

    read_config(config.json, Asked) -> PartConfig; layouts: in the order in which they are taken;
    folder: diffusers' name for it. Only where its file may stand alone: original (names of another
    code) and derive_config(path, tensors), the values of config.json that follow from the shapes.
    """

    name: str
    kind: str
    module: PartModule
    read_config: Callable[[Configuration, Asked], PartConfig]
    layouts: tuple[type[Layout], ...]
    folder: str
    original: OriginalNames | None = None
    derive_config: Callable | None = None


@dataclass(frozen=True)
class Prompt:
    """How a prompt becomes the input of one encoder, a part's name; folder: of its tokenizer.

    lower, strip: in small letters, without blanks around it; mask: whether padding is masked;
    keeps_padding: whether the encoder's rows of masked padding go on; chat: whether prompts go
    through the tokenizer's chat template; pads_right: the pipeline has its tokenizer pad on the
    right, whatever the files say; own_length: it is read in its tokenizer's model_max_length, not
    in the call's max_sequence_length; made_from: files of which its class makes a tokenizer
    where there is no tokenizer.json; instruction: by which name read_own has the lines that stand
    before prompts but not before negative ones, if there are any.
    """

    encoder: str
    folder: str = "tokenizer"
    lower: bool = False
    strip: bool = False
    mask: bool = True
    keeps_padding: bool = True
    chat: bool = True
    pads_right: bool = False
    own_length: bool = False
    made_from: tuple[str, ...] = ()
    instruction: str | None = None


@dataclass(frozen=True)
class Latents:
    """The denoiser's tokens: `channels` values, `pixels` along a side. norm: how the autoencoder's

    latents follow, as the manifest has it: statistics and eps, or scale and shift. patch: where the
    pipeline draws noise for each latent and packs it afterwards, latents along a side of a token.
    """

    channels: int
    pixels: int
    norm: dict[str, Any]
    patch: int = 1

    def manifest(self):
        packed = {"patch": self.patch} if self.patch > 1 else {}
        return {"channels": self.channels, "pixels": self.pixels} | packed | self.norm


@dataclass(frozen=True)
class Sampler:
    """A scheduler class of diffusers, the module that draws with it and its configuration."""

    class_name: str
    module: SamplerModule
    config: dict[str, Any]

    def times(self, steps, tokens):
        return self.module.times(steps, tokens, self.config)

    def manifest(self):
        shift = self.module.shift_of(self.config)
        return {"class": self.class_name, "shift": shift, "config": self.config}


@dataclass(frozen=True)
class Opened:
    """A part's configuration as it stands in its file and as it was read."""

    file: Configuration
    config: Any  # the part's PartConfig


@dataclass(frozen=True)
class Base:
    """The repository that has what models of a family lack, where nobody names another.

    made: a regular expression that finds, in the names of repositories and files, those of models
    that were made from it, whose configurations are its own. tensors: whether a denoiser with
    tensors of these names can be of it.
    """

    repository: str
    made: str
    tensors: Callable[[Collection[str]], bool] = field(default=lambda names: True)


@dataclass(frozen=True)
class Family:
    """A model family; parts in the order in which a picture uses them.

    pipelines: class in model_index.json -> the call's defaults; samplers: class -> module;
    scheduler: the values of scheduler_config.json where there is none; bases: of which names and
    tensors of a model's denoiser tell which it is; image_input: whether it
    draws from reference images; unread: a regular expression of a file's name -> why that is not
    read and what to take instead. Functions:

        read_own(index, call)        what model_index.json and trefoil.json say to it alone: values
                                     that the call's manifest has too; raises ExportError
        defaults(call, configs, latents)     a pipeline's call as it is for this model
        check(opened)                what the parts, name -> Opened, must agree on
        latents(configs)             name -> PartConfig -> Latents
        tables(configs, call, latents, sampler)   the denoiser's Tables, or None
        preview(component)           the autoencoder -> what the manifest has, or None
    """

    name: str
    pipelines: dict[str, Call]
    parts: tuple[Part, ...]
    prompts: tuple[Prompt, ...]
    samplers: dict[str, SamplerModule]
    scheduler: dict[str, Any]
    read_own: Callable[[Configuration, Configuration], dict[str, Any]]
    check: Callable[[dict[str, Opened]], None]
    latents: Callable[[dict[str, Any]], Latents]
    image_input: bool = False
    defaults: Callable = field(default=lambda call, configs, latents: call)
    tables: Callable = field(default=lambda configs, call, latents, sampler: None)
    preview: Callable = field(default=lambda component: None)
    bases: tuple[Base, ...] = ()
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def denoiser(self):
        return next(part for part in self.parts if part.kind == DENOISER)

    @property
    def autoencoder(self):
        return next(part for part in self.parts if part.kind == AUTOENCODER)
