"""FLUX.2 as Bonsai Image 4B has it, and a tiny one."""

import json
import shutil
from pathlib import Path

from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel
from transformers import Qwen3Config, Qwen3Model

from tests.fullscale.family import Encoder, Family

ROOT = Path(__file__).resolve().parent.parent.parent
GARDEN = ROOT / "models" / "garden-ternary"
GROUP = 128
FULL = {
    "transformer": {
        "in_channels": 128, "num_layers": 5, "num_single_layers": 20, "attention_head_dim": 128,
        "num_attention_heads": 24, "joint_attention_dim": 7680, "mlp_ratio": 3.0,
        "axes_dims_rope": (32, 32, 32, 32), "rope_theta": 2000, "guidance_embeds": False,
    },
    "text_encoder": {
        "hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 9728, "vocab_size": 151936,
    },
    "vae": {"block_out_channels": (128, 256, 512, 512)},
}
TINY = {
    "transformer": {
        "in_channels": 16, "num_layers": 2, "num_single_layers": 2, "attention_head_dim": 32,
        "num_attention_heads": 4, "joint_attention_dim": 128, "mlp_ratio": 3.0,
        "axes_dims_rope": (8, 8, 8, 8), "rope_theta": 2000, "guidance_embeds": False,
    },
    "text_encoder": {
        "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 128, "vocab_size": 1024,
    },
    "vae": {"block_out_channels": (8, 12), "latent_channels": 4, "layers_per_block": 1,
            "norm_num_groups": 4},
}
CALLS = {
    "full": {},
    "tiny": {"text_encoder_out_layers": [1, 2], "max_sequence_length": 64, "width": 32,
             "height": 32, "sizes": [[32, 32]]},
}


def modules(config):
    stages = len(config["vae"]["block_out_channels"])
    return {
        "transformer": Flux2Transformer2DModel(**config["transformer"]),
        "text_encoder": Qwen3Model(Qwen3Config(**config["text_encoder"])),
        "vae": AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * stages,
            up_block_types=("UpDecoderBlock2D",) * stages, **config["vae"],
        ),
    }


def write_tokenizer(folder, scale):
    """Garden's, whatever the scale."""
    shutil.copytree(GARDEN / "tokenizer", folder, dirs_exist_ok=True)


FLUX2 = Family(
    index={"_class_name": "Flux2KleinPipeline", "is_distilled": True},
    scheduler=json.loads((GARDEN / "scheduler" / "scheduler_config.json").read_text()),
    configs={"full": FULL, "tiny": TINY},
    calls=CALLS,
    group=GROUP,
    encoders={"text_encoder": Encoder({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu",
        "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": True,
    }, prefix="model.")},
    modules=modules,
    tokenizers={"tokenizer": write_tokenizer},
    published={
        ("mlx", "ternary"): 1_425_226_752, ("mlx", "binary"): 965_164_032,
        ("gemlite", "ternary"): 1_540_457_482, ("gemlite", "binary"): 1_080_179_712,
        ("unpacked", "ternary"): 7_751_109_712, ("unpacked", "binary"): 7_751_109_712,
        ("native", "ternary"): 7_751_105_712, ("native", "binary"): 7_751_105_712,
        ("gguf", "binary"): 865_000_000,
        "text_encoder-mlx-4bit": 2_262_915_072, "text_encoder-hqq-4bit": 2_822_336_676,
        "vae": 168_122_000,
    },
)
