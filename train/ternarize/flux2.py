"""FLUX.2 Klein as a teacher and as a student; the interface is described in family.py."""

import hashlib

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from transformers import AutoTokenizer, Qwen3ForCausalLM
from transformers.utils import logging

from export.denoisers import flux2
from export.errors import ExportError
from export.layouts import home
from export.opening import open_model
from export.packing.spec import LOWBIT
from train.ternarize.folder import rounded_text_encoder, write_folder

SAMPLED_BYTES = 1 << 20  # of the beginning and the end of each weight file, for the fingerprint


class Flux2:
    group = flux2.GROUP

    def __init__(self, source, steps=None, width=None, height=None):
        self.folder = source.folder
        self.model = open_model(source, text_encoder_bits=16)
        layout = self.model.denoiser.layout
        if layout.name != "unpacked":
            folder = home(type(layout), self.model.denoiser.part.folder)
            raise ExportError(f"{self.folder}: holds {folder}/, a packed model cannot teach")
        pipeline, patch = self.model.call, self.model.latents.pixels
        self.size = width or pipeline.width, height or pipeline.height
        for side in self.size:
            if side % patch:
                raise ExportError(f"the picture is {self.size[0]} x {self.size[1]}, expected "
                                  f"multiples of {patch}")
        self.lowbit = [name for name, spec in layout.specs.items() if spec.role == LOWBIT]
        columns, rows = (side // patch for side in self.size)
        config = self.model.denoiser.config
        self.taps = self.model.components["text_encoder"].config.taps
        self.state_shape = (rows * columns, config.in_channels)
        self.context_shape = (pipeline.max_sequence_length, config.joint_attention_dim)
        self.image_ids = positions(1, rows, columns, 1)
        self.text_ids = positions(1, 1, 1, pipeline.max_sequence_length)
        self.sigmas = self.schedule(steps or pipeline.num_inference_steps)

    def schedule(self, steps):
        """As the pipeline sets it: spaced evenly, then shifted by the number of tokens."""
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(self.model.sampler.config)
        mu = compute_empirical_mu(self.state_shape[0], steps)
        scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=mu)
        return scheduler.sigmas.float()

    def fingerprint(self):
        """A digest of the weight files' sizes and ends, and of what is drawn with them."""
        digest = hashlib.sha256(repr((self.size, self.sigmas.tolist(), self.context_shape,
                                      self.taps)).encode())
        for component in ("transformer", "text_encoder"):
            for path in sorted((self.folder / component).glob("*.safetensors")):
                with path.open("rb") as file:
                    digest.update(file.read(SAMPLED_BYTES))
                    file.seek(max(0, path.stat().st_size - SAMPLED_BYTES))
                    digest.update(file.read())
                digest.update(str(path.stat().st_size).encode())
        return digest.hexdigest()

    def load_encoder(self, dtype, device, bits=16):
        logging.disable_progress_bar()
        encoder = Qwen3ForCausalLM.from_pretrained(self.folder / "text_encoder", dtype=dtype)
        encoder = encoder.eval().requires_grad_(False)
        if bits < 16:
            weights = dict(encoder.named_parameters())
            for name, weight in rounded_text_encoder(self.folder / "text_encoder", bits):
                weights[name].copy_(weight)
        encoder.to(device)
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "tokenizer")
        length = self.model.call.max_sequence_length

        @torch.no_grad()
        def encode(prompts):
            return Flux2KleinPipeline._get_qwen3_prompt_embeds(
                encoder, tokenizer, list(prompts), max_sequence_length=length,
                hidden_states_layers=list(self.taps),
            )

        return encode

    def load_transformer(self):
        model = Flux2Transformer2DModel.from_pretrained(
            self.folder / "transformer", torch_dtype=torch.float32, low_cpu_mem_usage=False
        )
        model.time_guidance_embed.guidance_embedder = None  # Klein passes no guidance
        return model.eval(), {n: p.detach().clone() for n, p in model.named_parameters()}

    def prepare(self, transformer, dtype):
        """The time embedding stays f32: near 1000 bf16 has steps of 4, the schedule finer ones."""
        embed = transformer.time_guidance_embed
        for child in transformer.children():
            child.to(torch.float32 if child is embed else dtype)
        embed.register_forward_pre_hook(lambda module, inputs: (module.timesteps, *inputs[1:]))
        embed.register_forward_hook(lambda module, inputs, output: output.to(dtype))
        return transformer

    def blocks(self, transformer):
        return {name: module for name, module in transformer.named_modules()
                if name.count(".") == 1 and "transformer_blocks." in name}

    def units(self, transformer):
        return [*self.blocks(transformer).values(), transformer.time_guidance_embed]

    def velocity(self, transformer, states, sigmas, contexts):
        transformer.time_guidance_embed.timesteps = sigmas * 1000
        return transformer(
            hidden_states=states.to(contexts.dtype), timestep=sigmas,
            encoder_hidden_states=contexts, img_ids=self.image_ids.to(states.device),
            txt_ids=self.text_ids.to(states.device), guidance=None, return_dict=False,
        )[0].float()

    def stream(self, output):
        """A double block returns (text, image), a single block both in one."""
        return torch.cat(output, 1) if isinstance(output, tuple) else output

    def write(self, folder, bits, tensors, text_encoder_bits):
        write_folder(folder, self.folder, bits, self.group, tensors, text_encoder_bits)


def positions(*counts):
    """Position ids int64 [tokens, 4] of frame, row, column and text token."""
    return torch.cartesian_prod(*(torch.arange(count) for count in counts))
