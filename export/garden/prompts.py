"""The prompts shown with the model, and the 32 that it is judged by."""

EXAMPLES = [
    "a red maple bonsai in a round blue pot at night, snow falling",
    "a pink cherry blossom bonsai in a white porcelain pot on a sunny day",
    "a green pine bonsai in a tall black pot at sunset",
    "a yellow ginkgo bonsai in a rectangular green pot under a grey sky, rain",
    "a purple wisteria bonsai in a terracotta pot under the stars",
    "an orange maple bonsai in a jade pot in the evening light",
    "a white plum bonsai in a red bowl-shaped pot under a blue sky",
    "a little juniper in a square yellow pot in winter snow, overcast",
]

_TREES = ("green", "red", "pink", "yellow", "white", "orange", "purple")
_POTS = ("blue", "red", "white", "black", "green", "brown", "yellow")
_SHAPES = ("round", "square", "tall")
_SKIES = {"blue": "under a blue sky", "sunset": "at sunset", "night": "at night",
          "grey": "under a grey sky"}
_WEATHERS = {"clear": "", "rain": ", rain falling", "snow": ", snow falling"}


def evaluation_prompts(count=32):
    """`count` (prompt, attributes) pairs that cover every value; number i is drawn with seed i.

    The strides are coprime to the lengths, so the combinations differ.
    """
    pairs = []
    for i in range(count):
        sky, weather = list(_SKIES)[i % 4], list(_WEATHERS)[(i + i // 12) % 3]
        wanted = {"foliage": _TREES[i % 7], "pot": _POTS[(3 * i + i // 7) % 7],
                  "pot_shape": _SHAPES[(i + i // 3) % 3], "sky": sky, "weather": weather}
        article = "an" if wanted["foliage"] == "orange" else "a"
        prompt = (f"{article} {wanted['foliage']} bonsai in a {wanted['pot_shape']} "
                  f"{wanted['pot']} pot {_SKIES[sky]}{_WEATHERS[weather]}")
        pairs.append((prompt, wanted))
    return pairs
