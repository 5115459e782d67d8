"""Reads a model folder back into its diffusers pipeline, in float32: a full-precision teacher, or a
packed student of Flux2KleinPipeline, dequantised.

Independent of the ternariser's writer: bits, groups and shapes come from the files.
"""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    SanaSprintPipeline,
)
from safetensors.torch import load_file
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

BATCH = 25              # pictures drawn at once


def read_json(path):
    return json.loads(Path(path).read_text())


def dequantise(words, scales, biases, bits, group):
    """f32 [out, in] of u32 [out, in·bits/32] and bf16 [out, in/group]: scale·q + bias."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    codes = (words.numpy()[..., None] >> shifts) & np.uint32((1 << bits) - 1)
    rows, groups = scales.shape
    codes = torch.from_numpy(codes.astype(np.float32)).view(rows, groups, group)
    return (codes * scales.float()[..., None] + biases.float()[..., None]).view(rows, -1)


def dense_tensors(path, quantization):
    """All tensors of a packed file in f32; each weight/scales/biases triple becomes one weight.

    quantization: bits and group_size, and under a module's name its own.
    """
    stored, tensors = load_file(path), {}
    for key, value in stored.items():
        module, _, kind = key.rpartition(".")
        if kind in ("scales", "biases"):
            continue
        if f"{module}.scales" in stored:
            own = quantization.get(module, quantization)
            value = dequantise(value, stored[f"{module}.scales"], stored[f"{module}.biases"],
                               own["bits"], own["group_size"])
        tensors[key] = value.float()
    return tensors


def load_transformer(folder):
    if (folder / "transformer").is_dir():
        return Flux2Transformer2DModel.from_pretrained(
            folder / "transformer", torch_dtype=torch.float32, low_cpu_mem_usage=False).eval()
    folder = folder / "transformer-packed-mflux"
    model = Flux2Transformer2DModel.from_config(read_json(folder / "config.json"))
    model.load_state_dict(dense_tensors(folder / "diffusion_pytorch_model.safetensors",
                                        read_json(folder / "quantization_config.json")))
    return model.eval()


def load_text_encoder(folder):
    if (folder / "text_encoder").is_dir():
        return Qwen3ForCausalLM.from_pretrained(
            folder / "text_encoder", dtype=torch.float32).eval()
    folder, = folder.glob("text_encoder-mlx-*bit")
    config = read_json(folder / "config.json")
    quantization = config.pop("quantization")
    config.pop("quantization_config", None)
    model = Qwen3ForCausalLM(Qwen3Config(**config))
    tensors = dense_tensors(folder / "model.safetensors", quantization)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    model.load_state_dict(tensors)
    return model.float().eval()


def load_pipeline(folder):
    """The folder's pipeline in float32, and the call arguments of its trefoil.json."""
    folder = Path(folder)
    arguments = {key: value for key, value in read_json(folder / "trefoil.json").items()
                 if key not in ("sizes", "prompts")}
    index = read_json(folder / "model_index.json")
    if index["_class_name"] == "SanaSprintPipeline":
        pipeline = SanaSprintPipeline.from_pretrained(folder, dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline, arguments | {"use_resolution_binning": False}
    pipeline = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        vae=AutoencoderKLFlux2.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval(),
        text_encoder=load_text_encoder(folder),
        tokenizer=AutoTokenizer.from_pretrained(folder / "tokenizer"),
        transformer=load_transformer(folder),
        is_distilled=index["is_distilled"])
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, arguments


def draw_prompts(pipeline, arguments, prompts, seeds, progress=None):
    """The pictures uint8 [N, H, W, 3] of prompts, each from the noise of its own seed."""
    pictures = []
    for start in range(0, len(prompts), BATCH):
        chosen = slice(start, start + BATCH)
        drawn = pipeline(
            prompt=list(prompts[chosen]), output_type="np", **arguments,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds[chosen]])
        pictures.append(np.rint(drawn.images * 255).astype(np.uint8))
        if progress is not None:
            progress.update(len(pictures[-1]))
    return np.concatenate(pictures)


def draw_prompt(pipeline, arguments, prompt, seed):
    """The picture uint8 [H, W, 3] of a prompt and a seed."""
    return draw_prompts(pipeline, arguments, [prompt], [seed])[0]
