"""The truth that Sana in the browser is held to: diffusers' pipelines, float32, on the CPU."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline, SanaSprintPipeline

from tests.reference import as_numpy, read_json

NULLS = "complex_human_instruction", "intermediate_timesteps"  # where null is no absence


@torch.no_grad()
def reference(path, prompt, seed, width, height, steps=None, guidance=None, negative=None,
              pipeline=None):
    """Draws one picture with diffusers and keeps every stage. Returns numpy arrays, by text

    ("prompt", "negative"): token_ids i64 [S], padded; valid, how many of them are not; rows [V, D],
    what the denoiser reads. noise [L, C]; sigmas [steps + 1], for SCM its angles; velocity: a list
    of {half: [L, C]}, of the prompt and the negative prompt; blocks: a list of [L, D], the prompt's
    tokens after each of the denoiser's blocks, step after step; latents [L, C]; decoded [H, W, 3],
    the decoder's own output; picture u8 [H, W, 3]. pipeline: diffusers', if it is not to be loaded.
    """
    pipeline, call = pipeline or load_pipeline(Path(path)), call_arguments(path)
    given = {"num_inference_steps": steps, "guidance_scale": guidance, "negative_prompt": negative}
    call |= {key: value for key, value in given.items() if value is not None}
    sprint = isinstance(pipeline, SanaSprintPipeline)
    if sprint and call.get("num_inference_steps", 2) != 2:
        call["intermediate_timesteps"] = None
    seen = {"token_ids": {}, "valid": {}, "rows": {}, "velocity": [], "blocks": []}
    texts = iter(("prompt", "negative"))

    def on_encode(module, args, kwargs):
        text = next(texts)
        seen["token_ids"][text] = args[0][0]
        seen["valid"][text] = int(kwargs["attention_mask"].sum())

    def on_denoise(module, args, kwargs, output):
        rows, masks = kwargs["encoder_hidden_states"], kwargs["encoder_attention_mask"]
        halves = ["negative", "prompt"] if len(rows) == 2 else ["prompt"]
        for half, own, mask in zip(halves, rows, masks, strict=True):
            seen["rows"][half] = own[mask.bool()]
        seen["velocity"].append(dict(zip(halves, map(tokens, output[0]), strict=True)))

    def on_block(module, args, output):
        seen["blocks"].append(output[-1].clone())

    def on_decode(module, args, output):
        seen["latents"] = tokens(args[0][0] * pipeline.vae.config.scaling_factor)
        seen["decoded"] = output[0].permute(1, 2, 0)

    hooks = [
        pipeline.text_encoder.register_forward_pre_hook(on_encode, with_kwargs=True),
        pipeline.transformer.register_forward_hook(on_denoise, with_kwargs=True),
        pipeline.vae.decoder.register_forward_hook(on_decode),
        *(block.register_forward_hook(on_block)
          for block in pipeline.transformer.transformer_blocks),
    ]
    picture = pipeline(
        prompt=prompt, height=height, width=width, use_resolution_binning=False,
        generator=torch.Generator("cpu").manual_seed(seed), **call,
    ).images[0]
    for hook in hooks:
        hook.remove()
    factor = pipeline.vae.spatial_compression_ratio
    shape = 1, pipeline.transformer.config.in_channels, height // factor, width // factor
    generator = torch.Generator("cpu").manual_seed(seed)
    seen["noise"] = tokens(torch.randn(shape, generator=generator)[0])
    seen["sigmas"] = pipeline.scheduler.timesteps if sprint else pipeline.scheduler.sigmas
    return as_numpy(seen) | {"picture": np.asarray(picture)}


def tokens(planes):
    """[C, h, w] -> [h * w, C]."""
    return planes.flatten(1).T.clone()


@lru_cache(maxsize=2)
def load_pipeline(path):
    """A checkpoint folder as diffusers' pipeline in float32."""
    pipeline = DiffusionPipeline.from_pretrained(path, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def call_arguments(path):
    """What trefoil.json says of the call, as diffusers takes it."""
    known = ("max_sequence_length", "num_inference_steps", "guidance_scale", "negative_prompt")
    file = Path(path) / "trefoil.json"
    given = read_json(file) if file.exists() else {}
    return {key: value for key, value in given.items()
            if key in NULLS or (key in known and value is not None)}
