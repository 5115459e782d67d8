"""Which safetensors files of a folder are the model, in diffusers' and transformers' order.

The names that both libraries write come first: diffusion_pytorch_model.safetensors and
model.safetensors, then their variants (model.fp16.safetensors), then any other name. What is not
one file is the shards that an index names, whatever they are called:

    model.safetensors.index.json
    model.safetensors.index.fp16.json    model.fp16.safetensors.index.json

A single file beside its index is preferred, as published repositories hold both, unless it is
broken. Only names that are equally likely are refused.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from export.errors import ExportError, shorten
from export.source.configuration import read_json
from export.source.listing import Listing

DIFFUSERS, TRANSFORMERS = "diffusion_pytorch_model", "model"
KIND = r"(.+)\.safetensors"
INDEX = re.compile(KIND + r"\.index(\.\w+)?\.json", re.IGNORECASE)
SHARD = re.compile(r"(.+?)[-_]\d+-of-\d+(\.\w+)?\.safetensors", re.IGNORECASE)
SINGLE = re.compile(KIND, re.IGNORECASE)
VARIANT = re.compile(r"(.+?)\.((?:non_ema|ema|fp\d+|bf16)(?:\..+)?)", re.IGNORECASE)
WORD = r"(?:^|[-_. ()])(?:{})(?:[-_. ()]|$)"
LORA = re.compile(
    r"pytorch_lora_weights|adapter_model|" + WORD.format("lora|loras|locon|lokr|loha|dora"),
    re.IGNORECASE,
)
# What is left aside where there is anything else, the likeliest stranger first.
PART = re.compile(
    WORD.format(r"ae|vae|autoencoder|taef\w*|text_?encoders?|qwen\w*|gemma\w*|t5\w*|clip\w*|mmproj"
                r"|llm"),
    re.IGNORECASE,
)
ASIDE = [PART, *(re.compile(pattern, re.IGNORECASE) for pattern in (
    r" \(\d+\)|[-_. ]+(?:copy|copie|kopie|bak|backup|old|orig)\b|~$",
    WORD.format(r"optimizer|scaler|random_states?|training|ema_decay"),
    WORD.format(r"non_ema"),
    r"^consolidated",
    WORD.format(r"(?:mx|nv)?fp[468]\w*|e[45]m[32]\w*|nf4|int[48]|i?q[3-8]_\w+|awq|gptq|bnb|svdq\w*"),
))]
CONVERT = (
    "expected safetensors; convert with save_pretrained(safe_serialization=True), or name a "
    "revision that has safetensors"
)
# What a folder may hold instead: what it is, the names, what to do.
PICKLES = ("PyTorch .bin weights", r".*\.(bin|bin\.index\.json|pt|pth|ckpt)", CONVERT)
LORAS = (
    "a LoRA", rf"(?=.*\.safetensors$).*({LORA.pattern}).*",
    "which is a change to a model; fuse it into its model first (fuse_lora, then save_pretrained)",
)
INSTEAD = (
    PICKLES, LORAS, ("Flax weights", r".*\.msgpack", CONVERT),
    ("TensorFlow weights", r".*\.h5", CONVERT),
    ("GGUF", r".*\.gguf", "which is read for the transformer alone; take its safetensors"),
)


@dataclass(frozen=True)
class Weights:
    """A model's safetensors: one file, or an index and its shards. Names in the folder."""

    files: tuple[str, ...]
    index: str | None = None

    @property
    def names(self):
        return (*([self.index] if self.index else []), *self.files)


@dataclass
class Candidate:
    """The files that would be one model."""

    stem: str
    variant: str
    single: str | None = None
    index: str | None = None
    shards: list[str] = field(default_factory=list)

    @property
    def name(self):
        return self.single or self.index


def choose_weights(listing: Listing, folder: str) -> Weights:
    """The Weights in a folder of a Listing ("" is its top). Raises ExportError."""
    weights = find_weights(listing, folder)
    if weights is None:
        raise ExportError(f"{listing.at(folder)}: {tell_absence(listing, folder)}")
    return weights


def find_weights(listing: Listing, folder: str) -> Weights | None:
    """As choose_weights; None where no safetensors file could be the model."""
    found = candidates(listing.inside(folder))
    left = [candidate for candidate in found if candidate.name]
    while chosen := prefer(left, (listing.root / folder).name):
        bare = [c for c in chosen if not c.single and not shards_there(listing, folder, c)]
        if not bare:
            break
        left = [candidate for candidate in left if candidate not in bare]
    if len(chosen) > 1:
        files = shorten((c.name for c in chosen), 4)
        raise ExportError(
            f"{listing.at(folder)}: {len(chosen)} safetensors files or indexes ({files}), expected "
            "one; keep the one that is the model, or name it: --model .../FILE"
        )
    if chosen:
        return take(listing, folder, chosen[0])
    for candidate in found:
        if candidate.index:
            refuse_missing(listing, folder, candidate)
    for candidate in found:
        if candidate.shards:
            raise ExportError(
                f"{listing.at(folder)}: {len(candidate.shards)} shards without their index "
                f"({shorten(candidate.shards)}); fetch {candidate.stem}.safetensors.index.json "
                "too, from where they came"
            )
    return None


