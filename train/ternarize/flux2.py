"""FLUX.2 Klein as a teacher and as a student; the interface is described in family.py."""

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from transformers import AutoTokenizer, Qwen3ForCausalLM

from train.ternarize import samplers
from train.ternarize.diffusers_teacher import DiffusersTeacher


class Flux2(DiffusersTeacher):
    transformer_class = Flux2Transformer2DModel
    encoder_classes = {"text_encoder": Qwen3ForCausalLM}
    time_embedding = "time_guidance_embed"
    step = staticmethod(samplers.euler)

    def shapes(self, length):
        self.taps = self.model.components["text_encoder"].config.taps
        self.image_ids = positions(1, self.rows, self.columns, 1)
        self.text_ids = positions(1, 1, 1, length)
        return {"rows": (length, self.config.joint_attention_dim)}

    def schedule(self, steps):
        """As the pipeline sets it: spaced evenly, then shifted by the number of tokens."""
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(self.model.sampler.config)
        mu = compute_empirical_mu(self.state_shape[0], steps)
        scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=mu)
        return scheduler.sigmas.float()

    def load_encoder(self, dtype, device, bits=16):
        encoder = self.encoders(dtype, device, bits)["text_encoder"]
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "tokenizer")
        length = self.model.call.max_sequence_length

        @torch.no_grad()
        def encode(prompts):
            return {"rows": Flux2KleinPipeline._get_qwen3_prompt_embeds(
                encoder, tokenizer, list(prompts), max_sequence_length=length,
                hidden_states_layers=list(self.taps),
            )}

        return encode

    def adapt(self, model):
        model.time_guidance_embed.guidance_embedder = None  # Klein passes no guidance

    def told(self, module, inputs, keywords):
        return (module.timesteps, *inputs[1:]), keywords

    def velocity(self, transformer, states, sigmas, contexts):
        transformer.time_guidance_embed.timesteps = sigmas * 1000
        rows = contexts["rows"]
        return transformer(
            hidden_states=states.to(rows.dtype), timestep=sigmas, encoder_hidden_states=rows,
            img_ids=self.image_ids.to(states.device), txt_ids=self.text_ids.to(states.device),
            guidance=None, return_dict=False,
        )[0].float()


def positions(*counts):
    """Position ids int64 [tokens, 4] of frame, row, column and text token."""
    return torch.cartesian_prod(*(torch.arange(count) for count in counts))
