"""The judge: a small classifier that reads the eight attributes of a scene off its picture.

classifier.py trains it on renders; it never sees a generated picture. Its pooled features are also
the space in which evaluate.py measures the Frechet distance.
"""

import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from .scene import ATTRIBUTES

FILE = "classifier.safetensors"
BATCH = 50


def stage(inputs, outputs, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                         nn.BatchNorm2d(outputs), nn.ReLU())


class Classifier(nn.Module):
    """Pictures f32 [N, 3, side, side] in -1..1 to logits by attribute, {name: [N, values]}.

    `side` is a multiple of 64; a larger picture's pixels become channels, so it costs no more.
    """

    def __init__(self, side=128):
        super().__init__()
        self.side, patch = side, side // 64
        self.trunk = nn.Sequential(nn.PixelUnshuffle(patch), stage(3 * patch * patch, 32, 2),
                                   stage(32, 48, 2), stage(48, 64, 1), stage(64, 96, 2),
                                   stage(96, 96, 1))
        # Lean and size are where things are, which the mean over the picture forgets.
        self.place = nn.Sequential(nn.Conv2d(96, 8, 1), nn.Flatten(), nn.Linear(8 * 64, 64),
                                   nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(96 + 64, len(values))
                                    for name, values in ATTRIBUTES.items()})

    def features(self, pixels):
        """f32 [N, 160]: the mean of 96 channels over the picture, and 64 of its coarse map."""
        coarse = self.trunk(pixels)
        return torch.cat([coarse.mean((2, 3)), self.place(coarse)], 1)

    def forward(self, pixels):
        features = self.features(pixels)
        return {name: head(features) for name, head in self.heads.items()}


class Judge:
    """Reads pictures uint8 [N, side, side, 3] with a trained classifier."""

    def __init__(self, classifier):
        self.classifier = classifier.float().eval()
        self.side = classifier.side

    def read(self, pictures):
        """What each picture shows: a list of {attribute: value}."""
        logits = self._run(lambda features: torch.cat(
            [head(features).argmax(1, keepdim=True) for head in self.classifier.heads.values()], 1
        ), pictures)
        return [{name: values[index] for (name, values), index
                 in zip(ATTRIBUTES.items(), row, strict=True)} for row in logits]

    def features(self, pictures):
        """Features f32 [N, 160] before the heads."""
        return self._run(lambda features: features, pictures)

    @torch.inference_mode()
    def _run(self, function, pictures):
        pictures, side = np.asarray(pictures), self.side
        if pictures.dtype != np.uint8 or pictures.shape[1:] != (side, side, 3):
            raise ValueError(f"Judge: pictures are {pictures.dtype} {list(pictures.shape)}, "
                             f"expected uint8 [N, {side}, {side}, 3]")
        return np.concatenate([
            function(self.classifier.features(to_pixels(pictures[start:start + BATCH]))).numpy()
            for start in range(0, len(pictures), BATCH)])


def to_pixels(pictures):
    """uint8 [N, H, W, 3] to f32 [N, 3, H, W] in -1..1."""
    return torch.tensor(pictures).permute(0, 3, 1, 2) / 127.5 - 1


def load(folder):
    """The judge of a folder that classifier.py wrote."""
    tensors = load_file(Path(folder) / FILE)
    channels = tensors["trunk.1.0.weight"].shape[1]
    classifier = Classifier(64 * math.isqrt(channels // 3))
    classifier.load_state_dict(tensors)
    return Judge(classifier)


def save(classifier, folder):
    Path(folder).mkdir(parents=True, exist_ok=True)
    # BatchNorm's counter of batches is of no use after training.
    save_file({name: tensor.contiguous() for name, tensor in classifier.state_dict().items()},
              Path(folder) / FILE)
