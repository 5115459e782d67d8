"""Small random AutoencoderDCs, as diffusers has them and as export/ opens them."""

import json

import torch
from diffusers import AutoencoderDC
from safetensors.torch import save_file

from export import layouts
from export.autoencoders import dc
from export.families.family import AUTOENCODER, Part
from export.opening import open_component
from export.source.configuration import Configuration
from export.source.safetensors import Checkpoint

RES, VIT = "ResBlock", "EfficientViTBlock"
CONFIGS = {
    # Both kinds of block, several scales and one, strips of few rows where little may be bound.
    "deep": {
        "latent_channels": 8, "attention_head_dim": 32, "scaling_factor": 0.41407,
        "decoder_block_types": (RES, RES, VIT, VIT), "upsample_block_type": "interpolate",
        "decoder_block_out_channels": (32, 64, 64, 64), "decoder_layers_per_block": (2, 1, 2, 1),
        "decoder_qkv_multiscales": ((), (), (3, 5), (5,)),
    },
    # No scales, heads that leave channels over, no block at the pixels, other switches.
    "shallow": {
        "latent_channels": 6, "attention_head_dim": 20, "scaling_factor": 2.0,
        "decoder_block_types": (RES, RES, VIT), "upsample_block_type": "pixel_shuffle",
        "decoder_block_out_channels": (12, 24, 48), "decoder_layers_per_block": (0, 2, 1),
        "decoder_qkv_multiscales": ((), (), ()), "decoder_act_fns": ("silu", "relu", "silu"),
        "decoder_in_shortcut": False, "decoder_conv_act_fn": "silu",
    },
}
STORED = {"deep": torch.bfloat16, "shallow": torch.float32}


def make_autoencoder(name, folder):
    """(diffusers' module in float32, export's Component of the files written to `folder`)."""
    module = random_module(CONFIGS[name], STORED[name])
    (folder / "config.json").write_text(json.dumps(dict(module.config)), encoding="utf-8")
    tensors = {key: tensor.to(STORED[name]) for key, tensor in module.state_dict().items()}
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors")
    config = dc.read_config(Configuration.read(folder / "config.json"))
    part = Part("autoencoder", AUTOENCODER, dc, dc.read_config, layouts.WHOLE, "vae")
    return module, open_component(part, config, layouts.Floats, Checkpoint(folder), None)


def random_module(config, dtype):
    """With norms that are not 1 and 0, and weights that `dtype` holds exactly."""
    torch.manual_seed(7)
    stages = len(config["decoder_block_out_channels"])
    module = AutoencoderDC(
        encoder_block_types=RES, encoder_block_out_channels=(8,) * stages,
        encoder_layers_per_block=(1,) * stages, encoder_qkv_multiscales=((),) * stages,
        encoder_out_shortcut=False, downsample_block_type="conv", **config,
    ).eval()
    for tensor in module.state_dict().values():
        if tensor.ndim == 1:
            tensor += 0.3 * torch.randn_like(tensor)
        tensor.copy_(tensor.to(dtype).float())
    return module


@torch.no_grad()
def diffusers_picture(module, z):
    """What the decoder makes of z f32 [H, W, C]: f32 [H', W', 3]."""
    sample = torch.from_numpy(z).permute(2, 0, 1)[None]
    return module.decode(sample).sample[0].permute(1, 2, 0).numpy()
