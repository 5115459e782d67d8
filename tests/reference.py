"""The truth that the browser is held to: diffusers' Flux2KleinPipeline, float32, on the CPU.

Nothing of the model is written again here. Packed layouts are unpacked by arithmetic of this
file's own, independent of export/packing/formats.py, and loaded into the same classes.
"""

import inspect
import json
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

FLUX2 = {"text_encoder_out_layers": [9, 18, 27], "max_sequence_length": 512}


@torch.no_grad()
def reference(path, prompt, seed, width, height, steps, images=(), max_sequence_length=None,
              pipeline=None):
    """Draws one picture with diffusers and keeps every stage. Returns numpy arrays:

    token_ids i64 [S], padded; encoder_rows [S, taps * D]; noise [T, C]; sigmas [steps + 1];
    blocks: name -> a list of the tokens [S + T, D] after that block; velocity: a list of [T, C];
    latents [T, C]; decoded [H, W, 3], the decoder's own output (-1 black, 1 white, not clipped);
    picture u8 [H, W, 3]. Also tokens: {count, limit, dropped}, count of the ids not padding,
    limit S. From reference `images`, u8 [H, W, 3] each, also reference: a list of tokens
    [h * w, C]; width and height may then be None. `max_sequence_length` and `pipeline` take the
    place of the checkpoint's.
    """
    pipeline = pipeline or load_pipeline(Path(path))
    arguments = call_arguments(path)
    if max_sequence_length:
        arguments["max_sequence_length"] = max_sequence_length
    seen = {"velocity": [], "blocks": {}}

    def on_encode(module, args, kwargs):
        seen["token_ids"] = kwargs["input_ids"][0]
        whole = len(pipeline.tokenizer(chat(pipeline.tokenizer, prompt))["input_ids"])
        limit = len(seen["token_ids"])
        seen["tokens"] = {"count": int(kwargs["attention_mask"].sum()), "limit": limit,
                          "dropped": max(0, whole - limit)}

    def on_denoise(module, args, kwargs, output):
        tokens, t = kwargs["hidden_states"][0], kwargs["img_ids"][0, :, 0]  # t > 0: of an image
        seen.setdefault("noise", tokens[t == 0].clone())
        seen["reference"] = [tokens[t == of] for of in t.unique() if of]
        seen["encoder_rows"] = kwargs["encoder_hidden_states"][0]
        seen["velocity"].append(output[0][0][t == 0])

    def on_block(name):
        def keep(module, args, output):
            tokens = torch.cat(output, dim=1) if isinstance(output, tuple) else output
            seen["blocks"].setdefault(name, []).append(tokens[0].clone())

        return keep

    def on_decode(module, args, output):
        seen["decoded"] = output[0].permute(1, 2, 0)

    def on_step(pipeline, step, timestep, tensors):
        seen["latents"] = tensors["latents"][0]
        return {}

    hooks = [
        pipeline.text_encoder.register_forward_pre_hook(on_encode, with_kwargs=True),
        pipeline.transformer.register_forward_hook(on_denoise, with_kwargs=True),
        pipeline.vae.decoder.register_forward_hook(on_decode),
    ]
    blocks = {"double": pipeline.transformer.transformer_blocks,
              "single": pipeline.transformer.single_transformer_blocks}
    hooks += [block.register_forward_hook(on_block(f"{kind}.{i}"))
              for kind, row in blocks.items() for i, block in enumerate(row)]
    picture = pipeline(
        prompt=prompt, height=height, width=width, num_inference_steps=steps, guidance_scale=1.0,
        generator=torch.Generator("cpu").manual_seed(seed), callback_on_step_end=on_step,
        image=[Image.fromarray(pixels) for pixels in images] or None, **arguments,
    ).images[0]
    for hook in hooks:
        hook.remove()
    seen["sigmas"] = pipeline.scheduler.sigmas
    return as_numpy(seen) | {"picture": np.asarray(picture)}


def chat(tokenizer, prompt):
    """The text that diffusers' pipeline tokenises for a prompt."""
    return tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False,
                                         add_generation_prompt=True, enable_thinking=False)


@torch.no_grad()
def encode_prompt(path, prompt, text_encoder):
    """[S, taps * D]: the rows of another text encoder in the checkpoint's place."""
    arguments = call_arguments(path)
    rows = Flux2KleinPipeline._get_qwen3_prompt_embeds(
        text_encoder, load_pipeline(Path(path)).tokenizer, prompt,
        max_sequence_length=arguments["max_sequence_length"],
        hidden_states_layers=arguments["text_encoder_out_layers"],
    )
    return rows[0].numpy()


