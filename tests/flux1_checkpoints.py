"""Small random checkpoints of FLUX.1's shape, written by diffusers' own pipeline.

Weights come from the real classes. The linears of the transformer's blocks, modulation among them,
lie on a ternary or binary grid, a random scale for each group of inputs; everything is exact in
bf16.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from transformers import (
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    T5Config,
    T5EncoderModel,
)

from tests import clip_tokenizer, t5_tokenizer
from tests.checkpoints import write_json

DYNAMIC = {"shift": 3.0, "use_dynamic_shifting": True}
STATIC = {"shift": 1.0, "use_dynamic_shifting": False}


def transformer(heads, head, axes, double, single, **own):
    return {"num_attention_heads": heads, "attention_head_dim": head, "axes_dims_rope": axes,
            "num_layers": double, "num_single_layers": single} | own


def clip(**own):
    return {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 128, "hidden_act": "quick_gelu", "eos_token_id": 2} | own


def t5(**own):
    return {"d_model": 64, "num_layers": 2, "num_heads": 4, "d_kv": 16, "d_ff": 128,
            "feed_forward_proj": "gated-gelu"} | own


def autoencoder(channels, latent, **own):
    return {"block_out_channels": channels, "latent_channels": latent, "layers_per_block": 1,
            "norm_num_groups": 4, "scaling_factor": 0.3611, "shift_factor": 0.1159,
            "use_quant_conv": False, "use_post_quant_conv": False} | own


SHAPES = {
    # dev: guidance, a dynamic shift; T5's heads wider together than its states.
    "dev": {
        "transformer": transformer(2, 64, (16, 24, 24), 1, 2, guidance_embeds=True), "group": 64,
        "clip": clip(), "t5": t5(d_kv=32),
        "vae": autoencoder((16, 24, 32), 4), "scheduler": DYNAMIC,
        "call": {"num_inference_steps": 6, "guidance_scale": 2.5},
    },
    # schnell: no guidance, no shift, four steps; groups of 48, narrow heads, few buckets; CLIP's
    # tokenizer in the two files in which it is published.
    "schnell": {
        "transformer": transformer(6, 32, (8, 12, 12), 2, 1), "group": 48,
        "clip": clip(hidden_size=96, num_attention_heads=2),
        "t5": t5(d_model=96, num_layers=3, relative_attention_num_buckets=8,
                 relative_attention_max_distance=20),
        "vae": autoencoder((8, 16, 16, 24), 8, layers_per_block=2), "scheduler": STATIC,
        "call": {"max_sequence_length": 33}, "two_files": True,
    },
    # FLUX.1's own axes, head width, latents and groups of norms.
    "own": {
        "transformer": transformer(2, 128, (16, 56, 56), 1, 1), "group": 128,
        "clip": clip(), "t5": t5(num_heads=2),
        "vae": autoencoder((32, 32, 64, 64), 16, norm_num_groups=32), "scheduler": STATIC,
        "call": {},
    },
    # dev with a static shift, CLIP's own last token, shorter texts; one scale a row of most
    # matrices; an autoencoder with a convolution before its decoder and no attention.
    "static": {
        "transformer": transformer(4, 16, (4, 6, 6), 2, 3, guidance_embeds=True), "group": 64,
        "clip": clip(max_position_embeddings=40, eos_token_id=None, num_hidden_layers=3),
        "t5": t5(num_heads=3, relative_attention_max_distance=64),
        "vae": autoencoder((32, 32), 4, use_post_quant_conv=True, use_quant_conv=True,
                           mid_block_add_attention=False, scaling_factor=0.7, shift_factor=-0.2),
        "scheduler": STATIC | {"shift": 3.0},
        "call": {"max_sequence_length": 17},
    },
}
CALL = {"max_sequence_length": 24, "prompts": ["an old pine in the snow"]}


def make_flux1(path, shape, variant="ternary", seed=0, **call):
    """Writes a checkpoint folder of diffusers'.

    shape is a key of SHAPES, variant "ternary", "binary" or None, in full
    precision; call: more of trefoil.json.
    """
    spec = SHAPES[shape]
    positions = spec["clip"].get("max_position_embeddings", 77)
    with TemporaryDirectory() as folder:
        first, second = Path(folder) / "clip", Path(folder) / "t5"
        clip_tokenizer.write_tokenizer(first)
        t5_tokenizer.write_tokenizer(second)
        tokenizer = AutoTokenizer.from_pretrained(first, model_max_length=positions)
        tokenizer_2 = AutoTokenizer.from_pretrained(second)
    torch.manual_seed(seed)
    own = {"vocab_size": len(tokenizer)} | spec["clip"]
    if own["eos_token_id"] is None:
        own["eos_token_id"] = tokenizer.eos_token_id
    encoder = CLIPTextModel(CLIPTextConfig(**own))
    encoder_2 = T5EncoderModel(T5Config(vocab_size=len(tokenizer_2) + 4, **spec["t5"]))
    stages = len(spec["vae"]["block_out_channels"])
    vae = AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * stages,
                        up_block_types=("UpDecoderBlock2D",) * stages, **spec["vae"])
    denoiser = FluxTransformer2DModel(
        in_channels=4 * spec["vae"]["latent_channels"], pooled_projection_dim=own["hidden_size"],
        joint_attention_dim=spec["t5"]["d_model"], **spec["transformer"])
    for module in (denoiser, encoder, encoder_2, vae):
        fill(module)
    if variant:
        quantise_blocks(denoiser, variant, spec["group"])
    pipeline = FluxPipeline(FlowMatchEulerDiscreteScheduler(**spec["scheduler"]), vae, encoder,
                            tokenizer, encoder_2, tokenizer_2, denoiser)
    pipeline.to(torch.bfloat16).save_pretrained(path)
    if spec.get("two_files"):
        shutil.rmtree(path / "tokenizer")
        clip_tokenizer.write_tokenizer(path / "tokenizer")
    write_json(path / "trefoil.json", CALL | spec["call"] | call)
    return path


@torch.no_grad()
def fill(module):
    """Random weights under which every branch and gate matters and the picture does not clip."""
    for name, p in module.named_parameters():
        noise = torch.randn(p.shape)
        if name.endswith("bias"):
            p.copy_(0.1 * noise)
        elif p.ndim == 1:
            p.copy_(1 + 0.2 * noise)
        elif "embedding" in name or "shared" in name or "relative_attention_bias" in name:
            p.copy_(noise)
        else:
            p.copy_(noise / p[0].numel() ** 0.5)
        if "time_text_embed" in name and p.ndim > 1:
            p.mul_(2)  # two SiLUs in a row halve the signal twice
        if name.endswith("SelfAttention.q.weight"):
            p.mul_(0.25)  # whose scores T5 does not divide
        if name == "decoder.conv_out.weight":
            p.mul_(0.7)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.bfloat16())


@torch.no_grad()
def quantise_blocks(module, variant, group):
    """The block linears become codes times scales of bf16."""
    for name, layer in module.named_modules():
        if not (isinstance(layer, torch.nn.Linear) and "transformer_blocks." in name):
            continue
        n, k = layer.weight.shape
        size = (torch.exp(0.3 * torch.randn(n, k // group, 1)) / k**0.5).bfloat16().float()
        if variant == "ternary":
            codes = torch.randint(-1, 2, (n, k // group, group))
        else:
            codes = 2 * torch.randint(0, 2, (n, k // group, group)) - 1
        layer.weight.copy_((codes * size).reshape(n, k))
