"""A picture of Sana in the browser beside diffusers': its models, and its texts' stages."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from tests import parity

NEGATIVE = "grey, flat, blurred"


@dataclass(frozen=True)
class Model:
    """shape, variant, scheduler as make_sana takes them."""

    shape: str
    variant: str = "ternary"
    scheduler: str | None = None

    @property
    def id(self):
        return "-".join(filter(None, (self.shape, self.variant, self.scheduler)))


def make(folder, model):
    from tests.sana_checkpoints import make_sana  # torch, which takes seconds

    make_sana(folder, model.shape, model.variant, model.scheduler)


def add_texts(result, seen, want):
    for text, ids in want["token_ids"].items():
        before = "" if text == "prompt" else "negative."
        np.testing.assert_array_equal(seen[f"{before}token_ids"], ids, err_msg=f"ids of {text}")
        result.add(f"rows of {text}", seen[f"{before}encoder_rows"], want["rows"][text])


compare = partial(parity.compare, add_texts=add_texts)
