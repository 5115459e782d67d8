"""The settings that decide a run's result: one place for defaults, limits and help.

The defaults are for models of billions of weights; small ones learn faster with higher rates.
"""

from dataclasses import MISSING, asdict, dataclass, field, fields

from export.errors import ExportError

STAGES = ("init", "reconstruct", "train", "finish")
SKIPPABLE = STAGES[1:]
ROW_WEIGHTS = EVEN, SENSITIVITY = "even", "sensitivity"  # of a text encoder
COMPONENTS = TRANSFORMER, TEXT_ENCODER = "transformer", "text_encoder"
# Binary is further from the teacher: it learns twice as long, half as fast, and from the features.
DEFAULTS = {
    "ternary": {"train_steps": 20000, "rate": 2e-5, "feature_weight": 0.05},
    "binary": {"train_steps": 40000, "rate": 1e-5, "feature_weight": 0.15},
}


def option(default, text, least=0):
    return field(default=default, metadata={"help": text, "least": least})


@dataclass(frozen=True)
class Settings:
    bits: str
    component: str = TRANSFORMER
    train_steps: int = option(None, "straight-through steps (20000; binary 40000)")
    rate: float = option(None, "peak learning rate of the latent weights (2e-5; binary 1e-5)")
    feature_weight: float = option(None, "weight of the block-feature loss (0.05; binary 0.15)")
    dense_rate: float = option(1e-4, "peak learning rate of scales and dense tensors")
    finish_steps: int = option(1500, "steps with frozen codes")
    reconstruct_steps: int = option(300, "steps for each block in the reconstruction")
    reconstruct_samples: int = option(64, "teacher states that a block is reconstructed on", 1)
    reconstruct_rate: float = option(1e-4, "peak learning rate in the reconstruction")
    batch: int = option(128, "samples a step, over all processes", 1)
    micro_batch: int = option(4, "samples that one process computes at once", 1)
    held_out: int = option(32, "prompts, the last ones of the file, that only measure", 1)
    seeds_per_prompt: int = option(1, "teacher trajectories for each prompt", 1)
    blend_share: float = option(0.25, "share of the training in which float weights fade out")
    average: float = option(0.999, "decay of the moving average of the trained weights; 0: none")
    group: int = option(0, "inputs that share a scale; 0: what the family has published")
    seed: int = option(0, "of everything random")
    scales: str = "least-squares"
    compute: str = "bf16"
    text_encoder_bits: int = 4
    checkpointing: bool = True
    prune: bool = False
    row_weights: str = EVEN
    skip: tuple = ()

    def check(self, processes):
        """Raises ExportError for a setting outside its limits."""
        for entry in fields(self):
            value, least = getattr(self, entry.name), entry.metadata.get("least")
            if least is not None and not value >= least:
                raise ExportError(f"{flag(entry.name)} is {value}, expected at least {least}")
        for name in ("blend_share", "average"):
            if getattr(self, name) > 1:
                raise ExportError(f"{flag(name)} is {getattr(self, name)}, expected 0 to 1")
        if self.batch % processes:
            raise ExportError(
                f"--batch is {self.batch}, expected a multiple of the {processes} processes"
            )

    def steps(self, stage):
        return {"train": self.train_steps, "finish": self.finish_steps}[stage]

    def as_json(self):
        return asdict(self) | {"skip": list(self.skip)}


def flag(name):
    return "--" + name.replace("_", "-")


def with_defaults(values):
    """Settings from the given values; those that are None take the default of their bits."""
    given = {name: value for name, value in values.items() if value is not None}
    return Settings(**(DEFAULTS[values["bits"]] | given))


def numeric_fields():
    """(name, type, default, help) of the settings that take a number."""
    for entry in fields(Settings):
        if "help" in entry.metadata and entry.default is not MISSING:
            yield entry.name, entry.type, entry.default, entry.metadata["help"]
