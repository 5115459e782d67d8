"""Which files a checkpoint has beside its weights, by name: the one list of them.

What the hub is asked for, what the readers open, what is copied beside a model made from another
and into a site: all of it follows from these names. Which weights there are is decided in
weights.py, which of them a family reads in export/families/choose.py.
"""

import os
import re
from pathlib import Path

from export.source.listing import list_folder
from export.source.safetensors import is_whole

MODEL_INDEX, CALL = "model_index.json", "trefoil.json"
SCHEDULER = "scheduler"
SCHEDULER_CONFIG = f"{SCHEDULER}/scheduler_config.json"
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json",
    "added_tokens.json",
)
# What a tokenizer.json can be made from.
SLOW_TOKENIZER = ("merges.txt", "tokenizer.model", "spiece.model")
CONFIGURATIONS = ("config.json", "quantization_config.json")
LICENCE = re.compile(r"(license|licence|notice|copying).*", re.IGNORECASE | re.DOTALL)
CARD = "readme.md"


def is_licence(name):
    return LICENCE.fullmatch(name) is not None


def licences(folder):
    """The files at the top of a folder that hold a licence or a notice, as paths."""
    return [path for path in sorted(Path(folder).iterdir())
            if is_licence(path.name) and path.is_file()]


def find_card(folder):
    """A model's own README.md, however it is spelt, or None."""
    try:
        paths = [path for path in sorted(Path(folder).iterdir()) if path.name.lower() == CARD]
    except OSError:
        return None  # what lists the folder says so
    return next((path for path in paths if path.is_file()), None)


def readable(name):
    """A file's name as text: bytes that are not UTF-8 become a mark."""
    return os.fsencode(name).decode("utf-8", "replace")


def copied(folder, family):
    """What a model made from a checkpoint has of it unchanged: the paths of folders and files.

    Its own parts apart, all but the denoiser and the encoders: tokenizers, scheduler, autoencoder,
    and what says how it is called and under which terms.
    """
    folder = Path(folder)
    names = [*(prompt.folder for prompt in family.prompts), SCHEDULER, family.autoencoder.folder]
    names += [MODEL_INDEX, CALL]
    there = [folder / name for name in dict.fromkeys(names) if (folder / name).exists()]
    return [*there, *licences(folder)]


def told(listing):
    """The files of a Listing that tell what the model is and under which terms."""
    return [name for name in listing.inside("") if is_licence(name) or name.lower() == CARD]


def list_checkpoint(folder):
    """The Listing of a checkpoint's folder."""
    return list_folder(folder, is_whole)
