"""FLUX.1 schnell and dev in the published shapes, and tiny ones."""

from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from tests import clip_tokenizer, t5_tokenizer
from tests.fullscale.family import Encoder, Family

GROUP = 128
STEPS = 1000
CLIP = Encoder({
    "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_act": "quick_gelu",
    "bos_token_id": 0, "eos_token_id": 2, "layer_norm_eps": 1e-5,
}, whole=("position_embedding.weight",))
T5 = Encoder({
    "architectures": ["T5EncoderModel"], "model_type": "t5", "dense_act_fn": "gelu_pytorch_tanh",
    "is_gated_act": True, "feed_forward_proj": "gated-gelu", "layer_norm_epsilon": 1e-6,
    "relative_attention_num_buckets": 32,
}, whole=("relative_attention_bias.weight",), tied=("encoder.embed_tokens.weight",),
    # Its attention does not divide by the square root of a head's width: its queries are as small.
    gains={"SelfAttention.q.weight": 0.125})
FULL = {
    "text_encoder": {
        "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "max_position_embeddings": 77, "vocab_size": 49408,
    },
    "text_encoder_2": {
        "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
        "vocab_size": 32128,
    },
    "transformer": {
        "in_channels": 64, "num_layers": 19, "num_single_layers": 38, "attention_head_dim": 128,
        "num_attention_heads": 24, "joint_attention_dim": 4096, "pooled_projection_dim": 768,
    },
    "vae": {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
            "latent_channels": 16, "norm_num_groups": 32},
}
TINY = {
    "text_encoder": {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 128, "max_position_embeddings": 77, "vocab_size": 1024,
    },
    "text_encoder_2": {
        "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4,
        "vocab_size": 1024,
    },
    "transformer": {
        "in_channels": 16, "num_layers": 1, "num_single_layers": 2, "attention_head_dim": 32,
        "num_attention_heads": 4, "joint_attention_dim": 64, "pooled_projection_dim": 64,
        "axes_dims_rope": (8, 12, 12),
    },
    "vae": {"block_out_channels": (8, 12), "layers_per_block": 1, "latent_channels": 4,
            "norm_num_groups": 4},
}


def modules(config):
    stages = len(config["vae"]["block_out_channels"])
    feed_forward = {"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu_pytorch_tanh"}
    return {
        "transformer": FluxTransformer2DModel(**config["transformer"]),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**config["text_encoder"])),
        "text_encoder_2": T5EncoderModel(T5Config(**config["text_encoder_2"], **feed_forward)),
        "vae": AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * stages,
            up_block_types=("UpDecoderBlock2D",) * stages, use_quant_conv=False,
            use_post_quant_conv=False, scaling_factor=0.3611, shift_factor=0.1159,
            **config["vae"],
        ),
    }


def family(shift, dynamic, published, tiny, **own):
    """own: what the transformer's configuration has besides."""
    return Family(
        index={"_class_name": "FluxPipeline"},
        scheduler={
            "_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": STEPS,
            "shift": shift, "use_dynamic_shifting": dynamic, "base_shift": 0.5, "max_shift": 1.15,
            "base_image_seq_len": 256, "max_image_seq_len": 4096,
        },
        configs={scale: config | {"transformer": config["transformer"] | own}
                 for scale, config in (("full", FULL), ("tiny", TINY))},
        calls={"full": {}, "tiny": {"width": 32, "height": 32, "sizes": [[32, 32]]} | tiny},
        group=GROUP,
        encoders={"text_encoder": CLIP, "text_encoder_2": T5},
        modules=modules,
        tokenizers={
            "tokenizer": lambda folder, scale: clip_tokenizer.write_tokenizer(folder),
            "tokenizer_2": lambda folder, scale: t5_tokenizer.write_tokenizer(folder),
        },
        published=published,
    )


# Bytes of all the transformer's tensors in bf16, as its index has them.
SCHNELL = family(1.0, False, {("unpacked", "ternary"): 23_782_357_120},
                 {"max_sequence_length": 64}, guidance_embeds=False)
DEV = family(3.0, True, {("unpacked", "ternary"): 23_802_816_640},
             {"max_sequence_length": 64}, guidance_embeds=True)
