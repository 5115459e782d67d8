"""Trains AutoencoderDC on crops of the rendered scenes, then encodes them all.

Crops start at multiples of 32 pixels, as the fine texture repeats and as latents lie. Noise on
the latents and a tiny weight on their size take the place of a KL term: what a latent says must
stand out of the noise. The loss on pictures is that of ../autoencoder.py.
"""

import time
from pathlib import Path

import numpy as np
import torch

from .. import loop
from ..autoencoder import crops, decibels, picture_loss, to_pixels
from ..checkpoint import load_latest, save
from ..dataset import HELD_OUT_SEED, draw_range
from ..large.draw import draw
from ..precision import autocast
from . import architecture

CROPS = (128, 6)        # side in pixels, count
WHOLES = (256, 2)
WHOLE_EVERY = 5         # steps; one of them is on whole pictures
NOISE, SIZE_WEIGHT = .1, 1e-3
RATES = 2e-3, 1e-3      # Muon, Adam
CHECKED, MEASURED = 8, 200      # held-out pictures at a checkpoint, and for a card


def loss_of(model, pixels, generator):
    latents = model.encoder(pixels)
    noise = NOISE * torch.randn(latents.shape, generator=generator)
    rebuilt = model.decoder(latents + noise)
    return picture_loss(rebuilt.float() - pixels) + SIZE_WEIGHT * latents.float().square().mean()


def batch_of(pictures, step):
    """Crops f32 [B, 3, side, side] of a step, or whole pictures."""
    side, count = WHOLES if step % WHOLE_EVERY == WHOLE_EVERY - 1 else CROPS
    return crops(pictures, side, count, np.random.default_rng((step, 10)), architecture.FACTOR)


def is_kernel(name, parameter):
    """Whether Muon steps it: kernels within, but for depth-wise and grouped ones."""
    ends = ("encoder.conv_in.", "decoder.conv_out.")
    return (parameter.ndim > 1 and parameter.shape[1] > 1 and not name.startswith(ends)
            and "to_qkv_multiscale" not in name)


@torch.no_grad()
def psnr(model, pictures):
    """Mean PSNR in dB of pictures uint8 [N, 256, 256, 3], encoded and decoded."""
    figures = []
    for start in range(0, len(pictures), CHECKED):
        pixels = to_pixels(pictures[start:start + CHECKED])
        rebuilt = model.decoder(model.encoder(pixels))
        figures += [decibels(rebuilt, pixels)] * len(pixels)
    return float(np.mean(figures))


def measure(work):
    """Print the PSNR on held-out pictures that no checkpoint was measured by."""
    pictures = draw_range(HELD_OUT_SEED + CHECKED, MEASURED, draw)
    model, step = averaged(work)
    print(f"autoencoder step {step}: {psnr(model, pictures):.2f} dB on {MEASURED} pictures")


def start(seed=0):
    """An untrained autoencoder and its Run."""
    torch.manual_seed(seed)
    model = architecture.autoencoder()
    return model, loop.Run(dict(model.named_parameters()), RATES, is_kernel)


def loss_at(model, pictures, step):
    with autocast():
        return loss_of(model, batch_of(pictures, step), torch.Generator().manual_seed(step))


def train(rank, workers, work, seconds):
    """Train for `seconds` of the process's own time in all."""
    pictures = np.load(Path(work) / "scenes.npy", mmap_mode="r")
    held_out = draw_range(HELD_OUT_SEED, CHECKED, draw)
    model, run = start()
    loop.fit(run, "autoencoder", work, seconds, rank,
             lambda step: loss_at(model, pictures, step * workers + rank),
             lambda: psnr(model, held_out), time.process_time, "PSNR")


@torch.no_grad()
def averaged(work):
    """The autoencoder with the averaged weights of the latest checkpoint, and its step."""
    state, model = load_latest(work, "autoencoder"), architecture.autoencoder()
    model.load_state_dict(state["average"])
    return model.eval(), state["step"]


def encoded(work):
    """The autoencoder that made the latents, which divides them by their deviations, in the bf16
    in which it is stored: the denoiser is its own, however far the training has gone since."""
    model = architecture.autoencoder()
    model.load_state_dict(load_latest(work, "statistics")["model"])
    return model.eval()


@torch.no_grad()
def fold(model, deviation):
    """Let every channel of the latents have the deviation 1; the decoder takes it back."""
    model.encoder.conv_out.weight /= deviation[:, None, None, None]
    model.encoder.conv_out.bias /= deviation
    model.decoder.conv_in.weight *= deviation[:, None, None]


@torch.no_grad()
def encode_all(work, count, batch=20):
    """Write latents f16 [count, 32, 8, 8] of the first scenes, each channel's deviation being 1,
    and the autoencoder that reads them; nothing where the latest checkpoint has been used already.

    Scenes beyond the rendered ones are drawn here and forgotten.
    """
    work = Path(work)
    model, step = averaged(work)
    path, before = work / "latents.npy", load_latest(work, "statistics")
    if before and before["step"] == step and len(np.load(path, mmap_mode="r")) == count:
        return
    drawn = np.load(work / "scenes.npy", mmap_mode="r")
    shape = count, architecture.LATENT_CHANNELS, *[architecture.LATENT_SIDE] * 2
    partial = path.with_suffix(".partial.npy")
    out = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
    for first in range(0, count, batch):
        last = min(first + batch, count)
        is_drawn = last <= len(drawn)
        pictures = drawn[first:last] if is_drawn else draw_range(first, last - first, draw)
        with autocast():
            out[first:last] = model.encoder(to_pixels(pictures)).float().numpy()
        if first % 1000 == 0:
            print(f"latents {first} of {count}", flush=True)
    deviation = np.sqrt(out[:].astype(np.float64).var((0, 2, 3))).astype(np.float32)
    out /= deviation[:, None, None]
    out.flush()
    fold(model, torch.from_numpy(deviation))
    nothing, one = torch.zeros(len(deviation)), torch.ones(len(deviation))
    stored = {name: tensor.bfloat16().float() for name, tensor in model.state_dict().items()}
    partial.rename(path)
    save(work, "statistics", {"model": stored, "step": step,
                              "mean": nothing, "variance": one})    # of what is written
