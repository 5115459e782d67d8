"""The folded schedule: Sana's modulations depend on the timestep alone, so they are tables.

Where guidance is embedded they depend on that too, and the tables are of the call's own. A table is
one schedule, f32 [steps, 8 D]: the blocks' six vectors, to each of which a block adds a table of
its own, then shift and scale of the last norm. The projections that they stand for are fetched only
for schedules without a table.
"""

from dataclasses import dataclass

import numpy as np

from export.denoisers.sana import WAVES, time_embedding
from export.denoisers.schedule_tables import Table
from export.denoisers.time_embedding import project, silu, waves
from export.packing.formats import DTYPE_OF, Storage
from export.source.safetensors import widen

TABLE_STEPS = 50  # the most that a table is made for: all that a request may ask for
PARTS = (6, 2)  # vectors of D values: the blocks', the last norm's
FINAL = "scale_shift_table"
f32 = np.float32


@dataclass(frozen=True)
class Folding:
    """The first table is of the default size and steps, which a first picture needs.

    guidance: the scale, where it is embedded; told: the number that its embedder has of it.
    """

    tables: list[Table]
    projections: tuple[str, ...]
    guidance: float | None
    told: np.ndarray

    def manifest(self, component):
        """With the names of the component's tensors as the manifest has them."""
        return {
            "projections": [f"{component}.{name}" for name in self.projections],
            "parts": PARTS,
            "tables": [table.entry(component, self.guidance) for table in self.tables],
        }

    def computer(self):
        return Modulations(self)


def plan_folding(config, call, pixels, times):
    """A table for each number of steps; and, if times(steps, tokens) differ by that, of tokens."""
    sides = ([call.width, call.height], *call.sizes)
    tokens = list(dict.fromkeys(width * height // pixels**2 for width, height in sides))
    tables = {}
    for count in tokens:
        for steps in (call.num_inference_steps, *range(1, TABLE_STEPS + 1)):
            moments = times(steps, count)
            shared = all(np.array_equal(moments, times(steps, other)) for other in tokens)
            name = f"folded.{steps}" if shared else f"folded.{count}.{steps}"
            tables[name] = Table(
                name, None if shared else count, f32(moments) * f32(config.timestep_scale),
                Storage("f32", (steps, sum(PARTS) * config.width)))
    guidance = call.guidance.scale if config.guidance_embeds else None
    told = f32([guidance or 0]) * f32(config.guidance_embeds_scale)
    return Folding(list(tables.values()), tuple(time_embedding(config)), guidance, told)


class Modulations:
    """Computes the tables as the projections pass by, in their order, one at a time.

    vector: where the embedder stands that is at work, float64 [T, *]; embedded [T, D]: the sum of
    what the embedders that are done have made.
    """

    def __init__(self, folding):
        self.told = folding.told
        self.timesteps = np.unique(np.concatenate([t.timesteps for t in folding.tables]))
        self.weight, self.vector, self.embedded, self.rows = None, None, 0.0, []

    def take(self, name, packed):
        """The next of Folding.projections, as its layout packs it: weights, then their biases."""
        data, dtype = packed.parts["data"], DTYPE_OF[packed.storage.kind]
        if name == FINAL:
            self.rows.append(np.tile(self.embedded, 2) + widen(data, dtype).reshape(-1))
        elif name.endswith(".weight"):
            self.weight = data, dtype
        else:
            self.linear(name.removesuffix(".bias"), widen(data, dtype).astype(float))

    def linear(self, name, bias):
        """What the linear of this name, whose weight came before, makes of what came to it."""
        if name == "time_embed.linear":
            self.rows.append(project(silu(self.embedded), *self.weight) + bias)
        elif name.endswith(".linear_1"):
            told = self.told if "guidance" in name else self.timesteps
            self.vector = silu(project(waves(told, WAVES), *self.weight) + bias)
        else:
            self.embedded = self.embedded + (project(self.vector, *self.weight) + bias)

    def table(self, table):
        """f32 [steps, 8 D]."""
        at = np.searchsorted(self.timesteps, table.timesteps)
        return np.concatenate([rows[at] for rows in self.rows], axis=1).astype("<f4")
