"""Writes the trained networks as a diffusers folder, in full precision: the ternariser's teacher.

Weights are stored in bf16, as models of this family are published.
"""

import json
import shutil

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from export.denoisers.flux2 import SCHEDULER
from train.ternarize.files import save_tensors

from . import architecture, autoencoder
from .checkpoint import load_latest
from .flow import STEPS
from .prompts import EXAMPLES

SIZES = [[128, 128]]
CLASSES = {
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3ForCausalLM"],
    "tokenizer": ["transformers", "Qwen2TokenizerFast"],
    "transformer": ["diffusers", "Flux2Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKLFlux2"],
}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def trained_weights(work):
    """Canonical name to f32 tensor: the distilled transformer and the flow's text encoder.

    Without a distilled checkpoint the flow's own transformer.
    """
    flow = load_latest(work, "flow")
    if flow is None:
        raise FileNotFoundError(f"{work}: holds no flow.pt; run train.garden.train flow first")
    distilled = load_latest(work, "distil") or {"average": {}}
    return flow["average"] | distilled["average"]


def write_networks(out, weights):
    """Transformer and text encoder, each with its configuration."""
    transformer = {name.removeprefix("transformer."): weight.bfloat16()
                   for name, weight in weights.items() if name.startswith("transformer.")}
    text_encoder = {f"model.{name.removeprefix('text_encoder.')}": weight.bfloat16()
                    for name, weight in weights.items() if name.startswith("text_encoder.")}
    architecture.transformer().save_config(out / "transformer")
    save_tensors(out / "transformer/diffusion_pytorch_model.safetensors", transformer)
    write_json(out / "text_encoder/config.json", {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu",
        "attention_bias": False, "torch_dtype": "bfloat16", **architecture.TEXT_ENCODER})
    save_tensors(out / "text_encoder/model.safetensors", text_encoder)


def write_autoencoder(folder, work):
    """The whole autoencoder, with the batch-norm statistics of the training latents."""
    model, statistics = autoencoder.trained(work), load_latest(work, "statistics")
    model.bn.running_mean.copy_(statistics["mean"])
    model.bn.running_var.copy_(statistics["variance"])
    model.save_config(folder)
    tensors = {key: value if value.dtype == torch.int64 else value.bfloat16()
               for key, value in model.state_dict().items()}
    save_tensors(folder / "diffusion_pytorch_model.safetensors", tensors)


def write(work, out):
    """The model folder `out` from the checkpoints in `work`; its README.md, LICENSE and NOTICE are
    kept by hand."""
    write_networks(out, trained_weights(work))
    write_autoencoder(out / "vae", work)
    shutil.copytree(work / "tokenizer", out / "tokenizer", dirs_exist_ok=True)
    FlowMatchEulerDiscreteScheduler(**SCHEDULER).save_config(out / "scheduler")
    write_json(out / "model_index.json", {
        "_class_name": "Flux2KleinPipeline", "_diffusers_version": diffusers.__version__,
        "is_distilled": True, **CLASSES})
    write_json(out / "trefoil.json", {
        "text_encoder_out_layers": list(architecture.TEXT_TAPS),
        "max_sequence_length": architecture.TEXT_TOKENS, "width": 128, "height": 128,
        "num_inference_steps": STEPS, "sizes": SIZES, "prompts": EXAMPLES})
