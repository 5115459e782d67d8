"""Trains the transformer and the text encoder together by flow matching, then made ternary.

x_sigma = (1 - sigma) x0 + sigma noise, velocity = noise - x0, sigma spread as the sampler spreads
it. The networks compute in bf16; f32 masters hold the latent weights. Each step the networks get
the masters rounded to the packed formats, and their gradients go to the masters unchanged
(straight-through), so what is trained is what is exported.
"""

import math

import numpy as np
import torch
import torch._inductor.config
from diffusers.models.transformers import transformer_flux2
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

from . import architecture, quantise

TOKENS = architecture.LATENT_SIDE ** 2
EXACT_EVERY = 100       # steps between exact ternary scales; one Lloyd iteration otherwise
EMA_DECAY = 0.995
# Fractions of the run: float weights, then blended into ternary, then ternary alone.
TERNARY_FROM, TERNARY_AT = .25, .4
AFFINE_FROM = .55       # text encoder to 4 bits


class Networks:
    """The transformer and the text encoder, called as Flux2KleinPipeline calls them."""

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
        """Prompt embeddings [B, 32, 384] of token ids and mask [B, 32]."""
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
    """Softmax attention of [B, T, H, Dh]; at 96 tokens faster than the flash kernel's backward."""
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


def storage(name, parameter):
    """How the packed model stores this parameter: "ternary", "affine" or "dense"."""
    if name.startswith("text_encoder."):
        return "affine" if parameter.ndim == 2 else "dense"
    in_block = "transformer_blocks." in name
    return "ternary" if in_block and parameter.ndim == 2 else "dense"


class Rounding:
    """Masters to computed weights; keeps the ternary scales between steps."""

    def __init__(self):
        self.scales = {}

    def weight(self, name, master, step, softness, four_bits):
        """The weight that `master` stands for. softness 1: float; 0: ternary."""
        kind = storage(name, master)
        if kind == "affine" and four_bits:
            return quantise.affine(master)
        if kind != "ternary" or softness == 1:
            return master
        if name not in self.scales or step % EXACT_EVERY == 0:
            self.scales[name] = quantise.ternary_scales(master)
        else:
            self.scales[name] = quantise.refine_scales(master, self.scales[name])
        rounded = quantise.ternary(master, self.scales[name])
        return rounded if softness == 0 else rounded.lerp(master, softness)

    @torch.no_grad()
    def load(self, parameters, masters, step, fraction):
        """Fill the computing parameters for this step of the run (fraction 0..1)."""
        softness = softness_at(fraction)
        for name, parameter in parameters.items():
            parameter.copy_(self.weight(name, masters[name], step, softness,
                                        fraction >= AFFINE_FROM))


def softness_at(fraction):
    """1 while float, then a cosine to 0 at TERNARY_AT."""
    way = (fraction - TERNARY_FROM) / (TERNARY_AT - TERNARY_FROM)
    return (1 + math.cos(math.pi * min(max(way, 0), 1))) / 2


def sample_sigmas(count, rng, steps=8):
    """Stratified sigmas f32 [count] with the density of the sampler's own schedule."""
    shift = math.exp(compute_empirical_mu(TOKENS, steps))
    u = (rng.permutation(count) + rng.random(count)) / count
    return torch.from_numpy(shift * u / (1 + (shift - 1) * u)).float()


def flow_loss(networks, latents, ids, mask, sigmas, noise):
    """Mean squared velocity error; latents and noise f32 [B, 64 tokens, 64 channels]."""
    amount = sigmas[:, None, None]
    noisy = (1 - amount) * latents + amount * noise
    velocity = networks.velocity(noisy, sigmas, networks.encode(ids, mask))
    return (velocity.float() - (noise - latents)).square().mean()


class Latents:
    """The encoded scenes, normalised: rows f32 [64 tokens, 64 channels], unit variance."""

    def __init__(self, path, statistics):
        self.packed = np.load(path, mmap_mode="r")
        self.mean = statistics["mean"].numpy()[:, None, None]
        self.deviation = np.sqrt(statistics["variance"].numpy()[:, None, None] + 1e-4)

    def __len__(self):
        return len(self.packed)

    def tokens(self, indices):
        chosen = self.packed[np.sort(indices)].astype(np.float32)
        return torch.from_numpy((chosen - self.mean) / self.deviation).flatten(2).mT.contiguous()
