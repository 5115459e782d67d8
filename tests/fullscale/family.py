"""What of a random model is its family's: configurations, classes, and the files around weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


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
    text_prefix: str  # before the names of the text encoder in its file
    text_config: dict  # of config.json, beside the scale's own
    modules: Callable[[dict], dict]
    write_tokenizer: Callable[[Path, str], None]  # of a scale
    published: dict
