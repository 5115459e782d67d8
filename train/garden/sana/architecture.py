"""The three networks, as the real diffusers and transformers classes with random weights."""

from diffusers import AutoencoderDC, SanaTransformer2DModel
from transformers import Gemma2Config, Gemma2Model

SIDE = 256              # pixels
FACTOR = 32             # pixels a side of a latent
LATENT_SIDE = SIDE // FACTOR
LATENT_CHANNELS = 32
TEXT_TOKENS = 40
VOCABULARY = 1024
RES, VIT = "ResBlock", "EfficientViTBlock"
KINDS, SCALES = (RES, RES, RES, RES, VIT, VIT), ((), (), (), (), (5,), (5,))

AUTOENCODER = {
    "latent_channels": LATENT_CHANNELS, "attention_head_dim": 32,
    "encoder_block_types": KINDS, "decoder_block_types": KINDS,
    "encoder_qkv_multiscales": SCALES, "decoder_qkv_multiscales": SCALES,
    # No blocks at the pixels themselves, where they would cost as much as all others together.
    "encoder_layers_per_block": (0, 1, 1, 1, 1, 1), "decoder_layers_per_block": (0, 1, 1, 1, 1, 1),
    "encoder_block_out_channels": (32, 32, 64, 64, 128, 128),
    "decoder_block_out_channels": (32, 32, 64, 128, 128, 128),
    "downsample_block_type": "pixel_unshuffle", "upsample_block_type": "pixel_shuffle",
    # So that the latents' deviations fold into the convolutions beside them.
    "encoder_out_shortcut": False, "decoder_in_shortcut": False,
}
TRANSFORMER = {
    "in_channels": LATENT_CHANNELS, "out_channels": LATENT_CHANNELS, "num_layers": 8,
    "num_attention_heads": 8, "attention_head_dim": 32, "num_cross_attention_heads": 4,
    "cross_attention_head_dim": 64, "cross_attention_dim": 256, "caption_channels": 128,
    "mlp_ratio": 2.5, "patch_size": 1, "sample_size": LATENT_SIDE,
    "qk_norm": "rms_norm_across_heads",
}
TEXT_ENCODER = {
    "vocab_size": VOCABULARY, "hidden_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "query_pre_attn_scalar": 32,
    "intermediate_size": 384, "max_position_embeddings": 512, "sliding_window": 512,
    "rope_theta": 10_000.0, "attn_implementation": "eager",
    "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
}


def autoencoder():
    return AutoencoderDC(**AUTOENCODER)


def transformer(guided=False):
    """The flow's network, or the sampler's, to which the guidance is an input."""
    return SanaTransformer2DModel(**TRANSFORMER, guidance_embeds=guided)


def text_encoder():
    return Gemma2Model(Gemma2Config(**TEXT_ENCODER))