def site_text_encoder(path, dist):
    """The checkpoint's text encoder with the weights that a built site stores for it.

    Layers above the last tap are not stored; they keep the checkpoint's weights, which no tap sees.
    """
    manifest = read_json(Path(dist) / "model" / "manifest.json")
    shards = [(Path(dist) / "model" / shard["file"]).read_bytes() for shard in manifest["shards"]]

    def part(extents, dtype):
        data = b"".join(shards[shard][at:at + length] for shard, at, length in extents)
        return torch.from_numpy(np.frombuffer(data, dtype).copy())

    def floats(extents, dtype):
        return part(extents, np.int16).view(torch.bfloat16) if dtype == "bf16" else part(
            extents, {"f16": np.float16, "f32": np.float32}[dtype])

    encoder = deepcopy(load_pipeline(Path(path)).text_encoder)
    stored = {}
    for name, tensor in manifest["tensors"].items():
        component, _, key = name.partition(".")
        if component != "text_encoder":
            continue
        shape, kind = tensor["shape"], tensor["storage"]
        if not kind.startswith("affine"):
            stored[f"model.{key}"] = floats(tensor["data"], kind).reshape(shape).float()
            continue
        grid = shape[0], shape[1] // tensor["group"]
        triple = {"x.weight": part(tensor["codes"], np.uint32).reshape(shape[0], -1)}
        for which in ("scales", "biases"):
            triple[f"x.{which}"] = floats(tensor[which], tensor["scales_dtype"]).reshape(grid)
        stored[f"model.{key}"] = dequantise(triple, int(kind.removeprefix("affine")))["x.weight"]
    missing, unknown = encoder.load_state_dict(stored, strict=False)
    assert not unknown, f"{dist} stores {unknown}, which the text encoder does not have"
    return encoder


@lru_cache(maxsize=4)
def load_pipeline(path):
    """A checkpoint folder, packed or plain, as diffusers' pipeline in float32."""
    if (path / "transformer").is_dir():
        pipeline = Flux2KleinPipeline.from_pretrained(path, dtype=torch.float32)
    else:
        pipeline = assemble(path, load_text_encoder(path / "text_encoder-mlx-4bit"),
                            load_transformer(path / "transformer-packed-mflux"))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def assemble(path, text_encoder, transformer):
    """The pipeline of an MLX-packed checkpoint, with these two networks."""
    return Flux2KleinPipeline(
        FlowMatchEulerDiscreteScheduler.from_pretrained(path / "scheduler"),
        load_autoencoder(path / "vae"),
        text_encoder,
        AutoTokenizer.from_pretrained(path / "tokenizer"),
        transformer,
        is_distilled=True,
    )


def load_transformer(folder):
    known = inspect.signature(Flux2Transformer2DModel.__init__).parameters
    config = {key: value for key, value in read_json(folder / "config.json").items()
              if key in known}
    bits = read_json(folder / "quantization_config.json")["bits"]
    tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    return filled(Flux2Transformer2DModel(**config), dequantise(tensors, bits))


def load_text_encoder(folder):
    config = read_json(folder / "config.json")
    grids = [config.pop(key, None) for key in ("quantization", "quantization_config")]
    bits = next(grid for grid in grids if grid)["bits"]  # under either name, or both
    tensors = dequantise(load_file(folder / "model.safetensors"), bits)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    return filled(Qwen3ForCausalLM(Qwen3Config(**config)), tensors)


def load_autoencoder(folder):
    config = {key: value for key, value in read_json(folder / "config.json").items()
              if not key.startswith("_")}
    tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    return filled(AutoencoderKLFlux2(**config), tensors)


def filled(module, tensors):
    module.load_state_dict(tensors)
    return module.float().eval()


def dequantise(tensors, bits):
    """Packed triples to f32 [N, K]; w = scale * code + bias, the group follows from the shapes."""
    plain = {}
    for name, value in tensors.items():
        stem, _, part = name.rpartition(".")
        if f"{stem}.scales" not in tensors or part == "bias":
            plain[name] = value.float()
        elif part == "weight":
            scales, biases = (tensors[f"{stem}.{p}"].float() for p in ("scales", "biases"))
            codes = unpack_bits(value.numpy(), bits).reshape(*scales.shape, -1)
            weight = scales[..., None] * torch.from_numpy(codes) + biases[..., None]
            plain[name] = weight.reshape(len(scales), -1)
    return plain


def unpack_bits(words, bits):
    """u32 [N, words] -> f32 [N, words * 32 / bits]; the lowest bits hold the first code."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    codes = (words[..., None] >> shifts) & np.uint32(2**bits - 1)
    return codes.reshape(len(words), -1).astype(np.float32)


def call_arguments(path):
    """Taps and text length: the checkpoint's trefoil.json, or FLUX.2's own."""
    file = Path(path) / "trefoil.json"
    given = read_json(file) if file.exists() else {}
    return {key: given.get(key, default) for key, default in FLUX2.items()}


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def as_numpy(value):
    if isinstance(value, dict):
        return {key: as_numpy(v) for key, v in value.items()}
    if isinstance(value, list):
        return [as_numpy(v) for v in value]
    return value.numpy().copy() if isinstance(value, torch.Tensor) else value
