"""Small random checkpoints of Sana's shape, written by diffusers' own pipelines.

Weights come from the real classes. The linears of the transformer's blocks lie on a ternary or
binary grid, a random scale for each group of inputs; everything is exact in bf16.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import (
    AutoencoderDC,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
)
from transformers import AutoTokenizer, Gemma2Config, Gemma2Model

from tests.checkpoints import write_json
from tests.gemma_tokenizer import write_tokenizer

INSTRUCTION = ["Paint what is asked for, in detail.", "A pine -> an old pine in snow.", "Asked: "]
RES, VIT = "ResBlock", "EfficientViTBlock"


def transformer(heads, head, cross_heads, cross_head, **own):
    width = heads * head
    return {"in_channels": 16, "out_channels": 16, "num_layers": 2, "num_attention_heads": heads,
            "attention_head_dim": head, "num_cross_attention_heads": cross_heads,
            "cross_attention_head_dim": cross_head, "cross_attention_dim": width} | own


def autoencoder(channels, first_vit, layers, **own):
    """channels of the decoder's stages; those from `first_vit` on have attention."""
    stages = range(len(channels))
    kinds = tuple(VIT if i >= first_vit else RES for i in stages)
    return {"latent_channels": 16, "decoder_block_types": kinds, "encoder_block_types": kinds,
            "decoder_block_out_channels": channels, "encoder_block_out_channels": channels,
            "decoder_layers_per_block": layers, "encoder_layers_per_block": (1,) * len(channels),
            "decoder_qkv_multiscales": tuple((5,) if i >= first_vit else () for i in stages),
            "encoder_qkv_multiscales": ((),) * len(channels), "attention_head_dim": 32,
            "upsample_block_type": "interpolate", "downsample_block_type": "conv",
            "scaling_factor": 0.41407} | own


ENCODER = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "intermediate_size": 128, "query_pre_attn_scalar": 16, "sliding_window": 4096,
}

SHAPES = {
    # Many narrow heads, groups of 112 as Sana 1.6B has; three stages of the autoencoder.
    "heads": {
        "transformer": transformer(14, 16, 2, 112, mlp_ratio=3.0, sample_size=16), "group": 112,
        "encoder": ENCODER,
        "vae": autoencoder((32, 32, 64), 2, (1, 1, 1)),
        "call": {},
    },
    # Groups of 160, a sliding window that prompts exceed; five stages, without an instruction.
    "wide": {
        "transformer": transformer(5, 32, 2, 80, mlp_ratio=2.0, num_layers=1, sample_size=4),
        "group": 160,
        "encoder": ENCODER | {"sliding_window": 16, "num_hidden_layers": 3},
        "vae": autoencoder((32, 32, 64, 64, 128), 3, (1, 1, 1, 1, 1)),
        "call": {"complex_human_instruction": None, "num_inference_steps": 4},
    },
    # Sana-1.5: queries and keys normalised over all heads; groups of 80; positions as at 2K.
    "normed": {
        "transformer": transformer(10, 16, 2, 80, mlp_ratio=2.0, qk_norm="rms_norm_across_heads",
                                   interpolation_scale=1.0, sample_size=8), "group": 80,
        "encoder": ENCODER | {"head_dim": 32, "hidden_size": 96},
        "vae": autoencoder((32, 64, 64, 128), 2, (1, 1, 2, 1), scaling_factor=0.3),
        "call": {"guidance_scale": 3.0, "negative_prompt": "grey, flat"},
    },
    # Sana-Sprint: embedded guidance; groups of 16; six stages, the last one of pixel shuffles.
    "sprint": {
        "transformer": transformer(4, 32, 2, 64, mlp_ratio=2.5, qk_norm="rms_norm_across_heads",
                                   guidance_embeds=True, sample_size=2), "group": 16,
        "encoder": ENCODER,
        "vae": autoencoder((32, 32, 32, 32, 64, 64), 4, (1, 1, 1, 1, 1, 1)),
        "call": {},
    },
    # Biases in the linear attention, times that are scaled; an autoencoder without shortcut in.
    "biased": {
        "transformer": transformer(2, 32, 1, 64, mlp_ratio=3.0, attention_bias=True, num_layers=1,
                                   timestep_scale=0.001, sample_size=8), "group": 64,
        "encoder": ENCODER | {"num_key_value_heads": 1},
        "vae": autoencoder((32, 32, 64, 64), 3, (1, 2, 1, 1), decoder_in_shortcut=False),
        "call": {"num_inference_steps": 3},
    },
}
CALL = {"complex_human_instruction": INSTRUCTION, "max_sequence_length": 40,
        "prompts": ["an old pine in the snow"]}
