"""Small random FLUX.1 transformers, ternary or binary where the published ones are, and packed by

the exporter. The truth is diffusers' FluxTransformer2DModel with the same weights, in float32.
"""

import numpy as np
import torch
from diffusers import FluxTransformer2DModel

from export import layouts
from export.denoisers import flux1
from export.families.family import DENOISER, Part
from export.packing.spec import LOWBIT
from export.source.configuration import Configuration
from tests.one_part import hollow_tensors, write_part

PART = Part("transformer", DENOISER, flux1, lambda file, asked: flux1.read_config(file),
            layouts.LOWBIT, "transformer", derive_config=flux1.derive_config)
LEVELS = {"ternary": (-1, 0, 1), "binary": (-1, 1)}


def make_transformer(groups, kind="ternary", seed=0, **config):
    """A FluxTransformer2DModel whose low-bit weights lie on a grid in groups[columns] columns."""
    torch.manual_seed(seed)
    model = FluxTransformer2DModel(**config).eval().requires_grad_(False)
    specs = flux1.spec(configuration(model))
    random = np.random.default_rng(seed)
    for name, value in model.named_parameters():
        if specs[name].role == LOWBIT:
            value.copy_(on_grid(random, *value.shape, groups[value.shape[1]], LEVELS[kind]))
        elif "attn.norm" in name:
            value.copy_(1 + 0.2 * torch.randn_like(value))
        elif name.endswith(".bias"):
            value.copy_(0.1 * torch.randn_like(value))
    return model


def on_grid(random, rows, columns, group, levels):
    codes = random.choice(levels, (rows, columns // group, group))
    scales = random.uniform(0.5, 1.5, (rows, columns // group, 1)) * (1.5 / columns) ** 0.5
    return torch.from_numpy((scales * codes).astype(np.float32).reshape(rows, columns))


def configuration(model):
    """As the exporter reads a model's config.json."""
    values = {key: value for key, value in model.config.items() if not key.startswith("_")}
    return flux1.read_config(Configuration("config.json", values))


def pack_transformer(model, source, folder):
    """Its manifest, the shards being in `folder`; source: an empty folder for the checkpoint."""
    model.save_pretrained(source / "transformer")
    manifest = write_part(PART, source, folder)
    manifest["components"]["autoencoder"] = {"gpu_bytes": 0}
    return manifest


def published(kind, group, **values):
    """(Flux1Config, the manifest) of a published model whose bytes are nowhere."""
    config = flux1.read_config(Configuration("config.json", values))
    tensors = hollow_tensors("transformer", flux1.spec(config), kind, group)
    return config, {"tensors": tensors, "components": {
        "autoencoder": {}, "transformer": {"config": config.manifest()}}}


def reference(model, latents, grid, pooled, text, time, guidance):
    """(velocity [L, C], the tokens [S + L, D] after each block, by name).

    latents [L, C]; pooled [1, P], text [S, Dt]; time as a sampler has it, up to 1000.
    """
    seen = {}

    def double(name):
        # Of (text, image), [1, S, D] and [1, L, D].
        return lambda module, args, output: seen.update({name: torch.cat(output, 1)[0].numpy()})

    blocks = [(f"{kind}.{i}", block)
              for kind, those in (("double", model.transformer_blocks),
                                  ("single", model.single_transformer_blocks))
              for i, block in enumerate(those)]
    hooks = [block.register_forward_hook(double(name)) for name, block in blocks]
    height, width = grid
    places = [[0, y, x] for y in range(height) for x in range(width)]
    told = torch.tensor([guidance]) if model.config.guidance_embeds else None
    velocity = model(
        torch.from_numpy(latents)[None], torch.from_numpy(text)[None], torch.from_numpy(pooled),
        torch.tensor([time], dtype=torch.float32) / 1000, torch.tensor(places).float(),
        torch.zeros(len(text), 3), told, return_dict=False)[0]
    for hook in hooks:
        hook.remove()
    return velocity[0].numpy(), seen
