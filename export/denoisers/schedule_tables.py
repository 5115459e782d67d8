"""A folded schedule's tables and how the manifest names them, whatever a row of them holds."""

from dataclasses import dataclass

import numpy as np

from export.packing.formats import Storage


@dataclass(frozen=True)
class Table:
    """`name` follows the component's: transformer.folded.1024.4 is of 1024 tokens and 4 steps.

    tokens: how many it holds for alone, None for any; timesteps: f32 [steps], as the embedder is
    told them.
    """

    name: str
    tokens: int | None
    timesteps: np.ndarray
    storage: Storage

    def entry(self, component, guidance=None):
        """The manifest's; guidance: the scale that it holds for alone, None for any."""
        tokens = {} if self.tokens is None else {"tokens": self.tokens}
        scale = {} if guidance is None else {"guidance": guidance}
        return tokens | scale | {"steps": len(self.timesteps),
                                 "tensor": f"{component}.{self.name}"}
