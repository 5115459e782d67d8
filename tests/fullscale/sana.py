"""Sana 1.6B as Clark Air has it, Sana-Sprint 1.6B, and tiny ones."""

import shutil

from diffusers import (
    AutoencoderDC,
    DPMSolverMultistepScheduler,
    SanaTransformer2DModel,
    SCMScheduler,
)
from transformers import Gemma2Config, Gemma2Model

from tests import gemma_tokenizer
from tests.fullscale.family import Encoder, Family

GROUP = 112
RES, VIT = "ResBlock", "EfficientViTBlock"
NORMED = {"qk_norm": "rms_norm_across_heads", "guidance_embeds": True}  # of Sprint
GEMMA = {
    "hidden_size": 2304, "num_hidden_layers": 26, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 256, "intermediate_size": 9216,
    "query_pre_attn_scalar": 256, "sliding_window": 4096, "vocab_size": 256000,
}
DC_AE = {  # of f32c32-sana-1.0 and 1.1, beside diffusers' defaults
    "encoder_block_types": (RES, RES, RES, VIT, VIT, VIT),
    "decoder_block_types": (RES, RES, RES, VIT, VIT, VIT),
    "encoder_layers_per_block": (2, 2, 2, 3, 3, 3), "decoder_layers_per_block": (3,) * 6,
    "encoder_qkv_multiscales": ((), (), (), (5,), (5,), (5,)),
    "decoder_qkv_multiscales": ((), (), (), (5,), (5,), (5,)),
    "downsample_block_type": "conv", "upsample_block_type": "interpolate",
    "scaling_factor": 0.41407,
}
TINY_TRANSFORMER = {
    "in_channels": 16, "out_channels": 16, "num_layers": 2, "num_attention_heads": 7,
    "attention_head_dim": 32, "num_cross_attention_heads": 2, "cross_attention_head_dim": 112,
    "cross_attention_dim": 224, "caption_channels": 64, "mlp_ratio": 3.0,
}
TINY = {
    "text_encoder": {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 128,
        "query_pre_attn_scalar": 32, "sliding_window": 4096, "vocab_size": 1024,
    },
    "vae": {
        "latent_channels": 16, "encoder_block_types": (RES, RES, VIT),
        "decoder_block_types": (RES, RES, VIT), "encoder_block_out_channels": (32, 32, 64),
        "decoder_block_out_channels": (32, 32, 64), "encoder_layers_per_block": (1, 1, 1),
        "decoder_layers_per_block": (1, 1, 1), "encoder_qkv_multiscales": ((), (), ()),
        "decoder_qkv_multiscales": ((), (), (5,)), "downsample_block_type": "conv",
        "upsample_block_type": "interpolate", "scaling_factor": 0.41407,
    },
}


def modules(config):
    return {
        "transformer": SanaTransformer2DModel(**config["transformer"]),
        "text_encoder": Gemma2Model(Gemma2Config(**config["text_encoder"])),
        "vae": AutoencoderDC(**config["vae"]),
    }


def write_tokenizer(folder, scale):
    """Gemma 2's own, or a small one of its kind."""
    if scale == "tiny":
        gemma_tokenizer.write_tokenizer(folder)
    else:
        shutil.copytree(gemma_tokenizer.gemma_tokenizer(), folder, dirs_exist_ok=True)


def family(pipeline, scheduler, sample_size, published, **own):
    """own: what the transformer's configuration has besides."""
    return Family(
        index={"_class_name": pipeline},
        scheduler={"_class_name": type(scheduler).__name__} | {
            key: value for key, value in scheduler.config.items() if not key.startswith("_")},
        configs={
            "full": {"transformer": {"sample_size": sample_size} | own, "text_encoder": GEMMA,
                     "vae": DC_AE},
            "tiny": TINY | {"transformer": TINY_TRANSFORMER | {"sample_size": 16} | own},
        },
        calls={"full": {}, "tiny": {
            "complex_human_instruction": None, "max_sequence_length": 40, "width": 64,
            "height": 64, "sizes": [[64, 64]]}},
        group=GROUP,
        encoders={"text_encoder": Encoder({
            "architectures": ["Gemma2Model"], "model_type": "gemma2", "rms_norm_eps": 1e-6,
            "hidden_activation": "gelu_pytorch_tanh", "rope_theta": 10000.0,
            "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
        })},
        modules=modules,
        tokenizers={"tokenizer": write_tokenizer},
        published=published,
    )


SANA = family("SanaPipeline", DPMSolverMultistepScheduler(
    flow_shift=3.0, use_flow_sigmas=True, prediction_type="flow_prediction"), 16,
    published={("codes2b", "ternary"): 495_000_000, ("unpacked", "ternary"): 3_210_000_000})
SPRINT = family("SanaSprintPipeline", SCMScheduler(), 32, published={}, **NORMED)
