"""One run of the ternariser: teacher, student and what is known so far, saved and resumed."""

import time
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from export.errors import ExportError
from train.ternarize import measure, processes
from train.ternarize.family import Teacher
from train.ternarize.files import load_checkpoint, save_checkpoint
from train.ternarize.settings import STAGES
from train.ternarize.student import Student
from train.ternarize.trajectories import Trajectories, draw

DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}


@dataclass
class Run:
    settings: Any
    family: Teacher
    prompts: Any
    work: Path
    device: torch.device
    progress: Any
    save_seconds: float
    student: Student | None = None
    teacher: Any = None
    trajectories: Trajectories | None = None
    stage: str = STAGES[0]
    step: int = 0                                   # inside the stage
    loop: dict = field(default_factory=dict)        # what the stage itself must remember
    reference: dict = field(default_factory=dict)   # the values at the beginning of the stage
    record: dict = field(default_factory=lambda: {"curves": {}, "stages": []})
    saved_at: float = field(default_factory=time.monotonic)

    @property
    def dtype(self):
        return DTYPES[self.settings.compute]

    @cached_property
    def identity(self):
        """Everything that the result depends on; a checkpoint of another identity is refused."""
        return self.settings.as_json() | {
            "teacher": self.family.fingerprint(), "prompts": self.prompts.digest,
            "processes": processes.count(), "device": self.device.type,
        }

    @property
    def trained_rows(self):
        return self.prompts.trained * self.settings.seeds_per_prompt

    @property
    def held_out_rows(self):
        return list(range(self.trained_rows, len(self.trajectories.states)))

    def prepare(self, folder):
        """Loads teacher and student, draws the trajectories, and resumes. Raises ExportError."""
        family, settings = self.family, self.settings
        saved = load_checkpoint(self.work / "checkpoint")
        if saved is not None:
            self.refuse_other(saved.get("identity", {}))
        transformer, weights = family.load_transformer()
        family.prepare(transformer, self.dtype)
        self.teacher = self.place(deepcopy(transformer).requires_grad_(False))
        draw(folder, family, self.teacher, self.prompts, settings, self.dtype, self.device,
             self.progress)
        self.trajectories = Trajectories(folder, family, settings, self.dtype, self.device)
        if settings.checkpointing:
            transformer.enable_gradient_checkpointing()
        self.student = Student(
            self.place(transformer), weights, family.lowbit, family.group, settings.bits
        )
        if saved is not None:
            self.restore(saved)

    def place(self, transformer):
        for child in transformer.children():
            child.to(self.device)
        for parameter in transformer.parameters(recurse=False):
            parameter.data = parameter.data.to(self.device)
        return processes.shard(transformer, self.family.units(transformer))

    def compute(self, transformer, batch):
        """What the teacher or the student says to a batch."""
        return self.family.velocity(transformer, *batch.inputs(transformer is self.teacher))

    def refuse_other(self, identity):
        for key, value in self.identity.items():
            if identity.get(key) != value:
                raise ExportError(
                    f"{self.work}: holds a run with {key} {identity.get(key)}, got {value}; go on "
                    "with the same settings, name another --work, or --restart"
                )

    def restore(self, saved):
        self.stage, self.step, self.loop = saved["stage"], saved["step"], saved["loop"]
        self.reference, self.record = saved["reference"], saved["record"]
        self.student.restore(saved["student"])

    def save(self, loop=None):
        """Writes a checkpoint; `loop` is what the stage needs to go on."""
        self.loop = loop or {}
        save_checkpoint(self.work / "checkpoint", {
            "identity": self.identity, "stage": self.stage, "step": self.step, "loop": self.loop,
            "reference": self.reference, "record": self.record, "student": self.student.state(),
        })
        self.saved_at = time.monotonic()

    def save_when_due(self, make_loop):
        due = time.monotonic() - self.saved_at >= self.save_seconds
        if processes.agree(due, self.device):
            self.save(make_loop())

    def begin(self):
        """At the first step of a stage: remembers the values that its flips are counted from."""
        if self.step == 0 and self.stage != "init":
            values = self.student.values.items()
            self.reference = {name: value.to("cpu", copy=True) for name, value in values}

    def end(self):
        """Measures the student and writes the figures down; the next stage begins."""
        self.student.load()
        points = measure.held_out(self, self.held_out_rows)
        layers = measure.layers(self.student, self.teacher, self.reference)
        self.record["stages"].append({
            "stage": self.stage, "summary": measure.summary(layers, points),
            "held_out": points, "layers": layers,
        })
        self.skip()
        self.save()

    def skip(self):
        """Goes on to the next stage, or to none."""
        following = STAGES.index(self.stage) + 1
        self.stage = STAGES[following] if following < len(STAGES) else None
        self.step, self.loop, self.reference = 0, {}, {}
