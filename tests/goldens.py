"""python -m tests.goldens: writes what tests without torch hold against, to tests/web/goldens/.

Sigmas of diffusers' scheduler, noise of torch's generator, token ids of transformers' tokenizer.
tests/web/test_goldens.py asks them again whenever everything is tested; nothing else writes here.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu, retrieve_timesteps
from transformers import AutoTokenizer

from tests.checkpoints import scheduler
from tests.reference import call_arguments, chat
from tests.sana_schedules import sana_schedules
from tests.web.golden_files import FOLDER, encode
from tests.web.texts import TEXTS, random_texts

GARDEN = Path(__file__).resolve().parents[1] / "models" / "garden-ternary"
STEPS = range(1, 51)
SHOWN = (1, 2, 3, 4, 8, 50)  # steps whose sigmas are written out; of all there is a hash
# 1 token; 48x48 to 512x512; both sides of 4300, where the shift changes its formula; 1280x1280
TOKENS = (1, 9, 48, 256, 1014, 1024, 2304, 4096, 4300, 4301, 6400)
SEEDS = (0, 1, 7, 2**32 - 1, 2**32, 2**32 + 5, 2**53 - 1)
COUNTS = {16: 1, 17: 1, 31: 1, 1000: 16, 131072: 1024}  # values drawn: of which every n-th is kept


def schedules(make=scheduler, mu_of=compute_empirical_mu):
    """By tokens: sigmas [steps + 1] of some numbers of steps, and the hash of those of all, each
    followed by its timesteps [steps], as the transformer makes them of what it is handed.

    make() is diffusers' scheduler, mu_of(tokens, steps) what its pipeline shifts by.
    """
    settings = {key: value for key, value in make().config.items() if key[0] != "_"}
    found = {"config": settings, "of": {}}
    for tokens in TOKENS:
        digest, shown = hashlib.sha256(), {}
        for steps in STEPS:
            sigmas, timesteps = schedule(make(), steps, mu_of(tokens, steps))
            digest.update(sigmas.tobytes() + timesteps.tobytes())
            if steps in SHOWN:
                shown[str(steps)] = encode(sigmas)
        found["of"][str(tokens)] = {"sigmas": shown, "sha256": digest.hexdigest()}
    return json.loads(json.dumps(found))


def flux1_schedules():
    """Likewise, of FLUX.1 dev."""
    def make():
        return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)

    shifts = {key: make().config[key] for key in (
        "base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")}
    return schedules(make, lambda tokens, steps: calculate_shift(tokens, *shifts.values()))


def schedule(made, steps, mu):
    retrieve_timesteps(made, steps, sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    timesteps = (made.timesteps / 1000) * torch.tensor(1000.0)
    return made.sigmas.numpy().astype("<f4"), timesteps.numpy().astype("<f4")


def noises():
    """torch.randn to 1e-6, by seed and count; the hash of torch.rand(5000), bit for bit; draws of
    one generator one after another."""
    return {"normal": [normals(seed, count, every) for seed in SEEDS
                       for count, every in COUNTS.items()],
            "uniform": {str(seed): uniforms(seed) for seed in SEEDS},
            "continued": {"seed": 5, "draws": continued(5)}}


def normals(seed, count, every):
    values = torch.randn(count, generator=torch.Generator("cpu").manual_seed(seed))
    return {"seed": seed, "count": count, "every": every, "values": encode(values[::every])}


def continued(seed):
    generator = torch.Generator("cpu").manual_seed(seed)
    return [encode(torch.randn(count, generator=generator)) for count in (17, 16, 40)]


def uniforms(seed):
    values = torch.rand(5000, generator=torch.Generator("cpu").manual_seed(seed))
    return hashlib.sha256(values.numpy().astype("<f4").tobytes()).hexdigest()


def prompts():
    """Garden's template and, for each text, what diffusers' pipeline gives the text encoder,
    less the padding."""
    tokenizer = AutoTokenizer.from_pretrained(GARDEN / "tokenizer")
    length = call_arguments(GARDEN)["max_sequence_length"]
    prefix, suffix = chat(tokenizer, "\0").split("\0")
    made = [{"text": text, **padded(tokenizer, text, length)} for text in TEXTS + random_texts(60)]
    for one in made:
        one["ids"] = one["ids"][:one["count"]]  # padding follows
    return {
        "length": length, "prefix": prefix, "suffix": suffix, "pad": tokenizer.pad_token_id,
        "prompts": made,
    }


def padded(tokenizer, text, length):
    """ids [length] of a prompt in its template, how many are no padding, how many were cut off."""
    whole = chat(tokenizer, text)
    ids = tokenizer(whole, padding="max_length", truncation=True, max_length=length)
    return {"ids": ids["input_ids"], "count": sum(ids["attention_mask"]),
            "dropped": max(0, len(tokenizer(whole)["input_ids"]) - length)}


GOLDENS = {"schedule": schedules, "flux1_schedule": flux1_schedules,
           "sana_schedule": sana_schedules, "noise": noises, "prompts": prompts}


def lines(value, depth=2):
    """JSON with a line for each entry of the outer two levels."""
    if not depth or not isinstance(value, dict | list):
        return json.dumps(value)
    entries = ([f"{json.dumps(key)}: {lines(v, depth - 1)}" for key, v in value.items()]
               if isinstance(value, dict) else [lines(v, depth - 1) for v in value])
    start, end = "{}" if isinstance(value, dict) else "[]"
    return start + "\n" + ",\n".join(entries) + "\n" + end


def main():
    FOLDER.mkdir(exist_ok=True)
    for name, make in GOLDENS.items():
        (FOLDER / f"{name}.json").write_text(lines(make()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