SCHEDULERS = {
    "dpm": lambda: DPMSolverMultistepScheduler(
        flow_shift=3.0, use_flow_sigmas=True, prediction_type="flow_prediction"),
    "euler": lambda: FlowMatchEulerDiscreteScheduler(shift=3.0),
    "scm": SCMScheduler,
}


def make_sana(path, shape, variant="ternary", scheduler=None, seed=0, **call):
    """Writes a checkpoint folder of diffusers'.

    shape is a key of SHAPES, variant "ternary", "binary" or None, in full precision, scheduler a
    key of SCHEDULERS, by default that of the pipeline; call: more of trefoil.json.
    """
    spec = SHAPES[shape]
    sprint = spec["transformer"].get("guidance_embeds", False)
    with TemporaryDirectory() as folder:
        write_tokenizer(Path(folder))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(seed)
    denoiser = SanaTransformer2DModel(caption_channels=spec["encoder"]["hidden_size"],
                                      **spec["transformer"])
    encoder = Gemma2Model(Gemma2Config(vocab_size=len(tokenizer) + 3, **spec["encoder"]))
    vae = AutoencoderDC(**spec["vae"])
    for module in (denoiser, encoder, vae):
        fill(module)
    if variant:
        quantise_blocks(denoiser, variant, spec["group"])
    kind = SanaSprintPipeline if sprint else SanaPipeline
    usual = "scm" if sprint else "dpm"
    pipeline = kind(tokenizer, encoder, vae, denoiser, SCHEDULERS[scheduler or usual]())
    pipeline.to(torch.bfloat16).save_pretrained(path)
    write_json(path / "trefoil.json", CALL | spec["call"] | call)
    return path


@torch.no_grad()
def fill(module):
    """Random weights under which every branch and gate matters and the picture does not clip."""
    shifted = isinstance(module, Gemma2Model)  # whose norms multiply by 1 + weight
    for name, p in module.named_parameters():
        noise = torch.randn(p.shape)
        if name.endswith("bias"):
            p.copy_(0.1 * noise)
        elif p.ndim == 1:
            p.copy_((0 if shifted else 1) + 0.2 * noise)
        elif name.endswith("scale_shift_table"):
            p.copy_(0.3 * noise)
        elif "embed_tokens" in name:
            p.copy_(noise)
        else:
            p.copy_(noise / p[0].numel() ** 0.5)
        if "time_embed" in name and p.ndim > 1:
            p.mul_(2)  # two SiLUs in a row halve the signal twice
        if name == "decoder.conv_out.weight":
            p.mul_(0.3)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.bfloat16())


@torch.no_grad()
def quantise_blocks(module, variant, group):
    """The block linears, 1x1 convolutions among them, become codes times scales of bf16."""
    kinds = torch.nn.Linear | torch.nn.Conv2d
    for name, layer in module.named_modules():
        if not (name.startswith("transformer_blocks.") and isinstance(layer, kinds)):
            continue
        if name.endswith("conv_depth"):
            continue
        n, k = layer.weight.shape[:2]
        size = (torch.exp(0.3 * torch.randn(n, k // group, 1)) / k**0.5).bfloat16().float()
        if variant == "ternary":
            codes = torch.randint(-1, 2, (n, k // group, group))
        else:
            codes = 2 * torch.randint(0, 2, (n, k // group, group)) - 1
        layer.weight.copy_((codes * size).reshape(layer.weight.shape))
