"""The transformer and the text encoder, called as Flux2KleinPipeline calls them."""

import torch
import torch._inductor.config
from diffusers.models.transformers import transformer_flux2

from . import architecture


class Networks:
    """Both networks in one dtype, with the fixed position ids."""

    def __init__(self, dtype=torch.float32):
        self.transformer = architecture.transformer()
        self.text_encoder = architecture.text_encoder()
        start_quiet(self.transformer)
        self.transformer.to(dtype)
        self.text_encoder.to(dtype)
        self.dtype = dtype
        self.image_ids = torch.cartesian_prod(
            torch.arange(1), torch.arange(architecture.LATENT_SIDE),
            torch.arange(architecture.LATENT_SIDE), torch.arange(1))
        self.text_ids = torch.cartesian_prod(
            *[torch.arange(1)] * 3, torch.arange(architecture.TEXT_TOKENS))
        if dtype != torch.float32:
            keep_time_exact(self)

    def parameters(self):
        """Canonical name to parameter, of both networks."""
        return {f"{part}.{name}": parameter for part in ("transformer", "text_encoder")
                for name, parameter in getattr(self, part).named_parameters()}

    def compile(self):
        """Fuse the single blocks for training: twice as fast on a CPU as eager.

        The double blocks stay eager: with torch 2.13 their compiled bf16 backward gives NaN.
        """
        torch._inductor.config.compile_threads = 1
        transformer_flux2.dispatch_attention_fn = attention
        for block in self.transformer.single_transformer_blocks:
            block.compile()

    def encode(self, ids, mask):
        """Prompt embeddings [B, 40, 384] of token ids and mask [B, 40]."""
        states = self.text_encoder(input_ids=ids, attention_mask=mask, use_cache=False,
                                   output_hidden_states=True).hidden_states
        return torch.cat([states[tap] for tap in architecture.TEXT_TAPS], -1)

    def velocity(self, noisy, sigmas, embeddings):
        """Velocity [B, 64, 64] at noisy latents [B, 64, 64] and sigmas [B]."""
        self.sigmas = sigmas
        return self.transformer(
            hidden_states=noisy.to(self.dtype), timestep=sigmas, img_ids=self.image_ids,
            txt_ids=self.text_ids, encoder_hidden_states=embeddings, guidance=None,
            return_dict=False)[0]


def attention(query, key, value, **_):
    """Softmax attention of [B, T, H, Dh]; at 104 tokens faster than the flash kernel's backward."""
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    weights = (query @ key.mT * query.shape[-1] ** -.5).softmax(-1)
    return (weights @ value).transpose(1, 2)


def start_quiet(transformer):
    """Zero the modulations and the output, so every block starts as the identity."""
    for layer in (transformer.double_stream_modulation_img.linear,
                  transformer.double_stream_modulation_txt.linear,
                  transformer.single_stream_modulation.linear,
                  transformer.norm_out.linear, transformer.proj_out):
        torch.nn.init.zeros_(layer.weight)


def keep_time_exact(networks):
    """Embed the timestep in f32: bf16 near 1000 has steps of 4, coarser than the sampler's."""
    embed = networks.transformer.time_guidance_embed.float()
    embed.register_forward_pre_hook(lambda _, inputs: (networks.sigmas * 1000, *inputs[1:]))
    embed.register_forward_hook(lambda _, inputs, output: output.to(networks.dtype))
