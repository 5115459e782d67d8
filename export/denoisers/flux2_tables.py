"""The folded schedule: FLUX.2's modulations depend on the timestep alone, so they are tables.

A table is one schedule, a number of steps at a number of image tokens: f32 [steps, 17 D] =
double_stream_modulation img [6 D] and txt [6 D], single_stream [3 D], norm_out [2 D]. The
projections that they stand for are fetched only for schedules without a table.
"""

from dataclasses import dataclass

import numpy as np

from export.denoisers.schedule_tables import Table
from export.denoisers.time_embedding import project, silu, waves
from export.packing.formats import DTYPE_OF, Storage
from export.samplers.flow_euler import times

TABLE_STEPS = 8  # the most that a table is made for
EMBEDDERS = tuple(f"time_guidance_embed.timestep_embedder.linear_{n}.weight" for n in (1, 2))
MODULATIONS = (  # in the order of a row
    "double_stream_modulation_img.linear.weight",
    "double_stream_modulation_txt.linear.weight",
    "single_stream_modulation.linear.weight",
    "norm_out.linear.weight",
)
PARTS = (6, 6, 3, 2)  # vectors of D values that each of them makes


@dataclass(frozen=True)
class Folding:
    """The first table is of the default size and steps, which a first picture needs.

    channels: of the timestep's waves.
    """

    tables: list[Table]
    channels: int
    projections = (*EMBEDDERS, *MODULATIONS)

    def manifest(self, component):
        """With the names of the component's tensors as the manifest has them."""
        return {
            "projections": [f"{component}.{name}" for name in self.projections],
            "parts": PARTS,
            "tables": [table.entry(component) for table in self.tables],
        }

    def computer(self):
        return Modulations(self)


def plan_folding(config, call, pixels, scheduler):
    """A table for each number of tokens of the offered sizes and each number of steps."""
    default = call.num_inference_steps
    tables = {}
    for width, height in ([call.width, call.height], *call.sizes):
        tokens = width * height // pixels**2
        for steps in (default, *range(1, TABLE_STEPS + 1)):
            name = f"folded.{tokens}.{steps}"
            storage = Storage("f32", (steps, sum(PARTS) * config.width))
            tables[name] = Table(name, tokens, times(steps, tokens, scheduler), storage)
    return Folding(list(tables.values()), config.timestep_guidance_channels)


class Modulations:
    """Computes the tables as the projections pass by, in their order, one at a time."""

    def __init__(self, folding):
        self.tables = folding.tables
        self.timesteps = np.unique(np.concatenate([table.timesteps for table in self.tables]))
        self.vector = waves(self.timesteps, folding.channels)  # becomes silu(temb), float64 [T, D]
        self.rows = []

    def take(self, name, packed):
        """The next of Folding.projections, as its layout packs it."""
        weight, dtype = packed.parts["data"], DTYPE_OF[packed.storage.kind]
        if name in EMBEDDERS:
            self.vector = silu(project(self.vector, weight, dtype))
        else:
            self.rows.append(project(self.vector, weight, dtype).astype("<f4"))

    def table(self, table):
        """f32 [steps, 17 D]."""
        at = np.searchsorted(self.timesteps, table.timesteps)
        return np.concatenate([rows[at] for rows in self.rows], axis=1)
