"""Sana and Sana-Sprint as teachers and students; the interface is described in family.py."""

from functools import partial

import numpy as np
import torch
from diffusers import SanaPipeline, SanaTransformer2DModel
from torch import nn
from torch.nn import functional
from transformers import AutoTokenizer, Gemma2Model

from export.families.sana import INSTRUCTION, NEGATIVE
from export.samplers import dpm_solver, flow_euler_twice, scm
from train.ternarize import samplers
from train.ternarize.diffusers_teacher import DiffusersTeacher


class Sana(DiffusersTeacher):
    transformer_class = SanaTransformer2DModel
    encoder_classes = {"text_encoder": Gemma2Model}
    published_groups = (160, 112)
    time_embedding = "time_embed"

    @property
    def negative_prompt(self):
        """What guidance leads away from; None where it is embedded, or draws nothing else."""
        guided = self.guidance.kind == "cfg" and self.guidance.scale > 1
        return self.model.call.own[NEGATIVE] if guided else None

    def shapes(self, length):
        return {"rows": (length, self.config.caption_channels), "mask": (length,)}

    def schedule(self, steps):
        """The sampler's own; self.times f32 [steps] is what the transformer is told at them."""
        sampler, tokens = self.model.sampler, self.state_shape[0]
        config, name = sampler.config, sampler.class_name
        self.times = torch.from_numpy(sampler.times(steps, tokens))
        if name == scm.CLASS:
            self.step, self.scale = samplers.consistency, 1.0
            return torch.cat([self.times, torch.zeros(1)])
        self.scale = float(config["num_train_timesteps"])
        if name == dpm_solver.CLASS:
            self.step = partial(samplers.dpm_solver, order=config["solver_order"])
            return torch.from_numpy(dpm_solver.sigmas(steps, tokens, config))
        self.step = samplers.euler
        return torch.from_numpy(flow_euler_twice.sigmas(steps, tokens, config).astype(np.float32))

    def times_of(self, sigmas):
        """f32 [B]: what is told at any sigmas; DPM-Solver++ cuts to whole numbers."""
        times = sigmas * self.scale
        if self.model.sampler.class_name == dpm_solver.CLASS:
            times = times.trunc()
        for sigma, time in zip(self.sigmas.tolist(), self.times.tolist(), strict=False):
            times = torch.where(sigmas == sigma, time, times)
        return times * self.config.timestep_scale

    def load_encoder(self, dtype, device, bits=16):
        encoder = self.encoders(dtype, device, bits)["text_encoder"]
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "tokenizer")
        pipeline = SanaPipeline(tokenizer, encoder, None, None, None)
        call = self.model.call

        @torch.no_grad()
        def encode(prompts, negative=False):
            rows, mask, *_ = pipeline.encode_prompt(
                list(prompts), do_classifier_free_guidance=False, device=device,
                max_sequence_length=call.max_sequence_length,
                complex_human_instruction=None if negative else call.own[INSTRUCTION],
            )
            return {"rows": rows, "mask": mask.to(rows.dtype)}

        return encode

    def adapt(self, model):
        for block in model.transformer_blocks:
            for name in ("conv_inverted", "conv_point"):
                setattr(block.ff, name, Pointwise.of(getattr(block.ff, name)))

    def told(self, module, inputs, keywords):
        return (module.times,), keywords | {"hidden_dtype": torch.float32}

    def velocity(self, transformer, states, sigmas, contexts):
        rows, guidance = contexts["rows"], None
        transformer.time_embed.times = times = self.times_of(sigmas)
        if self.config.guidance_embeds:
            guidance = self.told_guidance(states, contexts) * self.config.guidance_embeds_scale
        planes = states.transpose(1, 2).unflatten(2, (self.rows, self.columns))
        return transformer(
            planes.to(rows.dtype), encoder_hidden_states=rows, timestep=times, guidance=guidance,
            encoder_attention_mask=contexts["mask"], return_dict=False,
        )[0].float().flatten(2).transpose(1, 2)


class Pointwise(nn.Linear):
    """A 1x1 convolution whose weight is a matrix [out, in], as low-bit weights are."""

    @classmethod
    def of(cls, convolution):
        rows, columns = convolution.weight.shape[:2]
        own = cls(columns, rows, bias=convolution.bias is not None)
        own.weight = nn.Parameter(convolution.weight.data.flatten(1))
        own.bias = convolution.bias
        return own

    def forward(self, planes):
        """[B, in, h, w] -> [B, out, h, w]"""
        return functional.conv2d(planes, self.weight[:, :, None, None], self.bias)
