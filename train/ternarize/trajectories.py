"""The teacher's own drawings: for each prompt and seed, its states from noise to latents.

They are drawn once and kept in three files, so that training reads rows instead of drawing:

    states.npy     f16 [prompts * seeds, steps + 1, tokens, channels]    state 0 is the noise
    contexts.npy   bf16 as u16 [prompts, encoders, text tokens, width]   what the encoders say
    drawn.json     what was asked for, and how many rows are there

The encoders are the teacher's and, where it is stored with fewer bits, the student's: a student is
taught on what it will read, to say what the teacher says to what that reads.
"""

import json
import math
import shutil

import numpy as np
import torch

from export.errors import ExportError
from train.ternarize import processes
from train.ternarize.files import write_json


class Trajectories:
    """Rows of a finished folder, as tensors on a device."""

    def __init__(self, folder, seeds, dtype, device):
        self.states = np.load(folder / "states.npy", mmap_mode="r")
        self.contexts = np.load(folder / "contexts.npy", mmap_mode="r")
        self.seeds, self.dtype, self.device = seeds, dtype, device

    def state(self, rows, step):
        """f32 [B, tokens, channels] of rows after `step` steps, one number or one a row."""
        chosen = self.states[np.asarray(rows), step]
        return torch.from_numpy(chosen.astype(np.float32)).to(self.device)

    def context(self, rows, teacher=False):
        """[B, text tokens, width] of the rows' prompts, by the student's encoder or the teacher's.
        """
        encoder = 0 if teacher else -1
        chosen = self.contexts[np.asarray(rows) // self.seeds, encoder].astype(np.uint16)
        return torch.from_numpy(chosen).view(torch.bfloat16).to(self.device, self.dtype)


def draw(folder, family, teacher, prompts, settings, dtype, device, progress):
    """Draws what is not there yet. Every process draws its share of each batch of prompts."""
    request = {
        "teacher": family.fingerprint(), "prompts": prompts.digest, "count": len(prompts.texts),
        "seeds": settings.seeds_per_prompt, "seed": settings.seed, "compute": settings.compute,
        "text_encoder_bits": settings.text_encoder_bits,
    }
    done = rows_drawn(folder, request)
    count = len(prompts.texts)
    if done == count:
        return
    bits = sorted({16, settings.text_encoder_bits}, reverse=True)
    encoders = [family.load_encoder(dtype, device, each) for each in bits]
    states, contexts = open_files(folder, family, request, len(encoders), done)
    size = settings.micro_batch
    progress.begin("draw with the teacher", count, done)
    while done < count:
        # Processes beyond the last prompt draw the last one again: all must take part in each call.
        first = done + processes.rank() * size
        chosen = np.minimum(np.arange(first, first + size), count - 1)
        said = [encode([prompts.texts[i] for i in chosen]) for encode in encoders]
        contexts[chosen] = torch.stack(said, 1).bfloat16().view(torch.uint16).cpu().numpy()
        for seed in range(settings.seeds_per_prompt):
            rows = chosen * settings.seeds_per_prompt + seed
            noise = torch.from_numpy(np.stack([initial(family, settings, row) for row in rows]))
            path = roll(family, teacher, noise.to(device), said[0], len(family.sigmas) - 1)
            states[rows] = torch.stack(path, 1).half().cpu().numpy()
        for file in (states, contexts):
            file.flush()
        processes.wait()
        done = min(count, done + size * processes.count())
        if processes.rank() == 0:
            write_json(folder / "drawn.json", request | {"rows": done})
        progress.advance(done)
    processes.wait()


def rows_drawn(folder, request):
    """Prompts that an earlier run of the same request has drawn. Raises ExportError."""
    path = folder / "drawn.json"
    if not path.exists():
        return 0
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = int(found.pop("rows"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ExportError(f"{path}: cannot be read; delete {folder} to draw again") from None
    for key, wanted in request.items():
        if found.get(key) != wanted:
            raise ExportError(
                f"{folder}: was drawn with another {key} (got {found.get(key)}, expected {wanted})"
                "; name another --trajectories, or delete it"
            )
    return rows


def open_files(folder, family, request, encoders, done):
    """states.npy and contexts.npy to write to; made by the first process when nothing is there."""
    folder.mkdir(parents=True, exist_ok=True)
    count = request["count"]
    states = (count * request["seeds"], len(family.sigmas), *family.state_shape)
    contexts = (count, encoders, *family.context_shape)
    shapes = {"states.npy": (np.float16, states), "contexts.npy": (np.uint16, contexts)}
    if processes.rank() == 0 and not done:
        check_disk(folder, shapes.values())
        for name, (dtype, shape) in shapes.items():
            np.lib.format.open_memmap(folder / name, "w+", dtype, shape).flush()
    processes.wait()
    return [np.load(folder / name, mmap_mode="r+") for name in shapes]


def check_disk(folder, shapes):
    """A full disk would kill the process while it writes, so it is refused before."""
    needed = sum(math.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in shapes)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ExportError(
            f"{folder}: the trajectories take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
            "free; name --trajectories on a larger disk, or give fewer prompts"
        )


def initial(family, settings, row):
    """The noise f32 [tokens, channels] that row starts from."""
    generator = np.random.default_rng((settings.seed, 0, int(row)))
    return generator.standard_normal(family.state_shape, np.float32)


@torch.no_grad()
def roll(family, transformer, state, context, steps):
    """The states [B, tokens, channels] before and after each of `steps` Euler steps."""
    path, sigmas = [state], family.sigmas.tolist()
    for i in range(steps):
        sigma = torch.full((len(state),), sigmas[i], device=state.device)
        velocity = family.velocity(transformer, state, sigma, context)
        state = state + (sigmas[i + 1] - sigmas[i]) * velocity
        path.append(state)
    return path
