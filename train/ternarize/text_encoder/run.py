"""One run that makes a text encoder low-bit: as any other, but that rows take velocities' place."""

from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from train.ternarize import measure, processes
from train.ternarize.descent import Descent
from train.ternarize.files import load_checkpoint
from train.ternarize.grid import FITS
from train.ternarize.reconstruct import reconstruct_on
from train.ternarize.run import Run
from train.ternarize.settings import SENSITIVITY
from train.ternarize.states import STAGE_NUMBER
from train.ternarize.student import Student
from train.ternarize.text_encoder import figures
from train.ternarize.text_encoder.adapter import attach, fit_adapter
from train.ternarize.text_encoder.losses import EVEN, Weights, distances
from train.ternarize.text_encoder.opening import Opened
from train.ternarize.text_encoder.sensitivity import measure_weights
from train.ternarize.text_encoder.table import stored_table
from train.ternarize.text_encoder.texts import NEGATIVE_SHARE, Texts, read_texts
from train.ternarize.weights import fingerprint


@dataclass
class EncoderRun(Run):
    """`family` is the student's Encoder, `opened` the teacher's with all that surrounds it."""

    opened: Opened | None = None
    texts: Texts | None = None
    original: Any = None   # the student's module in full precision; the teacher, if that is one
    tables: Any = None     # of embeddings, by module: the teacher's, and the student's as stored
    weights: Weights = EVEN

    @cached_property
    def identity(self):
        return self.settings.as_json() | {
            "teacher": self.opened.fingerprint(), "prompts": self.prompts.digest,
            "student_encoder": fingerprint([self.family.folder]),
            "processes": processes.count(), "device": self.device.type,
        }

    @property
    def trained_rows(self):
        return self.prompts.trained

    @property
    def held_out_rows(self):
        return list(range(self.prompts.trained, len(self.prompts.texts)))

    @property
    def has_adapter(self):
        return self.family is not self.opened.encoder

    def prepare(self):
        """Loads teacher and student, reads the prompts, and resumes. Raises ExportError."""
        saved = load_checkpoint(self.work / "checkpoint")
        if saved is not None:
            self.refuse_other(saved.get("identity", {}))
        settings, wanted = self.settings, self.opened.encoder
        self.texts = read_texts(self.opened.model, self.opened.part.name, self.prompts.texts)
        teacher, table, weights = wanted.load()
        self.teacher = self.frozen(deepcopy(teacher), wanted)
        self.original, module, own_table = self.teacher, teacher, table
        if self.has_adapter:
            module, own_table, weights = self.family.load()
            self.original = self.frozen(deepcopy(module), self.family)
            weights |= attach(module, self.family, wanted)
        stored = stored_table(self.family, own_table, settings.text_encoder_bits)
        if settings.checkpointing:
            module.activation_checkpointing_enable({"use_reentrant": False})
        module = self.place(as_type(module, self.dtype))
        self.student = Student(
            module, weights, self.family.lowbit, self.family.group, settings.bits)
        tables = {self.teacher: table, self.original: own_table, module: stored}
        self.tables = {each: as_type(t, self.dtype).to(self.device) for each, t in tables.items()}
        if settings.row_weights == SENSITIVITY:
            self.weights = measure_weights(self)
        if saved is not None:
            self.restore(saved)

    def frozen(self, module, encoder):
        module = as_type(module.eval().requires_grad_(False), self.dtype)
        return self.shard(module, encoder)

    def place(self, module):
        return self.shard(module, self.family)

    def shard(self, module, encoder):
        for child in module.children():
            child.to(self.device)
        return processes.shard(module, encoder.units(module))

    def compute(self, module, batch):
        """Rows f32 [B, L, taps, D], as the denoiser of the teacher reads them."""
        encoder = self.opened.encoder if module is self.teacher else self.family
        rows = encoder.rows(module, self.tables[module](batch.ids), batch.attended)
        if not hasattr(module, "adapter"):
            return rows
        wanted = self.opened.encoder
        adapted = module.adapter(rows.flatten(2).to(self.dtype)).float()
        return adapted.unflatten(-1, (len(wanted.taps), wanted.width))

    def batch(self, rows):
        return self.texts.batch(rows, self.device)

    def end(self):
        """Measures the student and writes the figures down; the next stage begins."""
        self.student.load()
        points = figures.held_out(self, self.held_out_rows)
        layers = measure.layers(self.student, self.original, self.reference)
        self.record["stages"].append({
            "stage": self.stage, "summary": measure.summary(layers, points),
            "held_out": points, "layers": layers,
        })
        self.skip()
        self.save()


def as_type(module, dtype):
    """The module with its parameters in dtype; the angles of positions, which are none, stay."""
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)
    return module


class RowDescent(Descent):
    """The training loop on rows."""

    OUTPUT = "rows"

    def accumulate(self, step, fraction, weight, blend, learn_scales):
        """Gradients of the whole step in the masters. Returns the summed losses f64 [2]."""
        run, settings = self.run, self.settings
        mine = range(processes.rank(), settings.batch, processes.count())
        chosen = [choose(run, step, i) for i in mine]
        sums = torch.zeros(2, dtype=torch.float64)
        for first in range(0, len(chosen), settings.micro_batch):
            batch = run.batch(chosen[first : first + settings.micro_batch])
            rows, feature = distances(run, batch, weight > 0)
            ((rows + weight * feature).sum() / len(chosen)).backward()
            self.student.collect(blend, learn_scales)
            sums += torch.stack([rows.detach().sum(), feature.detach().sum()]).double().cpu()
        return sums


def choose(run, step, i):
    """The text of sample i of a step."""
    random = np.random.default_rng((run.settings.seed, STAGE_NUMBER[run.stage], step, i))
    if run.texts.negative and random.random() < NEGATIVE_SHARE:
        return len(run.texts.ids) - 1
    return int(random.integers(run.trained_rows))


def init(run):
    run.student.initialise(FITS[run.settings.scales])
    if run.has_adapter:
        fit_adapter(run)


def reconstruct(run):
    """On texts of the prompts, evenly."""
    settings, count = run.settings, processes.count()
    size = settings.micro_batch
    each = -(-settings.reconstruct_samples // (size * count)) * size  # whole batches
    random = np.random.default_rng((settings.seed, STAGE_NUMBER["reconstruct"]))
    own = random.integers(run.trained_rows, size=each * count)[processes.rank() :: count]
    batches = [run.batch(own[i : i + size]) for i in range(0, len(own), size)]
    reconstruct_on(run, batches, run.original)


def learn(run):
    RowDescent(run).run_all()


def finish(run):
    if not run.student.frozen:
        run.student.freeze()
    learn(run)


STAGES = {"init": init, "reconstruct": reconstruct, "train": learn, "finish": finish}
