"""Small random FLUX.2-Klein-shaped checkpoints, written in the layouts that are published.

Weights come from the real diffusers and transformers classes. The linears of the transformer's
blocks are random codes times a random scale per group of 128 inputs; everything else is random
and exactly representable in bf16, so that every layout holds the same model.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from safetensors.torch import save_file
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from tests.qwen_tokenizer import write_tokenizer

GROUP = 128       # inputs that share a scale in the transformer
TEXT_GROUP = 64   # and in the 4-bit text encoder

VOCABULARY = 520  # more rows than the tokenizer has tokens, as in Qwen3

# Layers whose output goes straight into a norm: made faint, so that a wrong epsilon shows.
FAINT = {
    "embed_tokens", "q_proj", "to_q", "add_q_proj", "x_embedder", "context_embedder", "conv_in",
}
FAINTNESS = 0.03

SHAPES = {
    # One block of each kind; a decoder narrower than its encoder; four query heads to a key head.
    "shallow": {
        "transformer": {
            "in_channels": 32, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 64,
            "num_attention_heads": 2, "joint_attention_dim": 256, "mlp_ratio": 3.0,
            "axes_dims_rope": (16, 16, 16, 16),
        },
        "text_encoder": {
            "hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4,
            "num_key_value_heads": 1, "head_dim": 64, "intermediate_size": 192,
        },
        "vae": {
            "block_out_channels": (16, 24, 32), "decoder_block_out_channels": (8, 16, 24),
            "latent_channels": 8, "layers_per_block": 1, "norm_num_groups": 4,
        },
        "pipeline": {"text_encoder_out_layers": [1, 2], "max_sequence_length": 24,
                     "width": 64, "height": 48, "num_inference_steps": 2},
    },
    # Uneven axes, odd lengths, other constants; the last tap is the encoder's normed output.
    "uneven": {
        "transformer": {
            "in_channels": 16, "num_layers": 2, "num_single_layers": 3, "attention_head_dim": 32,
            "num_attention_heads": 4, "joint_attention_dim": 128, "mlp_ratio": 2.0,
            "axes_dims_rope": (4, 14, 10, 4), "rope_theta": 500, "eps": 1e-5,
            "timestep_guidance_channels": 128,
        },
        "text_encoder": {
            "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 256,
            "rms_norm_eps": 1e-5, "rope_theta": 10_000.0,
        },
        "vae": {
            "block_out_channels": (8, 12, 12, 20), "latent_channels": 4, "layers_per_block": 2,
            "norm_num_groups": 4, "batch_norm_eps": 1e-3, "mid_block_add_attention": False,
            "use_quant_conv": False, "use_post_quant_conv": False,
        },
        "pipeline": {"text_encoder_out_layers": [1, 3], "max_sequence_length": 77,
                     "width": 96, "height": 64, "num_inference_steps": 8},
    },
    # FLUX.2's own proportions and defaults: nothing to say in trefoil.json.
    "klein": {
        "transformer": {
            "in_channels": 128, "num_layers": 1, "num_single_layers": 2, "attention_head_dim": 128,
            "num_attention_heads": 2, "joint_attention_dim": 192, "mlp_ratio": 3.0,
            "axes_dims_rope": (32, 32, 32, 32),
        },
        "text_encoder": {
            "hidden_size": 64, "num_hidden_layers": 29, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 32, "intermediate_size": 128,
        },
        "vae": {
            "block_out_channels": (32, 32, 64, 64), "latent_channels": 32, "layers_per_block": 2,
            "norm_num_groups": 32,
        },
        "pipeline": {},
    },
}
def make_checkpoint(path, shape, variant="ternary", layout="mlx", seed=0):
    """Writes a checkpoint folder.

    shape is a key of SHAPES, variant "ternary" or "binary"; layout "mlx" is packed transformer
    and 4-bit text encoder, "unpacked" the plain diffusers folder in bf16.
    """
    spec = SHAPES[shape]
    torch.manual_seed(seed)
    transformer = Flux2Transformer2DModel(guidance_embeds=False, **spec["transformer"])
    text_encoder = Qwen3ForCausalLM(text_config(spec["text_encoder"]))
    vae = make_vae(spec["vae"])
    for module, gain in ((transformer, 1.0), (text_encoder, 0.7), (vae, 1.0)):
        fill(module, gain)
    packed = quantise_blocks(transformer, variant)
    path.mkdir(parents=True)
    if layout == "mlx":
        write_mlx(path, transformer, packed, text_encoder, vae, 2 if variant == "ternary" else 1)
    else:
        write_unpacked(path, transformer, text_encoder, vae)
    if spec["pipeline"]:
        prompts = {"prompts": ["an old pine in the snow"]}
        sizes = {"sizes": [[spec["pipeline"]["width"], spec["pipeline"]["height"]]]}
        write_json(path / "trefoil.json", spec["pipeline"] | prompts | sizes)
    return path


def text_config(config):
    given = {"vocab_size": VOCABULARY, "tie_word_embeddings": True, "rope_theta": 1_000_000.0,
             "rms_norm_eps": 1e-6, "max_position_embeddings": 1024} | config
    return Qwen3Config(**given)


def make_vae(config):
    stages = len(config["block_out_channels"])
    return AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * stages,
        up_block_types=("UpDecoderBlock2D",) * stages, **config,
    )


@torch.no_grad()
def fill(module, gain):
    """Random weights under which every branch and gate matters and the picture does not clip."""
    for name, p in module.named_parameters():
        noise = torch.randn(p.shape)
        if name.endswith("bias"):
            p.copy_(0.1 * noise)
        elif p.ndim == 1:
            p.copy_(1 + 0.2 * noise)
        elif "embed_tokens" in name:
            p.copy_(noise)
        else:
            p.copy_(gain * noise / p[0].numel() ** 0.5)
        if "timestep_embedder" in name or "modulation" in name:
            p.mul_(2)  # two SiLUs in a row halve the signal twice
        if name == "decoder.conv_out.weight":
            p.mul_(0.7)
        if FAINT & set(name.split(".")):
            p.mul_(FAINTNESS)
    for name, b in module.named_buffers():
        if name == "bn.running_mean":
            b.normal_(0, 0.5)
        if name == "bn.running_var":
            b.copy_(torch.exp(0.5 * torch.randn(b.shape)))
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.bfloat16())


@torch.no_grad()
def quantise_blocks(transformer, variant):
    """Replaces the block linears by codes times scales; returns name -> (codes, scales, biases).

    The first group of the first linear is the awkward one: all zero if ternary, of one sign if
    binary. Packers that fit an affine range give both scale 0.
    """
    packed = {}
    for name, linear in transformer.named_modules():
        if not (isinstance(linear, torch.nn.Linear) and "transformer_blocks." in name):
            continue
        n, k = linear.weight.shape
        size = torch.exp(0.3 * torch.randn(n, k // GROUP, 1)) / k**0.5
        if FAINT & set(name.split(".")):
            size *= FAINTNESS
        if variant == "ternary":
            codes = torch.randint(0, 3, (n, k // GROUP, GROUP))
            scales = (1.5**0.5 * size).bfloat16().float()
            if not packed:
                codes[0, 0], scales[0, 0] = 1, 0
            biases = -scales
        else:
            codes = torch.randint(0, 2, (n, k // GROUP, GROUP))
            scales = 2 * size.bfloat16().float()
            biases = -scales / 2
            if not packed:
                codes[0, 0], scales[0, 0], biases[0, 0] = 0, 0, -biases[0, 0]
        linear.weight.copy_((scales * codes + biases).reshape(n, k))
        packed[name] = (codes.reshape(n, k).numpy(), scales[..., 0], biases[..., 0])
    return packed


def pack_bits(codes, bits):
    """[N, K] integers -> u32 [N, K * bits / 32]; code i of a word in bits bits*i.., low first."""
    planes = (codes[..., None] >> np.arange(bits)) & 1
    packed = np.packbits(planes.astype(np.uint8).reshape(len(codes), -1), axis=1,
                         bitorder="little")
    return torch.from_numpy(packed.view("<u4"))


def pack_affine4(weight):
    """[N, K] -> the 16-level grid between each group's minimum and maximum, packed as MLX does."""
    n, k = weight.shape
    groups = weight.reshape(n, k // TEXT_GROUP, TEXT_GROUP)
    biases = groups.amin(-1).bfloat16()
    scales = ((groups.amax(-1) - groups.amin(-1)) / 15).bfloat16()
    codes = (groups - biases.float()[..., None]) / scales.float()[..., None]
    codes = codes.round().clamp(0, 15).to(torch.int64).reshape(n, k)
    return {"weight": pack_bits(codes.numpy(), 4), "scales": scales, "biases": biases}


def write_mlx(path, transformer, packed, text_encoder, vae, bits):
    folder = path / "transformer-packed-mflux"
    tensors = bf16(transformer.state_dict())
    for name, (codes, scales, biases) in packed.items():
        tensors[f"{name}.weight"] = pack_bits(codes, bits)
        tensors[f"{name}.scales"] = scales.bfloat16()
        tensors[f"{name}.biases"] = biases.bfloat16()
    save(folder / "diffusion_pytorch_model.safetensors", tensors)
    stray = {"enable_time_sign_embed": False, "musubi_blocks_to_swap": 0}  # published ones carry it
    write_json(folder / "config.json", dict(transformer.config) | stray)
    write_json(folder / "quantization_config.json", {"bits": bits, "group_size": GROUP})

    folder = path / "text_encoder-mlx-4bit"
    tensors = {}
    for name, value in text_encoder.state_dict().items():
        stem = name.removesuffix(".weight")
        if value.ndim == 2 and stem != "lm_head":
            tensors |= {f"{stem}.{part}": t for part, t in pack_affine4(value).items()}
        elif stem != "lm_head":
            tensors[name] = value.bfloat16()
    save(folder / "model.safetensors", tensors)
    grid = {"group_size": TEXT_GROUP, "bits": 4}
    config = text_encoder.config.to_dict()
    rope = config.pop("rope_parameters")["rope_theta"]  # where transformers 4 and MLX keep it
    extra = {"rope_theta": rope, "quantization": grid, "quantization_config": grid}
    write_json(folder / "config.json", config | extra)

    save(path / "vae" / "diffusion_pytorch_model.safetensors", bf16(vae.state_dict()))
    write_json(path / "vae" / "config.json", dict(vae.config))
    scheduler().save_pretrained(path / "scheduler")
    write_tokenizer(path / "tokenizer")
    write_json(path / "model_index.json", {"_class_name": "Flux2KleinPipeline",
                                           "is_distilled": True})


def write_unpacked(path, transformer, text_encoder, vae):
    with TemporaryDirectory() as folder:
        write_tokenizer(Path(folder))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    pipeline = Flux2KleinPipeline(scheduler(), vae, text_encoder, tokenizer, transformer,
                                  is_distilled=True)
    pipeline.to(torch.bfloat16).save_pretrained(path)


def scheduler():
    return FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15,
        base_image_seq_len=256, max_image_seq_len=4096, time_shift_type="exponential",
    )


def bf16(state):
    return {name: v.bfloat16() if v.is_floating_point() else v for name, v in state.items()}


def save(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: t.contiguous() for name, t in tensors.items()}, path,
              metadata={"format": "pt"})


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
