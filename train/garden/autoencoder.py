"""Trains the autoencoder on random crops of the rendered scenes, then encodes them all.

Loss: L1 + L2 + L1 of the finite differences (edges) + a tiny KL term. Small crops in small batches
learn several times faster per second than whole pictures; but the group norms and the attention see
other statistics there, so the last part of the run is on whole pictures (24 to 31 dB on those).
"""

import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import distributed
from torch.nn import functional as F

from . import architecture
from .checkpoint import load_latest, save
from .dataset import HELD_OUT_SEED, draw_range
from .muon import Muon
from .parallel import agree, average_gradients
from .precision import autocast

CROPS = (64, 8)         # side in pixels, count in a process's batch
WHOLES = (128, 2)
WHOLE_FROM = .85        # fraction of the run
KL_WEIGHT = 1e-5
SAVE_SECONDS = 150


def to_pixels(pictures):
    """uint8 [B, H, W, 3] to f32 [B, 3, H, W] in -1..1."""
    return torch.tensor(pictures).permute(0, 3, 1, 2) / 127.5 - 1


def to_pictures(pixels):
    """f32 [B, 3, H, W] in -1..1 to uint8 [B, H, W, 3]."""
    return ((pixels + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def posterior(model, pixels):
    """Mean and log-variance of the latents, each [B, 16, H/8, W/8]."""
    mean, log_variance = model.quant_conv(model.encoder(pixels)).chunk(2, 1)
    return mean, log_variance.clamp(-30, 10)


def decode(model, latents):
    return model.decoder(model.post_quant_conv(latents))


def loss_of(model, pixels, generator):
    mean, log_variance = posterior(model, pixels)
    noise = torch.randn(mean.shape, generator=generator)
    error = decode(model, mean + (log_variance / 2).exp() * noise).float() - pixels
    kl = (mean ** 2 + log_variance.exp() - 1 - log_variance).float().mean() / 2
    return picture_loss(error) + KL_WEIGHT * kl


def picture_loss(error):
    """L1 + L2 + L1 of the edges of what a rebuilt picture [B, 3, H, W] is off by."""
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + 2 * (error ** 2).mean() + .5 * edges


def crops(pictures, side, count, rng, grid=1):
    """Random crops f32 [count, 3, side, side], at multiples of `grid` pixels."""
    chosen = []
    for index in rng.integers(len(pictures), size=count):
        y, x = grid * rng.integers((pictures.shape[1] - side) // grid + 1, size=2)
        chosen.append(pictures[index, y:y + side, x:x + side])
    return to_pixels(np.stack(chosen))


@torch.no_grad()
def psnr(model, count=32):
    """Mean PSNR in dB over held-out scenes, latents at the posterior's mean."""
    pixels = to_pixels(draw_range(HELD_OUT_SEED, count))
    return decibels(decode(model, posterior(model, pixels)[0]), pixels)


def decibels(rebuilt, pixels):
    """Mean PSNR of pictures [B, 3, H, W] in -1..1."""
    error = ((rebuilt.clamp(-1, 1) - pixels) / 2).square().mean((1, 2, 3))
    return float((-10 * error.log10()).mean())


def optimisers(model, rate):
    """Muon for every kernel between the first and the last convolution, Adam for the rest."""
    outer = {model.encoder.conv_in.weight, model.decoder.conv_out.weight}
    inner = [p for p in model.parameters() if p.ndim > 1 and p not in outer]
    rest = [p for p in model.parameters() if p.ndim == 1 or p in outer]
    return [Muon(inner, rate), torch.optim.AdamW(rest, rate, betas=(.9, .95), weight_decay=0)]


def rate_at(fraction):
    """Warm-up over the first 2 %, then cosine to 1 % of the peak."""
    return min(fraction / .02, 1) * (.01 + .99 * (1 + math.cos(math.pi * min(fraction, 1))) / 2)


def train(rank, workers, scenes, folder, seconds, rate=4e-3):
    """Train for `seconds` of wall clock in all (over every resumption)."""
    torch.manual_seed(0)
    pictures = np.load(scenes, mmap_mode="r")
    model = architecture.autoencoder()
    steps = optimisers(model, rate)
    state = load_latest(folder, "autoencoder") or {"step": 0, "seconds": 0.0}
    if "model" in state:
        model.load_state_dict(state["model"])
        for optimiser, saved in zip(steps, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
    step, before, losses = state["step"], state["seconds"], []
    start = saved_at = time.time()
    while (elapsed := agree(before + time.time() - start)) < seconds:
        for group in (group for optimiser in steps for group in optimiser.param_groups):
            group["lr"] = rate * rate_at(elapsed / seconds + 1e-3)
        side, count = CROPS if elapsed < WHOLE_FROM * seconds else WHOLES
        losses.append(train_step(model, steps, pictures, side, count, step * workers + rank))
        step += 1
        last = elapsed + 1 > seconds
        if rank == 0 and (step % 50 == 0 or last):
            print(f"autoencoder step {step} {elapsed:.0f} s loss {np.mean(losses[-50:]):.4f}",
                  flush=True)
        if rank == 0 and (time.time() - saved_at > SAVE_SECONDS or last):
            saved_at = time.time()
            save(folder, "autoencoder", {
                "model": model.state_dict(), "step": step, "seconds": elapsed,
                "optimisers": [optimiser.state_dict() for optimiser in steps]})
            print(f"autoencoder step {step}: held-out PSNR {psnr(model):.2f} dB", flush=True)


def train_step(model, steps, pictures, side, count, seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = crops(pictures, side, count, np.random.default_rng(seed))
    with autocast():
        loss = loss_of(model, pixels, generator)
    loss.backward()
    average_gradients(model.parameters())
    for optimiser in steps:
        optimiser.step()
        optimiser.zero_grad()
    return loss.item()


def pack_latents(latents):
    """[B, 16, 16, 16] to [B, 64, 8, 8]: channel 4c + 2dy + dx of each 2 x 2 patch."""
    return F.pixel_unshuffle(latents, 2)


@torch.no_grad()
def encode_all(rank, workers, scenes, folder, count, batch=20):
    """Write packed latents (posterior means) f16 [count, 64, 8, 8] of the first scenes, and their
    exact mean and variance by channel, which become the autoencoder's batch-norm statistics."""
    model = trained(folder)
    pictures = np.load(scenes, mmap_mode="r")[:count]
    shape = (count, architecture.LATENT_CHANNELS) + (architecture.LATENT_SIDE,) * 2
    path = Path(folder) / "latents.npy"
    partial = path.with_suffix(".partial.npy")
    if rank == 0:
        np.lib.format.open_memmap(partial, "w+", np.float16, shape).flush()
    distributed.barrier()
    out = np.lib.format.open_memmap(partial, "r+")
    starts = range(0, count, batch)
    for number, start in enumerate(starts[rank::workers]):
        with autocast():
            mean, _ = posterior(model, to_pixels(pictures[start:start + batch]))
        out[start:start + batch] = pack_latents(mean.float()).numpy()
        if number % 25 == 0:
            print(f"latents {start} of {count}", flush=True)
    out.flush()
    distributed.barrier()
    if rank == 0:
        values = out.astype(np.float64)
        save(folder, "statistics", {"mean": torch.from_numpy(values.mean((0, 2, 3))).float(),
                                    "variance": torch.from_numpy(values.var((0, 2, 3))).float()})
        partial.rename(path)


def trained(folder):
    """The autoencoder of the latest checkpoint, its weights rounded to bf16 as they are stored."""
    model = architecture.autoencoder()
    model.load_state_dict(load_latest(folder, "autoencoder")["model"])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    return model.eval()
