"""A picture of FLUX.1 in the browser beside diffusers': its models, and its texts' stages."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from tests import parity


@dataclass(frozen=True)
class Model:
    """shape and variant as make_flux1 takes them."""

    shape: str
    variant: str = "ternary"

    @property
    def id(self):
        return f"{self.shape}-{self.variant}"


def make(folder, model):
    from tests.flux1_checkpoints import make_flux1  # torch, which takes seconds

    make_flux1(folder, model.shape, model.variant)


def add_texts(result, seen, want):
    for n, (encoder, ids) in enumerate(want["token_ids"].items()):
        name = f"token_ids.{n}" if n else "token_ids"
        np.testing.assert_array_equal(seen[name], ids, err_msg=f"ids of {encoder}")
    result.add("pooled", seen["encoder_rows"], want["pooled"])
    result.add("rows", seen["encoder_rows.1"], want["rows"])


compare = partial(parity.compare, add_texts=add_texts)
