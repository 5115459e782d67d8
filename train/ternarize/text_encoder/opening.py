"""The teacher: a model's folder, which of its encoders is made low-bit, and what surrounds it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from export.errors import ExportError, shorten
from export.families.family import ENCODER, Part
from export.finding import find_model
from export.opening import open_model
from train.ternarize.text_encoder.encoders import KINDS, Encoder
from train.ternarize.weights import fingerprint


@dataclass(frozen=True)
class Opened:
    """folder: of the teacher; model: export's, with everything but weights; part: the encoder's."""

    folder: Path
    model: Any
    part: Part
    encoder: Encoder

    @cached_property
    def call(self):
        """What tells which texts are read, and which of their rows."""
        call = self.model.call
        return call.max_sequence_length, self.encoder.taps, sorted(call.own.items())

    def fingerprint(self):
        return fingerprint([self.encoder.folder], repr(self.call))


def open_teacher(name):
    """The Opened of a diffusers folder or repository. Raises ExportError."""
    source = find_model(name, text_encoder_bits=16)
    model = open_model(source, text_encoder_bits=16)
    part = next((part for part in model.family.parts
                 if part.kind == ENCODER and part.module.CLASS in KINDS), None)
    if part is None:
        raise ExportError(f"{source.folder}: the family {model.family.name} has no text encoder "
                          f"of the kinds {shorten(KINDS)}, which this version makes low-bit")
    folder = Path(source.folder) / part.folder
    require_full_precision(folder)
    taps = getattr(model.components[part.name].config, "taps", None)
    encoder = Encoder.read(folder, KINDS[part.module.CLASS], taps)
    return Opened(Path(source.folder), model, part, encoder)


def require_full_precision(folder):
    if not any(folder.glob("*.safetensors")):
        raise ExportError(f"{folder.parent}: no {folder.name}/ with safetensors, expected the "
                          "text encoder in full precision; a packed one cannot teach")


def open_student(path, teacher):
    """The Encoder of --student-encoder: an encoder's folder, or a model's that holds one.

    Its taps lie where the teacher's do, as shares of its depth. Raises ExportError.
    """
    own = path / teacher.part.folder
    folder = own if own.is_dir() else path
    require_full_precision(folder)
    kind, wanted = teacher.encoder.kind, teacher.encoder
    if not hasattr(wanted.config, "taps"):
        return checked(Encoder.read(folder, kind), wanted)
    total = Encoder.read(folder, kind, (1,)).total
    taps = tuple(max(1, round(tap * total / wanted.total)) for tap in wanted.taps)
    if len(set(taps)) < len(taps):
        raise ExportError(f"--student-encoder {folder}: has {total} layers, too few for the "
                          f"teacher's {len(taps)} taps {list(wanted.taps)} of {wanted.total}")
    return checked(Encoder.read(folder, kind, taps), wanted)


def checked(encoder, wanted):
    """Both read the ids of one tokenizer."""
    got, least = (each.config.vocab_size for each in (encoder, wanted))
    if got < least:
        raise ExportError(f"--student-encoder {encoder.folder}: vocab_size is {got}, expected "
                          f"the teacher's {least} or more, since both read one tokenizer's ids")
    return encoder
