"""Garden's three networks, as the real diffusers and transformers classes with random weights."""

from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel
from transformers import Qwen3Config, Qwen3Model

TEXT_TOKENS = 40
TEXT_TAPS = (2, 4, 6)
LATENT_SIDE = 8          # tokens a side of a 128-pixel picture
LATENT_CHANNELS = 64     # 16 channels x 2 x 2 patch
VOCABULARY = 1024

AUTOENCODER = {
    "block_out_channels": (16, 32, 64, 96), "latent_channels": 16, "layers_per_block": 1,
    "norm_num_groups": 16, "sample_size": 128, "batch_norm_eps": 1e-4,
}
TRANSFORMER = {
    "patch_size": 1, "in_channels": LATENT_CHANNELS, "num_layers": 2, "num_single_layers": 4,
    "attention_head_dim": 64, "num_attention_heads": 4, "joint_attention_dim": 3 * 128,
    "timestep_guidance_channels": 256, "mlp_ratio": 3.0, "axes_dims_rope": (16, 16, 16, 16),
    "rope_theta": 2000, "guidance_embeds": False,
}
TEXT_ENCODER = {
    "vocab_size": VOCABULARY, "hidden_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 384,
    "max_position_embeddings": 512, "tie_word_embeddings": True, "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
}


def autoencoder():
    return AutoencoderKLFlux2(**AUTOENCODER)


def transformer():
    return Flux2Transformer2DModel(**TRANSFORMER)


def text_encoder():
    return Qwen3Model(Qwen3Config(**TEXT_ENCODER))
