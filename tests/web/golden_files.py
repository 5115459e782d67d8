"""The numbers of tests/web/goldens/, which tests/goldens.py writes: read without torch."""

import base64
import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent / "goldens"


def read(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def encode(values):
    """f32 in base64, little-endian."""
    return base64.b64encode(np.asarray(values, "<f4").tobytes()).decode()


def decode(text):
    return np.frombuffer(base64.b64decode(text), "<f4")
