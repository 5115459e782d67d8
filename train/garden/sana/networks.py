"""The transformer and the text encoder, called as SanaSprintPipeline calls them."""

from typing import NamedTuple

import torch

from . import architecture


class Context(NamedTuple):
    """What a prompt is to the transformer."""

    rows: torch.Tensor          # [B, 40, 128], the encoder's last hidden state
    mask: torch.Tensor          # [B, 40], 0 where padded

    def expand(self, count):
        """One prompt for `count` pictures."""
        return Context(self.rows.expand(count, -1, -1), self.mask.expand(count, -1))


class Networks:
    """Both networks in one dtype. A guided transformer also takes the guidance."""

    def __init__(self, dtype=torch.float32, guided=False):
        self.transformer = architecture.transformer(guided)
        self.text_encoder = architecture.text_encoder()
        torch.nn.init.zeros_(self.transformer.proj_out.weight)
        if guided:
            torch.nn.init.zeros_(self.transformer.time_embed.guidance_embedder.linear_2.weight)
            torch.nn.init.zeros_(self.transformer.time_embed.guidance_embedder.linear_2.bias)
        if dtype != torch.float32:
            self.transformer.to(dtype)
            self.text_encoder.to(dtype)
        self.dtype = dtype

    def parameters(self):
        """Canonical name to parameter, of both networks."""
        return {f"{part}.{name}": parameter for part in ("transformer", "text_encoder")
                for name, parameter in getattr(self, part).named_parameters()}

    def encode(self, ids, mask):
        """The Context of token ids and mask [B, 40]."""
        rows = self.text_encoder(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        return Context(rows, mask)

    def velocity(self, noisy, sigmas, context, guidance=None):
        """Velocity [B, 64, 32] at noisy latents [B, 64, 32], sigmas [B], guidance [B] or None."""
        side, scale = architecture.LATENT_SIDE, self.transformer.config.guidance_embeds_scale
        picture = noisy.mT.unflatten(2, (side, side)).to(self.dtype)
        velocity = self.transformer(
            picture, context.rows, timestep=sigmas, encoder_attention_mask=context.mask,
            guidance=None if guidance is None else guidance * scale, return_dict=False)[0]
        return velocity.flatten(2).mT


def is_hidden(name, parameter):
    """Whether Muon steps it: linears and 1x1 convolutions of the blocks and of the encoder."""
    return (parameter.ndim > 1 and parameter.shape[1] > 1 and "table" not in name
            and "embed" not in name
            and (name.startswith("text_encoder.") or "transformer_blocks." in name))


def guided_name(name):
    """A parameter's name in the guided transformer, of its name in the flow's."""
    return name.replace("time_embed.emb.timestep_embedder.", "time_embed.timestep_embedder.")
