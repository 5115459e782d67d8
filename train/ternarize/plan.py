"""What a run will take, counted before any weight is loaded: steps, FLOP, memory, disk and hours.

Of a sample that is taught the backward is two forwards, and one more where activations are
checkpointed.
"""

import math
from dataclasses import dataclass

from export.errors import ExportError
from export.families.family import ENCODER
from export.packing.spec import LINEAR
from train.ternarize.counting import Forward, count_forward, outline
from train.ternarize.measure import SIGMAS
from train.ternarize.run import DTYPES
from train.ternarize.stages import STAGES
from train.ternarize.states import ROLLOUT_SHARE, ROLLOUTS_FROM
from train.ternarize.trajectories import encoder_bits, stored_arrays

BACKWARD = 2  # forwards that a backward takes
# Bytes of each weight, all but the first three only of the process that holds it (FSDP2).
MASTER, GRADIENT, ADAMW, AVERAGE, VALUE = 4, 4, 8, 4, 1
LOADED = 8  # bytes of each weight that a process reads in f32, and keeps a copy of


@dataclass(frozen=True)
class Hardware:
    """gpus of `teraflops` each at `compute`, of which a run reaches a `share`, and their memory."""

    gpus: int = 1
    teraflops: float = 989
    share: float = 0.4
    gigabytes: float = 80

    def check(self):
        """Raises ExportError for what no machine is."""
        for name in ("gpus", "teraflops", "share", "gigabytes"):
            if not getattr(self, name) > 0:
                raise ExportError(f"--{name} is {getattr(self, name)}, expected more than 0")


@dataclass(frozen=True)
class Plan:
    """stages: name -> (steps, FLOP), drawing first; the bytes of one process at its peak."""

    stages: dict[str, tuple[int, float]]
    forward: Forward
    train_bytes: dict[str, int]
    draw_bytes: dict[str, int]
    main_bytes: int  # of a machine that all processes run on, while weights are loaded
    disk_bytes: dict[str, int]

    @property
    def flop(self):
        return sum(flop for _, flop in self.stages.values())

    @property
    def peak_bytes(self):
        return max(sum(self.train_bytes.values()), sum(self.draw_bytes.values()))


def make_plan(family, settings, prompts, processes=1):
    """The Plan of a family's teacher; prompts: train.ternarize.prompts.Prompts."""
    forward = count_forward(family, settings)
    encoders = count_encoders(family, settings)
    calls = 2 if family.negative_prompt is not None else 1
    steps, rows = len(family.sigmas) - 1, len(prompts.texts) * settings.seeds_per_prompt
    drawing = rows * steps * calls * forward.flop + len(prompts.texts) * encoders["flop"]
    stages = {"draw": (rows * steps, drawing)}
    measured = (settings.held_out * settings.seeds_per_prompt * (steps + len(SIGMAS))
                * 2 * calls * forward.flop)
    for name in STAGES:
        if name not in settings.skip:
            count, flop = stage_flop(name, family, settings, forward, calls)
            stages[name] = count, flop + measured
    return Plan(stages, forward, train_bytes(family, settings, forward, processes),
                draw_bytes(settings, forward, encoders, processes),
                LOADED * forward.weights * processes,
                disk_bytes(family, settings, forward, len(prompts.texts)))


def stage_flop(name, family, settings, forward, calls):
    """(steps of a stage, their FLOP over all processes)."""
    taught = 1 + 1 + BACKWARD + settings.checkpointing  # the teacher's forward, the student's
    if name == "init":
        return 1, 0.0
    if name == "reconstruct":
        blocks = len(family.blocks(outline(family)))
        recorded = 2 * blocks * settings.reconstruct_samples * forward.flop
        fitted = settings.reconstruct_steps * settings.micro_batch * (taught - 1) * forward.flop
        return blocks * settings.reconstruct_steps, recorded + fitted
    steps, depths = settings.steps(name), max(len(family.sigmas) - 2, 1)
    rolled = (ROLLOUT_SHARE * (1 - ROLLOUTS_FROM) * (1 + depths) / 2 * calls
              if len(family.sigmas) > 2 else 0.0)
    return steps, steps * settings.batch * (taught + rolled) * forward.flop


