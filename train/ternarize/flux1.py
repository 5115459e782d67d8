"""FLUX.1 dev and schnell as teachers and students; the interface is described in family.py."""

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel

from export.samplers import flow_euler_dynamic
from train.ternarize import samplers
from train.ternarize.diffusers_teacher import DiffusersTeacher


class Flux1(DiffusersTeacher):
    transformer_class = FluxTransformer2DModel
    encoder_classes = {"text_encoder": CLIPTextModel, "text_encoder_2": T5EncoderModel}
    time_embedding = "time_text_embed"
    step = staticmethod(samplers.euler)

    def shapes(self, length):
        places = torch.cartesian_prod(torch.arange(self.rows), torch.arange(self.columns))
        self.image_ids = torch.cat([torch.zeros(len(places), 1), places], 1)
        self.text_ids = torch.zeros(length, 3)
        return {"rows": (length, self.config.joint_attention_dim),
                "pooled": (self.config.pooled_projection_dim,)}

    def schedule(self, steps):
        sigmas = flow_euler_dynamic.sigmas(steps, self.state_shape[0], self.model.sampler.config)
        return torch.from_numpy(sigmas)

    def load_encoder(self, dtype, device, bits=16):
        modules = self.encoders(dtype, device, bits)
        tokenizers = {name: AutoTokenizer.from_pretrained(self.folder / name)
                      for name in ("tokenizer", "tokenizer_2")}
        pipeline = FluxPipeline(None, None, transformer=None, **modules, **tokenizers)
        length = self.model.call.max_sequence_length

        @torch.no_grad()
        def encode(prompts):
            prompts = list(prompts)
            rows = pipeline._get_t5_prompt_embeds(prompts, max_sequence_length=length,
                                                  device=device)
            return {"rows": rows, "pooled": pipeline._get_clip_prompt_embeds(prompts,
                                                                             device=device)}

        return encode

    def told(self, module, inputs, keywords):
        """Time and guidance as they are, not rounded to the tokens' type."""
        guidance = (module.guidances,) if self.config.guidance_embeds else ()
        return (module.timesteps, *guidance, inputs[-1].float()), keywords

    def velocity(self, transformer, states, sigmas, contexts):
        embed, rows, guidance = transformer.time_text_embed, contexts["rows"], None
        embed.timesteps = sigmas * 1000
        if self.config.guidance_embeds:
            guidance = self.told_guidance(states, contexts)
            embed.guidances = guidance * 1000
        return transformer(
            hidden_states=states.to(rows.dtype), encoder_hidden_states=rows,
            pooled_projections=contexts["pooled"], timestep=sigmas, guidance=guidance,
            img_ids=self.image_ids.to(states.device), txt_ids=self.text_ids.to(states.device),
            return_dict=False,
        )[0].float()
