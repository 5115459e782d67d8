"""Trains the judge's classifier on renders, measures it on others and writes both down:

    python -m train.garden.classifier --out models/garden-judge
    python -m train.garden.classifier --side 256 --out models/garden-judge-256 --vae FOLDER/vae

Attributes are uniform and independent (`any_scene`), so every combination occurs, held-out pairs
too. The pictures are degraded a little, as an autoencoder and a few sampling steps would.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC, AutoencoderKLFlux2
from torch.nn import functional as F
from tqdm import tqdm

from .autoencoder import decode, posterior, to_pictures
from .dataset import PAINTERS
from .judge import Classifier, load, save, to_pixels
from .precision import autocast
from .scene import ATTRIBUTES, any_scene

TRAIN_SEED = 40_000_000
TEST_SEED = 45_000_000
BATCH = 64
RATE = 4e-3
WEIGHT_DECAY = .02


def renders(first, count, side, label):
    """Pictures uint8 [count, side, side, 3] and classes i64 [count, attributes] of any_scene."""
    scenes = [any_scene(seed) for seed in range(first, first + count)]
    pictures = np.stack([PAINTERS[side](scene) for scene in tqdm(scenes, label)])
    classes = [[values.index(getattr(scene, name)) for name, values in ATTRIBUTES.items()]
               for scene in scenes]
    return pictures, torch.tensor(classes)


def degrade(pixels, rng):
    """A third of the pictures blurred, a third halved in scale and back; noise, light and tint.

    f32 [B, 3, side, side] in -1..1, each picture by another amount.
    """
    def uniform(low, high, channels=1):
        return torch.from_numpy(rng.uniform(low, high, (len(pixels), channels, 1, 1))).float()

    pixels = pixels.clone()
    pixels[1::3] = F.avg_pool2d(pixels[1::3], 3, 1, 1, count_include_pad=False)
    pixels[2::3] = F.interpolate(F.avg_pool2d(pixels[2::3], 2), scale_factor=2, mode="bilinear")
    noise = torch.from_numpy(rng.standard_normal(pixels.shape, np.float32))
    return (pixels * uniform(.88, 1.1) + uniform(-.08, .08) + uniform(-.03, .03, 3)
            + noise * uniform(0, .08))


def train(scenes, epochs, side=128, seed=0):
    """A classifier trained on `scenes` renders."""
    torch.manual_seed(seed)
    rng = np.random.default_rng((seed, 6))
    pictures, classes = renders(TRAIN_SEED, scenes, side, "renders")
    classifier = Classifier(side).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(classifier.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    steps = scenes // BATCH * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=.15)
    with tqdm(total=steps, desc="training", mininterval=10) as bar:
        for _ in range(epochs):
            order = rng.permutation(scenes)
            for start in range(0, scenes - BATCH + 1, BATCH):
                chosen = np.sort(order[start:start + BATCH])
                pixels = degrade(to_pixels(pictures[chosen]), rng)
                loss = loss_of(classifier, pixels, classes[chosen])
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
                schedule.step()
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
    return classifier.eval()


def loss_of(classifier, pixels, classes):
    """Sum over the attributes of the mean cross-entropy."""
    with autocast():
        logits = classifier(pixels.contiguous(memory_format=torch.channels_last))
    return sum(F.cross_entropy(values.float(), classes[:, index])
               for index, values in enumerate(logits.values()))


@torch.inference_mode()
def round_trip(autoencoder, pictures, batch=20):
    """The pictures encoded and decoded: uint8 as they came."""
    rebuilt = []
    for start in tqdm(range(0, len(pictures), batch), "round trip"):
        pixels = to_pixels(pictures[start:start + batch])
        with autocast():
            if isinstance(autoencoder, AutoencoderDC):
                pixels = autoencoder.decoder(autoencoder.encoder(pixels))
            else:
                pixels = decode(autoencoder, posterior(autoencoder, pixels)[0])
        rebuilt.append(to_pictures(pixels.float()))
    return np.concatenate(rebuilt)


def load_autoencoder(folder):
    """The autoencoder of a folder, of the class that its configuration names."""
    name = json.loads((folder / "config.json").read_text())["_class_name"]
    kind = AutoencoderDC if name == "AutoencoderDC" else AutoencoderKLFlux2
    return kind.from_pretrained(folder).float().eval()


def accuracies(judge, pictures, classes):
    """Share of right readings by attribute, and of pictures read right in all of them."""
    read = judge.read(pictures)
    right = np.array([[values.index(seen[name]) for name, values in ATTRIBUTES.items()]
                      for seen in read]) == classes.numpy()
    return dict(zip(ATTRIBUTES, right.mean(0).tolist(), strict=True)) | {
        "all eight": float(right.all(1).mean())}


CARD = """---
license: apache-2.0
---

# Garden's judge

A small convolutional classifier ({parameters:,} parameters, float32) that reads the eight
attributes of a bonsai scene off a {side} x {side} picture. `train/garden/evaluate.py` judges
generated pictures with it and measures the Frechet distance in its 160 pooled features. Trained
from nothing by

    python -m train.garden.classifier --side {side} --out {out} \\
        --scenes {scenes} --epochs {epochs}

on renders of `train/garden/{painter}` alone, attributes uniform and independent, with mild blur,
noise, light and tint. It has never seen a generated picture and knows nothing but these scenes.

Right readings over {count:,} renders with other seeds, and over the same ones after Garden's
autoencoder:

{table}

Apache-2.0.
"""


def table(columns):
    """Markdown of {column: {row: share}}."""
    rows = [f"| {' | '.join(['attribute', *columns])} |", "| --- |" + " --- |" * len(columns)]
    for name in next(iter(columns.values())):
        shares = " | ".join(f"{100 * column[name]:.2f} %" for column in columns.values())
        rows.append(f"| {name.replace('_', ' ')} | {shares} |")
    return "\n".join(rows)


def main():
    parser = argparse.ArgumentParser(prog="python -m train.garden.classifier",
                                     description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("models/garden-judge"))
    parser.add_argument("--side", type=int, choices=PAINTERS, default=128, help="of the pictures")
    parser.add_argument("--scenes", type=int, default=10_000, help="renders to train on")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--test", type=int, default=2000, help="renders to measure on")
    parser.add_argument("--vae", type=Path, default=Path("models/garden-teacher/vae"),
                        help="autoencoder of the round trip")
    parser.add_argument("--measure", action="store_true", help="train nothing, measure --out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not args.measure:
        save(train(args.scenes, args.epochs, args.side), args.out)
    judge = load(args.out)
    pictures, classes = renders(TEST_SEED, args.test, judge.side, "unseen renders")
    columns = {"renders": accuracies(judge, pictures, classes)}
    rebuilt = round_trip(load_autoencoder(args.vae), pictures)
    columns["after the autoencoder"] = accuracies(judge, rebuilt, classes)
    shares = table(columns)
    print(shares)
    (args.out / "README.md").write_text(CARD.format(
        parameters=sum(p.numel() for p in judge.classifier.parameters()), scenes=args.scenes,
        epochs=args.epochs, count=args.test, table=shares, side=judge.side, out=args.out,
        painter="draw.py" if judge.side == 128 else "large"))


if __name__ == "__main__":
    main()
