"""The prompts shown with the model, and those that it is judged by; all of them fixed."""

from dataclasses import dataclass, replace

import numpy as np

from .caption import caption, named
from .scene import ATTRIBUTES, HELD_OUT, Scene, random_scene

EXAMPLES = [
    "a red maple bonsai in a round blue pot at night, snow falling",
    "a large weeping pink cherry bonsai in a white porcelain pot on a sunny day",
    "a small conical green bonsai in a tall black pot at sunset, rain",
    "a yellow ginkgo bonsai leaning right, in a rectangular green pot under a grey sky",
    "a large cloud-pruned purple bonsai leaning left in a terracotta pot under the stars",
    "an upright orange maple with a round crown in a jade pot in the evening light",
    "a big white willow bonsai in a red bowl-shaped pot under a blue sky",
    "a medium-sized pine bonsai in a square yellow pot in winter snow, overcast",
]
FIRST_SEED = 50_000_000     # scenes that no training stage has seen
LEAST_NAMED = 5
GRID_SEED = 60_000_000


@dataclass(frozen=True)
class Prompt:
    """A caption, the attributes that it names, whether they hold a pair that training never saw
    together, and the seed of the noise."""

    text: str
    wanted: dict
    unseen: bool
    seed: int


def evaluation_prompts(count=500):
    """`count` prompts, every other one with a pair of HELD_OUT; the first n of more are the same.

    Each names five attributes or more. No caption occurs twice.
    """
    prompts, texts, seed = [], set(), FIRST_SEED
    while len(prompts) < count:
        prompt = make_prompt(seed, unseen=len(prompts) % 2 == 1)
        seed += 1
        if prompt.text not in texts:
            texts.add(prompt.text)
            prompts.append(prompt)
    return prompts


def make_prompt(seed, unseen):
    rng = np.random.default_rng((seed, 8))
    scene, required = random_scene(seed), set()
    if unseen:
        first, value, second, other = HELD_OUT[rng.integers(len(HELD_OUT))]
        scene = replace(scene, **{first: value, second: other})
        required = {first, second}
    names = named(scene, rng) | required
    for name in rng.permutation(sorted(set(ATTRIBUTES) - names)):
        if len(names) < LEAST_NAMED:
            names.add(str(name))
    wanted = {name: getattr(scene, name) for name in ATTRIBUTES if name in names}
    return Prompt(caption(scene, rng, names), wanted, unseen, seed)


def grid_prompts(count=64):
    """Prompts that name all eight attributes and cover the values of each evenly."""
    rng = np.random.default_rng(GRID_SEED)
    columns = {name: rng.permutation(np.arange(count) % len(values))
               for name, values in ATTRIBUTES.items()}
    prompts = []
    for i in range(count):
        wanted = {name: values[columns[name][i]] for name, values in ATTRIBUTES.items()}
        text = caption(Scene(**wanted, seed=i), rng, set(ATTRIBUTES))
        prompts.append(Prompt(text, wanted, False, i))
    return prompts
