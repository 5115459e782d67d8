"""Write the trained networks in the published MLX-packed layout:

    python -m export.garden.pack --work garden-work --out models/garden-ternary

Ternary t as 2-bit q = t + 1 with bias = -scale, the text encoder as 4-bit affine q.
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from export.families.flux2 import SCHEDULER
from export.pack import pack_words
from export.ternarize.files import save_tensors
from export.ternarize.folder import packed_parts
from export.ternarize.grid import TERNARY

from . import architecture, autoencoder, quantise
from .checkpoint import load_latest
from .denoiser import Networks, storage
from .prompts import EXAMPLES

SIZES = [[128, 128]]


def ternary_tensors(module, weight):
    """The three stored tensors of a ternary linear f32 [out, in]."""
    scales = quantise.ternary_scales(weight).bfloat16()
    values = quantise.ternary_codes(weight, scales.float())
    return packed_parts(f"{module}.weight", values, scales, TERNARY)


def affine_tensors(module, weight):
    """The three stored tensors of a 4-bit affine matrix f32 [out, in]."""
    codes, scales, biases = quantise.affine_parts(weight)
    return {f"{module}.weight": torch.from_numpy(pack_words(codes.numpy(), 4)),
            f"{module}.scales": scales.bfloat16(), f"{module}.biases": biases.bfloat16()}


def packed_tensors(masters):
    """All tensors of transformer and text encoder, as two dicts by their file's key."""
    transformer, text_encoder = {}, {}
    for name, weight in masters.items():
        part, key = name.split(".", 1)
        module = key.removesuffix(".weight")
        kind = storage(name, weight)
        if part == "text_encoder":
            module = f"model.{module}"
        tensors = (ternary_tensors(module, weight) if kind == "ternary" else
                   affine_tensors(module, weight) if kind == "affine" else
                   {f"{module}.weight": weight.bfloat16()})
        (transformer if part == "transformer" else text_encoder).update(tensors)
    return transformer, text_encoder


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_autoencoder(folder, work):
    """The whole autoencoder in bf16, with the batch-norm statistics of the training latents."""
    model, statistics = autoencoder.trained(work), load_latest(work, "statistics")
    model.bn.running_mean.copy_(statistics["mean"])
    model.bn.running_var.copy_(statistics["variance"])
    model.save_config(folder)
    tensors = {key: value if value.dtype == torch.int64 else value.bfloat16()
               for key, value in model.state_dict().items()}
    save_tensors(folder / "diffusion_pytorch_model.safetensors", tensors)


def text_encoder_config():
    return {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu",
            "attention_bias": False, "torch_dtype": "bfloat16", **architecture.TEXT_ENCODER,
            "quantization": {"group_size": quantise.AFFINE_GROUP, "bits": 4}}


def write_configs(out, steps):
    networks = Networks()
    networks.transformer.save_config(out / "transformer-packed-mflux")
    write_json(out / "transformer-packed-mflux/quantization_config.json",
               {"bits": 2, "group_size": quantise.TERNARY_GROUP, "solver": "ternary"})
    write_json(out / "text_encoder-mlx-4bit/config.json", text_encoder_config())
    FlowMatchEulerDiscreteScheduler(**SCHEDULER).save_config(out / "scheduler")
    write_json(out / "model_index.json", {
        "_class_name": "Flux2KleinPipeline", "_diffusers_version": diffusers.__version__,
        "is_distilled": True,
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen3ForCausalLM"],
        "tokenizer": ["transformers", "Qwen2TokenizerFast"],
        "transformer": ["diffusers", "Flux2Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLFlux2"]})
    write_json(out / "trefoil.json", {
        "text_encoder_out_layers": list(architecture.TEXT_TAPS),
        "max_sequence_length": architecture.TEXT_TOKENS, "width": 128, "height": 128,
        "num_inference_steps": steps, "sizes": SIZES, "prompts": EXAMPLES})


def write_manifest(out):
    """List every file that a loader reads, with its bytes and SHA-256."""
    files = sorted(path for path in out.rglob("*") if path.name != "manifest.json"
                   and path.suffix in (".json", ".safetensors"))
    write_json(out / "manifest.json", {"files": [
        {"path": path.relative_to(out).as_posix(), "bytes": path.stat().st_size,
         "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in files]})


def pack(work, out, steps=8, untrained=False):
    """Write the model folder `out` from the checkpoints in `work`; its README.md, LICENSE and
    NOTICE are kept by hand."""
    if untrained:
        torch.manual_seed(0)
        masters = {name: p.detach().float() for name, p in Networks().parameters().items()}
    else:
        masters = load_latest(work, "denoiser")["average"]
    transformer, text_encoder = packed_tensors(masters)
    write_configs(out, steps)
    save_tensors(out / "transformer-packed-mflux/diffusion_pytorch_model.safetensors", transformer)
    save_tensors(out / "text_encoder-mlx-4bit/model.safetensors", text_encoder)
    write_autoencoder(out / "vae", work)
    shutil.copytree(work / "tokenizer", out / "tokenizer", dirs_exist_ok=True)
    write_manifest(out)
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {total / 1e6:.2f} MB")


def main():
    parser = argparse.ArgumentParser(prog="python -m export.garden.pack", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("garden-work"), metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("models/garden-ternary"), metavar="DIR")
    parser.add_argument("--steps", type=int, default=8, help="default num_inference_steps")
    parser.add_argument("--untrained", action="store_true",
                        help="random transformer and text encoder in the right format")
    args = parser.parse_args()
    pack(args.work, args.out, args.steps, args.untrained)


if __name__ == "__main__":
    main()
