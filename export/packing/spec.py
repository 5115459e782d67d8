"""What a component must hold: name -> shape and role, and the check that conversion is total."""

import re
from dataclasses import dataclass

from export.errors import ExportError, shorten
from export.source import quantisers

FLOATS = ("F32", "F16", "BF16")

# Roles of matrices. A low-bit one is ternary or binary at the source; a linear, and a table of ROWS
# that are gathered on the CPU, may be quantised here; the others are kept exactly.
LOWBIT, LINEAR, ROWS, CONV, DENSE = "lowbit", "linear", "rows", "conv", "dense"
# A convolution of each channel by itself, [C, 1, kh, kw], is kept exactly as [kh, kw, C].
DEPTHWISE = "depthwise"
# A tensor of any rank that is kept exactly, and is floats of 32 bits on the GPU.
VECTOR = "vector"

# Tensors that no model here needs, whatever component they lie in: the whole name -> why.
HARMLESS = {
    r"(.+\.)?lm_head\..+": "the language-model head has no part in encoding",
    r"(score|classifier|v_head)\..+": "a head for other tasks",
    r"(.+\.)?position_ids": "the numbers of the positions, which follow from the length",
    r"(.+\.)?(rotary_emb\..+|inv_freq|freqs_cis|cos_cached|sin_cached)":
        "angles of the positions, which follow from config.json",
    r"(.+\.)?num_batches_tracked": "a counter of the training",
    r"loss\..+": "the loss of the training",
    r"(text_encoders|cond_stage_model|conditioner|vae|first_stage_model)\..+":
        "another part in the same file; text encoders and the autoencoder are read from their own "
        "folders",
    r"(.+\.)?(input_scale|scale_input|scaled_fp8)": "it concerns fp8 arithmetic alone",
    r"(.+\.)?__index_timestep_zero__": "a mark for ComfyUI",
}


@dataclass(frozen=True)
class Spec:
    """One tensor of the model: its shape at the source, [out, in] or [Cout, Cin, kh, kw]."""

    shape: tuple[int, ...]
    role: str = DENSE
    cut: int = 0  # column at which the runtime cuts it in two, which no group may cross
    plus: float = 0  # what is added to each of its values, in f32; only of what is kept exactly

    @property
    def is_linear(self):
        """Whether it may be quantised here, or be so at the source."""
        return self.role in (LINEAR, ROWS)


def vector(count, plus=0):
    return Spec((count,), VECTOR, plus=plus)


@dataclass(frozen=True)
class Expected:
    """One tensor of a source file."""

    shape: tuple[int, ...]
    dtypes: tuple[str, ...] = FLOATS


def by_prefix(reasons):
    """drop_reason(name) for tensors that are left out by the beginning of their name."""

    def drop_reason(name):
        return next((why for start, why in reasons.items() if name.startswith(start)), None)

    return drop_reason


def why_dropped(name, drop_reason):
    """Why a tensor that the model lacks is left out; None stops the build."""
    return drop_reason(name) or next(
        (why for pattern, why in HARMLESS.items() if re.fullmatch(pattern, name)), None
    )


def check_complete(component, expected, entries, drop_reason):
    """Every expected tensor is there with its shape and dtype, and every other one is dropped.

    `expected` maps source names to Expected, `entries` source names to anything with .shape and
    .dtype; drop_reason(name) says why a tensor is left out on purpose, or is None.
    Raises ExportError naming the tensors.
    """
    missing = expected.keys() - entries.keys()
    unknown = {n for n in entries.keys() - expected.keys() if not why_dropped(n, drop_reason)}
    mistyped = {name for name, want in expected.items()
                if name in entries and entries[name].dtype not in want.dtypes}
    if missing:
        quantisers.refuse_packing(component, entries, unknown)
    if missing or unknown or mistyped:
        quantisers.refuse(component, entries, unknown | mistyped)
    if missing:
        also = f"; {len(unknown)} unknown: {shorten(unknown)}" if unknown else ""
        raise ExportError(
            f"{component}: {len(missing)} tensors missing: {shorten(missing)}{also}; "
            "the file and its config.json do not belong together, or the download is incomplete"
        )
    if unknown:
        raise ExportError(
            f"{component}: {len(unknown)} tensors unknown: {shorten(unknown)}; "
            "the file and its config.json do not belong together"
        )
    for name, want in expected.items():
        got = entries[name]
        if tuple(got.shape) != want.shape:
            flipped = " (transposed?)" if tuple(got.shape) == want.shape[::-1] else ""
            raise ExportError(
                f"{component}: {name} is {list(got.shape)}{flipped}, "
                f"expected {list(want.shape)} by its config.json"
            )
        if got.dtype not in want.dtypes:
            raise ExportError(
                f"{component}: {name} has dtype {got.dtype}, expected {' or '.join(want.dtypes)}"
            )
