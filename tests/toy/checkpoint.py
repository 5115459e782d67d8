"""Writes a checkpoint of the toy family: the tiny checkpoint with another denoiser."""

import shutil

import numpy as np

from tests.export.tiny import CALL, Tiny, save, write_json
from tests.toy.denoiser import CLASS

CHANNELS, WIDTH, GROUP = 16, 128, 128
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


class Toy(Tiny):
    """`text_proj` [C, Dt] and `proj` [C, C] are the denoiser's weights, float64, held by bf16.

    The variances of its latents are none below zero, so that it can be drawn with.
    """

    def __init__(self, seed=0):
        super().__init__(seed=seed)
        random = np.random.default_rng(seed + 1)
        codes = random.integers(-1, 2, (CHANNELS, WIDTH))
        scales = random.integers(1, 64, (CHANNELS, WIDTH // GROUP)) / 256
        self.text_proj = np.repeat(scales, GROUP, axis=1) * codes
        self.proj = random.integers(-64, 64, (CHANNELS, CHANNELS)) / 256
        self.autoencoder["bn.running_var"] = self.store(random.integers(64, 256, CHANNELS) / 256)

    def write(self, folder, guided=False, **call):
        """call: more of trefoil.json."""
        super().write(folder, "unpacked")
        shutil.rmtree(folder / "transformer")
        write_json(folder / "transformer" / "config.json", {
            "_class_name": CLASS, "in_channels": CHANNELS, "joint_attention_dim": WIDTH,
        })
        save(folder / TRANSFORMER, {
            "text_proj.weight": self.store(self.text_proj), "proj.weight": self.store(self.proj),
        })
        pipeline = "ToyGuidedPipeline" if guided else "ToyPipeline"
        write_json(folder / "model_index.json", {"_class_name": pipeline})
        write_json(folder / "trefoil.json", CALL | {"num_inference_steps": 2} | call)
        return folder
