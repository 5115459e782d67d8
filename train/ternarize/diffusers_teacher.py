"""What the families have in common: a diffusers folder as a teacher and as a student.

A family's own class says which classes it is made of, how it is called and how prompts are encoded;
the interface is described in family.py.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from transformers.utils import logging

from export.errors import ExportError
from export.families.family import ENCODER
from export.layouts import home
from export.opening import open_model
from export.packing.formats import GROUP_STEP
from export.packing.spec import LOWBIT
from train.ternarize.folder import rounded_encoder, write_folder
from train.ternarize.weights import fingerprint, refuse_lowbit, refuse_not_finite


class DiffusersTeacher:
    transformer_class: Any
    encoder_classes: dict[str, Any]  # folder -> class
    published_groups: tuple[int, ...] = (128,)
    time_embedding: str  # the submodule that time and what else modulates go through
    negative_prompt: str | None = None  # of classifier-free guidance
    step: Callable
    shapes: Callable     # text tokens -> context_shapes
    schedule: Callable   # steps -> sigmas
    told: Callable       # a hook: what the time embedding is called with

    def __init__(self, source, steps=None, width=None, height=None, group=0):
        self.folder = source.folder
        self.model = open_model(source, text_encoder_bits=16)
        layout, call = self.model.denoiser.layout, self.model.call
        if layout.name != "unpacked":
            folder = home(type(layout), self.model.denoiser.part.folder)
            raise ExportError(f"{self.folder}: holds {folder}/, a packed model cannot teach")
        self.size = width or call.width, height or call.height
        patch = self.model.latents.pixels
        for side in self.size:
            if side % patch:
                raise ExportError(f"the picture is {self.size[0]} x {self.size[1]}, expected "
                                  f"multiples of {patch}")
        specs = {name: s for name, s in layout.specs.items() if s.role == LOWBIT}
        self.lowbit = list(specs)
        self.group = choose_group(specs.values(), self.published_groups, group)
        self.columns, self.rows = (side // patch for side in self.size)
        self.config, self.guidance = self.model.denoiser.config, call.guidance
        self.state_shape = (self.rows * self.columns, self.config.in_channels)
        self.context_shapes = self.shapes(call.max_sequence_length)
        self.sigmas = self.schedule(steps or call.num_inference_steps)

    def fingerprint(self):
        """A digest of the teacher and of how it is asked to draw."""
        asked = (self.size, self.sigmas.tolist(), self.context_shapes, self.guidance,
                 sorted(self.model.call.own.items()), self.model.sampler.config)
        folders = (self.folder / name for name in ("transformer", *self.encoder_classes))
        return fingerprint(folders, repr(asked))

    def encoders(self, dtype, device, bits):
        """folder -> module of each text encoder, rounded as a student of `bits` has it."""
        logging.disable_progress_bar()
        modules = {}
        for part in self.model.family.parts:
            if part.kind != ENCODER:
                continue
            kind = self.encoder_classes[part.folder]
            module = kind.from_pretrained(self.folder / part.folder, dtype=dtype)
            module = module.eval().requires_grad_(False)
            weights = dict(module.named_parameters(remove_duplicate=False))
            refuse_not_finite(self.folder / part.folder, weights)
            if bits < 16:
                for name, weight in rounded_encoder(self.model, part, bits):
                    own = next(n for n in weights if f".{n}".endswith(f".{name}"))
                    weights[own].copy_(weight)
            modules[part.folder] = module.to(device)
        return modules

    def load_transformer(self):
        model = self.transformer_class.from_pretrained(
            self.folder / "transformer", torch_dtype=torch.float32, low_cpu_mem_usage=False
        )
        self.adapt(model)
        weights = {n: p.detach().clone() for n, p in model.named_parameters()}
        refuse_not_finite(self.folder / "transformer", weights)
        refuse_lowbit(self.folder / "transformer", weights, self.lowbit)
        return model.eval(), weights

    def adapt(self, model):
        """Changes that the stages need of diffusers' module."""

    def prepare(self, transformer, dtype):
        """The time embedding stays f32: near 1000 bf16 has steps of 4, the schedule finer ones."""
        embed = getattr(transformer, self.time_embedding)
        for child in transformer.children():
            child.to(torch.float32 if child is embed else dtype)
        for parameter in transformer.parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)
        # Functions, which a copy of the transformer shares: methods it would copy with their class.
        embed.register_forward_pre_hook(lambda *given: self.told(*given), with_kwargs=True)
        embed.register_forward_hook(lambda module, inputs, output: to(output, dtype))
        return transformer

    def blocks(self, transformer):
        return {name: module for name, module in transformer.named_modules()
                if name.count(".") == 1 and "transformer_blocks." in name}

    def units(self, transformer):
        return [*self.blocks(transformer).values(), getattr(transformer, self.time_embedding)]

    def stream(self, output):
        """A block may return its streams (text, image) in two."""
        return torch.cat(output, 1) if isinstance(output, tuple) else output

    def told_guidance(self, states, contexts):
        """f32 [B]: the embedded guidance, the pipeline's own where nothing else is asked for."""
        usual = torch.full((len(states),), float(self.guidance.scale), device=states.device)
        return contexts.get("guidance", usual)

    def write(self, folder, bits, tensors, text_encoder_bits):
        write_folder(folder, self.model, bits, self.group, tensors, text_encoder_bits)


def choose_group(specs, published, asked=0):
    """The group that is asked for; else the widest published one that divides all inputs, else the

    widest that does. Raises ExportError.
    """
    columns = math.gcd(*(size for spec in specs for size in (spec.shape[1], spec.cut) if size))
    choices = [group for group in range(GROUP_STEP, columns + 1, GROUP_STEP)
               if columns % group == 0]
    if not choices:
        raise ExportError(f"the inputs of the low-bit weights have the common divisor {columns}, "
                          f"expected a multiple of {GROUP_STEP}, as groups are")
    if asked and asked not in choices:
        raise ExportError(f"--group is {asked}, which does not divide the inputs of all low-bit "
                          f"weights, expected one of {', '.join(map(str, choices))}")
    usual = [group for group in choices if group <= max(published)]
    return asked or next((group for group in published if group in usual), usual[-1])


def to(output, dtype):
    return tuple(each.to(dtype) for each in output) if isinstance(output, tuple) else (
        output.to(dtype))
