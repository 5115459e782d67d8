"""Small random Sana transformers, ternary where the published ones are, and packed by the exporter.

The truth is diffusers' SanaTransformer2DModel with the same weights, in float32.
"""

from types import SimpleNamespace

import numpy as np
import torch
from diffusers import SanaTransformer2DModel
from safetensors.torch import save_file

from export.denoisers import sana
from export.denoisers.sana_tables import plan_folding
from export.families.call import Call, Guidance
from export.families.family import DENOISER, Part
from export.layouts.unpacked import Unpacked
from export.packing.model import Component
from export.packing.pack import pack_model
from export.packing.shards import MIB, ShardWriter
from export.packing.spec import LOWBIT
from export.source.configuration import Configuration
from export.source.safetensors import Checkpoint
from tests.one_part import hollow_tensors


def make_transformer(groups, seed=0, **config):
    """A SanaTransformer2DModel whose low-bit weights are ternary in groups[columns] columns."""
    torch.manual_seed(seed)
    model = SanaTransformer2DModel(**config).eval().requires_grad_(False)
    specs = sana.spec(configuration(model))
    random = np.random.default_rng(seed)
    for name, value in model.named_parameters():
        if specs[name].role == LOWBIT:
            rows, columns = specs[name].shape
            value.copy_(ternary(random, rows, columns, groups[columns]).reshape(value.shape))
        elif "norm" in name:
            value.copy_(1 + 0.2 * torch.randn_like(value))
    return model


def ternary(random, rows, columns, group):
    codes = random.integers(-1, 2, (rows, columns // group, group))
    scales = random.uniform(0.5, 1.5, (rows, columns // group, 1)) * (1.5 / columns) ** 0.5
    return torch.from_numpy((scales * codes).astype(np.float32).reshape(rows, columns))


def configuration(model):
    """As the exporter reads a model's config.json."""
    values = {key: value for key, value in model.config.items() if not key.startswith("_")}
    return sana.read_config(Configuration("config.json", values))


def state_of(model):
    """Its tensors by name, 1x1 convolutions as the matrices [out, in] that they are."""
    specs = sana.spec(configuration(model))
    return {name: value.reshape(specs[name].shape).contiguous()
            for name, value in model.state_dict().items()}


def pack_transformer(model, folder, times, steps, guidance=1.0):
    """What of a site's manifest is the transformer's, its shards being in `folder`.

    times(steps, tokens): a sampler's; steps, guidance: the call's own, for a picture of 64 pixels
    at one a token.
    """
    source = folder / "source"
    source.mkdir()
    save_file(state_of(model), source / "diffusion_pytorch_model.safetensors")
    config = configuration(model)
    call = Call(steps, 300, 8, 8, sizes=[[8, 8]], guidance=Guidance("embedded", guidance))
    part = Part("transformer", DENOISER, sana, sana.read_config, (Unpacked,), "transformer")
    specs = sana.spec(config)
    component = Component(part, config, Unpacked(Checkpoint(source), specs), specs,
                          folding=plan_folding(config, call, 1, times))
    writer = ShardWriter(folder, MIB)
    tensors = pack_model(SimpleNamespace(components={"transformer": component}), writer,
                         lambda component: None)
    return {"shards": writer.shards, "tensors": tensors,
            "schedules": component.folding.manifest("transformer"),
            "components": {"autoencoder": {"gpu_bytes": 0},
                           "transformer": {"config": config.manifest(),
                                           "gpu_bytes": component.gpu_bytes}}}


def published(group, **values):
    """(SanaConfig, as pack_transformer) of a published model, ternary, whose bytes are nowhere."""
    config = sana.read_config(Configuration("config.json", values))
    tensors = hollow_tensors("transformer", sana.spec(config), "ternary", group)
    schedules = {"tables": [], "projections": [f"transformer.{name}"
                                               for name in sana.time_embedding(config)]}
    return config, {"tensors": tensors, "schedules": schedules, "components": {
        "autoencoder": {}, "transformer": {"config": config.manifest()}}}


def reference(model, latents, grid, text, time, guidance=None):
    """(velocity [n, C], the tokens [n, D] after each block) of latents [n, C], text [S, Dt]."""
    height, width = grid
    blocks = []
    hooks = [block.register_forward_hook(lambda module, args, output: blocks.append(output[0]))
             for block in model.transformer_blocks]
    picture = torch.from_numpy(latents).T.reshape(1, -1, height, width)
    told = {}
    if model.config.guidance_embeds:
        told["guidance"] = torch.tensor([guidance]) * model.config.guidance_embeds_scale
    else:
        time = time * model.config.timestep_scale
    velocity = model(picture, torch.from_numpy(text)[None], torch.tensor([time]),
                     encoder_attention_mask=torch.ones(1, len(text)), return_dict=False, **told)[0]
    for hook in hooks:
        hook.remove()
    return velocity[0].flatten(1).T.numpy(), [block.numpy() for block in blocks]