def candidates(names):
    """The Candidates among file names, LoRAs left out."""
    found = {}
    for name in names:
        match = INDEX.fullmatch(name) or SHARD.fullmatch(name) or SINGLE.fullmatch(name)
        if not match or LORA.search(name):
            continue
        base, late = match[1], (match[2] or "").strip(".") if match.re is not SINGLE else ""
        stem, variant = split_variant(base)
        variant = (variant or late).lower()
        candidate = found.setdefault((stem.lower(), variant), Candidate(stem, variant))
        if match.re is INDEX:
            candidate.index = name
        elif match.re is SHARD:
            candidate.shards.append(name)
        else:
            candidate.single = name
    return list(found.values())


def split_variant(base):
    """(stem, variant): model.fp16 -> model, fp16. Other names than the two have known variants."""
    for stem in (DIFFUSERS, TRANSFORMERS):
        if base.lower().startswith(f"{stem}."):
            return base[: len(stem)], base[len(stem) + 1 :]
    match = VARIANT.fullmatch(base)
    return match.groups() if match else (base, "")


def prefer(found, folder):
    """Of Candidates in a folder of this name the likeliest: one, several alike, or none."""
    stems = (DIFFUSERS, TRANSFORMERS)
    if folder.startswith("text_encoder"):
        stems = (TRANSFORMERS, DIFFUSERS)
    named = [[c for c in found if c.stem.lower() == stem] for stem in stems]
    plain = [[c for c in group if not c.variant] for group in named]
    likeliest = next(filter(None, (*plain, *named)), found)
    for stranger in ASIDE:
        others = [c for c in likeliest if not stranger.search(f"{c.stem}.{c.variant}".strip("."))]
        likeliest = others or likeliest
    return [c for c in likeliest if not c.variant] or likeliest


def take(listing, folder, candidate):
    """The Weights of a Candidate. Its index is not read where the single file will do."""
    if candidate.single:
        broken = candidate.index and not listing.is_whole(join(folder, candidate.single))
        if not broken or missing(listing, folder, candidate):
            return Weights((candidate.single,))
    refuse_missing(listing, folder, candidate)
    return Weights(shards_of(listing, folder, candidate), candidate.index)


def shards_of(listing, folder, candidate):
    """The files that a Candidate's index names."""
    return tuple(sorted(set(read_weight_map(listing.open(join(folder, candidate.index))).values())))


def shards_there(listing, folder, candidate):
    return set(listing.inside(folder)).intersection(shards_of(listing, folder, candidate))


def missing(listing, folder, candidate):
    there = listing.inside(folder)
    return [file for file in shards_of(listing, folder, candidate) if file not in there]


def refuse_missing(listing, folder, candidate):
    absent = missing(listing, folder, candidate)
    if absent:
        raise ExportError(
            f"{listing.at(join(folder, absent[0]))}: missing, though {candidate.index} names it; "
            f"the folder {listing.tell(folder)}; download it again"
        )


def read_weight_map(path: Path) -> dict[str, str]:
    """tensor name -> file name, of an index. Raises ExportError."""
    placed = read_json(path).get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(file, str) for file in placed.values()):
        raise ExportError(f"{path}: weight_map is missing or is not tensor name -> file name")
    for file in placed.values():
        if "/" in file or "\\" in file or file in ("", ".", ".."):
            raise ExportError(f"{path}: {file!r} is not a file name in the same folder")
    return placed


def tell_absence(listing, folder):
    """Why a folder holds no safetensors of a model, and what to do."""
    told = tell_others(listing, folder)
    return told or (
        f"no .safetensors file; the folder {listing.tell(folder)}; the download is incomplete"
    )


def tell_others(listing, folder, kinds=INSTEAD):
    """What a folder holds instead of safetensors, as "holds only ..."; None where nothing tells."""
    names = listing.inside(folder)
    for kind, pattern, remedy in kinds:
        files = [name for name in names if re.fullmatch(pattern, name, re.IGNORECASE | re.DOTALL)]
        if files:
            return f"holds only {kind} ({shorten(files)}), {remedy}"
    return None


def join(folder, name):
    return f"{folder}/{name}" if folder else name
