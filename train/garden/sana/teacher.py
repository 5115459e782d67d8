"""Writes the trained networks as a folder of diffusers' SanaSprintPipeline, in bf16: the
ternariser's teacher."""

import shutil

import torch
from diffusers import SanaSprintPipeline, SCMScheduler
from transformers import AutoTokenizer

from ..checkpoint import load_latest
from ..prompts import EXAMPLES
from ..teacher import trained_weights, write_json
from . import architecture, autoencoder
from .distil import BETWEEN
from .networks import Networks

SIZES = [[architecture.SIDE] * 2]
CALL = {
    "complex_human_instruction": None, "max_sequence_length": architecture.TEXT_TOKENS,
    "width": architecture.SIDE, "height": architecture.SIDE, "num_inference_steps": 2,
    "intermediate_timesteps": BETWEEN, "guidance_scale": 3.0,
}


@torch.no_grad()
def networks_of(work):
    """The distilled transformer and the flow's text encoder, with the trained weights."""
    if load_latest(work, "distil") is None:
        raise FileNotFoundError(f"{work}: holds no distil.pt; run train.garden.sana.train distil")
    weights, networks = trained_weights(work), Networks(guided=True)
    for name, parameter in networks.parameters().items():
        parameter.copy_(weights[name])
    return networks


def write(work, out):
    """The model folder `out` from the checkpoints in `work`; its README.md, LICENSE and NOTICE are
    kept by hand."""
    networks = networks_of(work)
    pipeline = SanaSprintPipeline(
        AutoTokenizer.from_pretrained(work / "tokenizer"), networks.text_encoder,
        autoencoder.encoded(work), networks.transformer, SCMScheduler())
    pipeline.to(torch.bfloat16).save_pretrained(out)
    shutil.copytree(work / "tokenizer", out / "tokenizer", dirs_exist_ok=True)
    write_json(out / "trefoil.json", CALL | {"sizes": SIZES, "prompts": EXAMPLES})
