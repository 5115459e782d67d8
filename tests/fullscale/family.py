"""What of a random model is its family's: configurations, classes, and the files around weights."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Encoder:
    """A text encoder: `prefix` stands before its names in its file, `config` in its config.json

    beside the scale's own; whole: how the names of matrices end that nobody quantises; tied: those
    that are other ones again; gains: what matrices are multiplied by after keeping a signal's size.
    """

    config: dict
    prefix: str = ""
    whole: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()
    gains: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """Keys of `configs` and `calls` are scales, "full" or "tiny"; of a configuration the component.

    modules(config): diffusers' and transformers' own classes of such configurations, by component,
    to be called where tensors have no storage. published: bytes of files, or of their tensors where
    only those are known, by (layout, variant) or by folder.
    """

    index: dict  # model_index.json
    scheduler: dict  # scheduler_config.json
    configs: dict[str, dict]
    calls: dict[str, dict]  # trefoil.json
    group: int  # inputs of a low-bit weight that share a scale
    encoders: dict[str, Encoder]  # by component
    modules: Callable[[dict], dict]
    tokenizers: dict[str, Callable[[Path, str], None]]  # folder -> writes it, of a scale
    published: dict
