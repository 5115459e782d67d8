"""The truth that FLUX.1 in the browser is held to: diffusers' FluxPipeline, float32, on the CPU."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxPipeline

from tests.reference import as_numpy, read_json

DEV = {"num_inference_steps": 28, "guidance_scale": 3.5, "max_sequence_length": 512}
SCHNELL = {"num_inference_steps": 4, "max_sequence_length": 256}
ENCODERS = ("text_encoder", "text_encoder_2")


@torch.no_grad()
def reference(path, prompt, seed, width, height, steps=None, guidance=None, pipeline=None):
    """Draws one picture with diffusers and keeps every stage. Returns numpy arrays:

    token_ids: by encoder i64 [S], padded; pooled [1, P]; rows [S, Dt] of T5; noise [L, C]; sigmas
    [steps + 1]; blocks: name -> a list of the tokens [S + L, D] after that block; velocity: a list
    of [L, C]; latents [L, C]; decoded [H, W, 3], the decoder's own output; picture u8 [H, W, 3].
    pipeline: diffusers', if it is not to be loaded.
    """
    pipeline = pipeline or load_pipeline(Path(path))
    given = {"num_inference_steps": steps, "guidance_scale": guidance}
    call = call_arguments(path, pipeline) | {
        key: value for key, value in given.items() if value is not None}
    seen = {"token_ids": {}, "velocity": [], "blocks": {}}

    def on_encode(name):
        def keep(module, args):
            seen["token_ids"][name] = args[0][0]

        return keep

    def on_denoise(module, args, kwargs, output):
        seen.setdefault("noise", kwargs["hidden_states"][0].clone())
        seen["pooled"] = kwargs["pooled_projections"]
        seen["rows"] = kwargs["encoder_hidden_states"][0]
        seen["velocity"].append(output[0][0])

    def on_block(name):
        def keep(module, args, output):
            seen["blocks"].setdefault(name, []).append(torch.cat(output, dim=1)[0].clone())

        return keep

    def on_decode(module, args, output):
        seen["decoded"] = output[0].permute(1, 2, 0)

    def on_step(pipeline, step, timestep, tensors):
        seen["latents"] = tensors["latents"][0]
        return {}

    blocks = {"double": pipeline.transformer.transformer_blocks,
              "single": pipeline.transformer.single_transformer_blocks}
    hooks = [
        *(getattr(pipeline, name).register_forward_pre_hook(on_encode(name)) for name in ENCODERS),
        pipeline.transformer.register_forward_hook(on_denoise, with_kwargs=True),
        pipeline.vae.decoder.register_forward_hook(on_decode),
        *(block.register_forward_hook(on_block(f"{kind}.{i}"))
          for kind, row in blocks.items() for i, block in enumerate(row)),
    ]
    picture = pipeline(
        prompt=prompt, height=height, width=width, callback_on_step_end=on_step,
        generator=torch.Generator("cpu").manual_seed(seed), **call,
    ).images[0]
    for hook in hooks:
        hook.remove()
    seen["sigmas"] = pipeline.scheduler.sigmas
    return as_numpy(seen) | {"picture": np.asarray(picture)}


@lru_cache(maxsize=2)
def load_pipeline(path):
    """A checkpoint folder as diffusers' pipeline in float32."""
    pipeline = FluxPipeline.from_pretrained(path, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def call_arguments(path, pipeline):
    """What trefoil.json says of the call, or else dev's or schnell's card."""
    file = Path(path) / "trefoil.json"
    given = read_json(file) if file.exists() else {}
    usual = DEV if pipeline.transformer.config.guidance_embeds else SCHNELL
    return {key: given.get(key, value) for key, value in usual.items()}