def count_encoders(family, settings):
    """{flop a prompt, weights} of the text encoders that draw: the teacher's, and the student's."""
    length, weights, linear = family.model.call.max_sequence_length, 0, 0
    for part in family.model.family.parts:
        if part.kind == ENCODER:
            specs = family.model.components[part.name].specs.values()
            weights += sum(math.prod(spec.shape) for spec in specs)
            linear += sum(math.prod(spec.shape) for spec in specs if spec.role == LINEAR)
    count = len(encoder_bits(settings))
    return {"flop": 2.0 * count * linear * length, "weights": count * weights}


def learnt(family, settings, forward):
    """(numbers that are learnt: weights, and scales beside them; low-bit weights)."""
    specs = family.model.denoiser.layout.specs
    lowbit = sum(math.prod(specs[name].shape) for name in family.lowbit)
    return forward.weights + lowbit // family.group, lowbit


def train_bytes(family, settings, forward, processes):
    """What one process holds while it trains, by what it is."""
    element = DTYPES[settings.compute].itemsize
    numbers, lowbit = learnt(family, settings, forward)
    sharded = {
        "student and teacher": 2 * element * forward.weights,
        "gradients as computed": element * forward.weights,
        "masters and their gradients": (MASTER + GRADIENT) * numbers,
        "AdamW": ADAMW * numbers,
        "moving average": AVERAGE * numbers if settings.average else 0,
        "values": VALUE * lowbit,
    }
    held = {name: size // processes for name, size in sharded.items()}
    if processes > 1:
        held["gathered blocks"] = 2 * element * forward.largest_unit
    return held | {"activations": forward.activation_bytes}


def draw_bytes(settings, forward, encoders, processes):
    """What one process holds while the teacher draws; the encoders are not shared out."""
    element = DTYPES[settings.compute].itemsize
    return {"teacher": element * forward.weights // processes,
            "text encoders": element * encoders["weights"]}


def disk_bytes(family, settings, forward, prompts):
    """What --work holds: drawings, and a checkpoint beside the one that it replaces."""
    arrays = stored_arrays(family, prompts, settings.seeds_per_prompt,
                           len(encoder_bits(settings)))
    numbers, lowbit = learnt(family, settings, forward)
    average = AVERAGE if settings.average else 0
    checkpoint = (MASTER + ADAMW + average) * numbers + 2 * VALUE * lowbit
    return {"drawings": sum(math.prod(shape) * dtype().itemsize
                            for dtype, shape in arrays.values()),
            "checkpoints": 2 * checkpoint}


def as_text(plan, family, settings, prompts, hardware):
    """The plan to read, a string."""
    gpus, rate = hardware.gpus, hardware.teraflops * 1e12 * hardware.share
    width, height = family.size
    lines = [
        f"{family.folder.name}: {plan.forward.weights:,} weights become {settings.bits}, a scale "
        f"for each {family.group}; {len(prompts.texts):,} prompts, {width} x {height} pixels in "
        f"{len(family.sigmas) - 1} steps, {settings.compute}",
        f"a forward of one sample: {plan.forward.flop / 1e12:.4g} TFLOP",
        "", f"{'stage':12} {'steps':>10} {'PFLOP':>12} {'hours':>9}",
    ]
    stages = plan.stages | {"all": ("", plan.flop)}
    for name, (steps, flop) in stages.items():
        count = f"{steps:,}" if steps else ""
        lines.append(f"{name:12} {count:>10} {flop / 1e15:12,.1f} "
                     f"{flop / (rate * gpus) / 3600:9,.1f}")
    lines += ["", f"on {gpus} GPU{'s' * (gpus > 1)} of {hardware.teraflops:g} TFLOP/s, of which "
              f"{hardware.share:.0%} are reached", ""]
    for what, table in (("memory of a GPU while training", plan.train_bytes),
                        ("memory of a GPU while drawing", plan.draw_bytes),
                        ("main memory of one machine", {"weights in f32": plan.main_bytes}),
                        ("disk", plan.disk_bytes)):
        lines.append(f"{what + ', GB':36} {sum(table.values()) / 1e9:9.2f}")
        lines += [f"    {name:32} {size / 1e9:9.2f}" for name, size in table.items()]
    fits = "fits" if plan.peak_bytes <= hardware.gigabytes * 1e9 else "does not fit"
    lines += ["", f"{plan.peak_bytes / 1e9:.1f} GB of a GPU at the most: {fits} in "
              f"{hardware.gigabytes:g} GB"]
    return "\n".join(lines)
