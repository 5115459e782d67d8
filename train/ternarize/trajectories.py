"""The teacher's own drawings: for each prompt and seed, its states from noise to latents.

They are drawn once and kept in files, so that training reads rows instead of drawing:

    states.npy         f16 [prompts * seeds, steps + 1, tokens, channels]    state 0 is the noise
    context-NAME.npy   bf16 as u16 [prompts, encoders, ...]    what the encoders say, by its names
    drawn.json         what was asked for, and how many rows are there

With classifier-free guidance one more row of the contexts is the negative prompt's.

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

    def __init__(self, folder, family, settings, dtype, device):
        self.family, self.settings = family, settings
        self.states = np.load(folder / "states.npy", mmap_mode="r")
        self.contexts = {name: np.load(folder / context_file(name), mmap_mode="r")
                         for name in family.context_shapes}
        self.dtype, self.device = dtype, device

    def state(self, rows, step):
        """f32 [B, tokens, channels] of rows after `step` steps, one number or one a row."""
        chosen = self.states[np.asarray(rows), step]
        return torch.from_numpy(chosen.astype(np.float32)).to(self.device)

    def context(self, rows, teacher=False, negative=False):
        """name -> [B, ...] of the rows' prompts, by the student's encoders or the teacher's.

        negative: for all or for each row, whether the negative prompt takes the prompt's place.
        """
        encoder = 0 if teacher else -1
        places = np.where(negative, -1, np.asarray(rows) // self.settings.seeds_per_prompt)
        said = {name: file[places, encoder].astype(np.uint16)
                for name, file in self.contexts.items()}
        return {name: torch.from_numpy(chosen).view(torch.bfloat16).to(self.device, self.dtype)
                for name, chosen in said.items()}

    def roll(self, student, rows, steps):
        """The states that the student passes through as it draws the rows."""
        guided = self.family.negative_prompt is not None
        negative = self.context(rows, negative=True) if guided else None
        return roll(self.family, student, self.state(rows, 0), self.context(rows), steps, negative,
                    fresh(self.family, self.settings, rows, self.device))


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
    bits = encoder_bits(settings)
    encoders = [family.load_encoder(dtype, device, each) for each in bits]
    states, contexts = open_files(folder, family, request, len(encoders), done)
    size, away = settings.micro_batch, None
    if family.negative_prompt is not None:
        negatives = [encode([family.negative_prompt], negative=True) for encode in encoders]
        store(contexts, [-1], negatives)
        away = negatives[0]
    progress.begin("draw with the teacher", count, done)
    while done < count:
        # Processes beyond the last prompt draw the last one again: all must take part in each call.
        first = done + processes.rank() * size
        chosen = np.minimum(np.arange(first, first + size), count - 1)
        said = [encode([prompts.texts[i] for i in chosen]) for encode in encoders]
        store(contexts, chosen, said)
        for seed in range(settings.seeds_per_prompt):
            rows = chosen * settings.seeds_per_prompt + seed
            noise = torch.from_numpy(np.stack([initial(family, settings, row) for row in rows]))
            path = roll(family, teacher, noise.to(device), said[0], len(family.sigmas) - 1,
                        led_away(away, size), fresh(family, settings, rows, device))
            states[rows] = torch.stack(path, 1).half().cpu().numpy()
        for file in (states, *contexts.values()):
            file.flush()
        processes.wait()
        done = min(count, done + size * processes.count())
        if processes.rank() == 0:
            write_json(folder / "drawn.json", request | {"rows": done})
        progress.advance(done)
    processes.wait()


def encoder_bits(settings):
    """Of the encoders that prompts are read by: the teacher's, and the student's where it differs.
    """
    return sorted({16, settings.text_encoder_bits}, reverse=True)


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
    """The files of states, and of contexts by name; the first process makes those missing."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = stored_arrays(family, request["count"], request["seeds"], encoders)
    if processes.rank() == 0 and not done:
        check_disk(folder, shapes.values())
        for name, (dtype, shape) in shapes.items():
            np.lib.format.open_memmap(folder / name, "w+", dtype, shape).flush()
    processes.wait()
    opened = {name: np.load(folder / name, mmap_mode="r+") for name in shapes}
    return opened["states.npy"], {name: opened[context_file(name)]
                                  for name in family.context_shapes}


def stored_arrays(family, prompts, seeds, encoders):
    """File name -> (dtype, shape) of the drawings of so many prompts."""
    said = prompts + (family.negative_prompt is not None)
    states = (prompts * seeds, len(family.sigmas), *family.state_shape)
    return {"states.npy": (np.float16, states)} | {
        context_file(name): (np.uint16, (said, encoders, *shape))
        for name, shape in family.context_shapes.items()}


def context_file(name):
    return f"context-{name}.npy"


def store(contexts, places, said):
    """What each encoder says, name -> [B, ...], into the files."""
    for name, file in contexts.items():
        values = torch.stack([each[name] for each in said], 1).bfloat16()
        file[places] = values.view(torch.uint16).cpu().numpy()


def led_away(context, count):
    """The negative prompt's context for `count` samples, or None."""
    return context and {name: each.expand(count, *each.shape[1:])
                        for name, each in context.items()}


def check_disk(folder, shapes):
    """A full disk would kill the process while it writes, so it is refused before."""
    needed = sum(math.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in shapes)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ExportError(
            f"{folder}: the trajectories take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
            "free; name --trajectories on a larger disk, or give fewer prompts"
        )


def initial(family, settings, row, *step):
    """The noise f32 [tokens, channels] that row starts from, or draws again after a step."""
    generator = np.random.default_rng((settings.seed, 0, int(row), *step))
    return generator.standard_normal(family.state_shape, np.float32)


def fresh(family, settings, rows, device):
    """A function: step -> the rows' noise of it, [B, tokens, channels]."""
    return lambda step: torch.from_numpy(
        np.stack([initial(family, settings, row, step) for row in rows])).to(device)


@torch.no_grad()
def roll(family, transformer, state, context, steps, negative=None, noise=None):
    """The states [B, tokens, channels] before and after each of `steps` steps of the sampler.

    negative: a context that guidance leads away from; noise(step): where the sampler draws again.
    """
    path, said, sigmas = [state], [], family.sigmas.tolist()
    for i in range(steps):
        sigma = torch.full((len(state),), sigmas[i], device=state.device)
        velocity = family.velocity(transformer, path[-1], sigma, context)
        if negative is not None:
            away = family.velocity(transformer, path[-1], sigma, negative)
            velocity = away + family.guidance.scale * (velocity - away)
        said.append(velocity)
        path.append(family.step(sigmas, path, said, noise))
    return path
