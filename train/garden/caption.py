"""Captions of a scene: phrases with synonyms, free order, free omissions; seeded.

An attribute that a caption leaves out was drawn at random, so the model learns its prior. Each
value has adjectives, which stand before the noun, or phrases, which follow.
"""

import numpy as np

FOLIAGE_WORDS = {
    "green": ("green", "green", "emerald", "evergreen", "deep green", "dark green", "leafy green"),
    "red": ("red", "red", "crimson", "scarlet", "red maple", "bright red", "red-leaved"),
    "pink": ("pink", "pink", "cherry blossom", "pink cherry", "rosy pink", "pink flowering",
             "sakura"),
    "yellow": ("yellow", "yellow", "golden", "yellow ginkgo", "ginkgo", "gold"),
    "white": ("white", "white", "snow-white", "white blossom", "white flowering", "white plum"),
    "orange": ("orange", "orange", "amber", "orange maple", "bright orange", "orange autumn"),
    "purple": ("purple", "purple", "violet", "deep purple", "lavender", "lilac"),
}
TREE_WORDS = {
    "cloud": ("cloud-pruned", "layered", "cloud-shaped", "cloud"),
    "round": ("round-crowned", "ball-shaped", "dome-shaped", "rounded"),
    "pine": ("conical", "cone-shaped", "pine", "fir-like"),
    "weeping": ("weeping", "weeping", "willow", "drooping"),
}
TREE_PHRASES = {
    "cloud": ("with layered branches", "with cloud-like pads", "pruned into clouds"),
    "round": ("with a round crown", "with a ball of leaves", "shaped like a ball"),
    "pine": ("shaped like a cone", "shaped like a pine", "with pine-like tiers"),
    "weeping": ("with weeping branches", "with hanging branches", "like a willow"),
}
LEAN_PHRASES = {
    "left": ("leaning left", "leaning to the left", "bent to the left", "swept to the left"),
    "upright": ("standing upright", "standing straight", "with a straight trunk",
                "growing upright"),
    "right": ("leaning right", "leaning to the right", "bent to the right", "swept to the right"),
}
LEAN_WORDS = {"left": ("left-leaning",), "upright": ("upright", "straight"),
              "right": ("right-leaning",)}
SIZE_WORDS = {
    "small": ("small", "small", "tiny", "little", "miniature"),
    "medium": ("medium-sized", "medium-sized", "mid-sized", "medium"),
    "large": ("large", "large", "big", "huge"),
}
POT_WORDS = {
    "blue": ("blue", "blue", "cobalt", "dark blue"), "red": ("red", "red", "crimson", "dark red"),
    "white": ("white", "white", "porcelain", "white porcelain"),
    "black": ("black", "black", "dark", "jet black"),
    "green": ("green", "green", "jade", "celadon"),
    "brown": ("brown", "brown", "terracotta", "clay"), "yellow": ("yellow", "yellow", "golden"),
}
SHAPE_WORDS = {
    "round": ("round", "round", "bowl-shaped", "rounded"),
    "square": ("square", "square", "rectangular", "low rectangular"),
    "tall": ("tall", "tall", "slender", "narrow"),
}
SKY_PHRASES = {
    "blue": ("under a blue sky", "on a sunny day", "by day", "in the daytime", "at noon",
             "in sunshine", "blue sky", "with a bright blue sky", "in daylight"),
    "sunset": ("at sunset", "at dusk", "in the evening", "under an orange sky", "at sundown",
               "sunset", "with a sunset sky", "in the evening light"),
    "night": ("at night", "under the moon", "under the stars", "in the moonlight", "at midnight",
              "night", "with a night sky", "under a starry sky"),
    "grey": ("under a grey sky", "on a cloudy day", "overcast", "under grey clouds",
             "on an overcast day", "grey sky", "under a gray sky", "in cloudy weather"),
}
WEATHER_PHRASES = {
    "clear": ("in clear weather", "clear weather", "dry weather", "no rain"),
    "rain": ("in the rain", "rain", "rain falling", "raining", "on a rainy day", "in a shower",
             "with rain"),
    "snow": ("in the snow", "snow", "snow falling", "snowing", "in winter snow", "with snow",
             "in winter"),
}
OPENINGS = ("", "", "", "", "a picture of ", "a drawing of ", "an illustration of ", "a photo of ")
TREES = ("bonsai", "bonsai", "bonsai", "bonsai", "bonsai tree", "bonsai tree", "tree")
# Words people add that draw nothing; the model learns to pass over them.
FLOURISHES = ("beautiful", "old", "ancient", "cute", "Japanese", "lovely", "elegant", "graceful",
              "colourful")
ENDINGS = ("on a wooden table", "on a table", "highly detailed", "digital art", "minimalist",
           "soft light", "in a garden", "in the mountains", "with hills", "cartoon style",
           "flat illustration", "calm mood", "very detailed", "simple background")
POTS = ("pot", "pot", "pot", "pot", "planter", "vase", "bonsai pot")
# Chance that a caption names the attribute. Clear weather is what nobody mentions, so no mention
# of weather means clear in nine captions of ten.
KEEP = {"foliage": .92, "tree": .7, "lean": .5, "size": .55, "pot": .88, "pot_shape": .6,
        "sky": .85, "weather": .95}
KEEP_CLEAR = .15


def article(phrase):
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def named(scene, rng):
    """The attributes that a caption of the scene will name, a set."""
    keep = KEEP | ({"weather": KEEP_CLEAR} if scene.weather == "clear" else {})
    return {name for name, chance in keep.items() if rng.random() < chance}


def caption(scene, rng, names=None):
    """One caption of the scene that names the attributes `names` (by default drawn as well)."""
    names = named(scene, rng) if names is None else names

    def pick(options):
        return options[rng.integers(len(options))]

    def said(name, words):
        return [pick(words[getattr(scene, name)])] if name in names else []

    adjectives, after = said("foliage", FOLIAGE_WORDS), []
    for name, words, phrases, chance in (("tree", TREE_WORDS, TREE_PHRASES, .3),
                                         ("lean", LEAN_WORDS, LEAN_PHRASES, .75)):
        if rng.random() < chance:
            after += said(name, phrases)
        else:
            adjectives += said(name, words)
    rng.shuffle(adjectives)
    adjectives = said("size", SIZE_WORDS) + list(adjectives)
    if rng.random() < .1:
        adjectives.insert(0, pick(FLOURISHES))
    tree = " ".join([*adjectives, pick(TREES), *after[:1]])
    pot = said("pot", POT_WORDS) + said("pot_shape", SHAPE_WORDS)
    if rng.random() < .7:
        pot.reverse()
    pot = " ".join([*pot, pick(POTS)]) if pot else ""
    extras = said("sky", SKY_PHRASES) + said("weather", WEATHER_PHRASES)
    if rng.random() < .08:
        extras.append(pick(ENDINGS))
    rng.shuffle(extras)
    return arrange(tree, pot, after[1:] + list(extras), rng)


def arrange(tree, pot, extras, rng):
    """Put the phrases in one of the usual orders."""
    kind = rng.random()
    if kind < .15:                                  # tags
        text = ", ".join(filter(None, [tree, pot, *extras]))
    elif kind < .25 and extras:                     # circumstances first
        text = f"{', '.join(extras)}: {article(tree)}" + (f" in {article(pot)}" if pot else "")
    elif kind < .35 and pot:                        # pot first
        text = ", ".join([f"{article(pot)} with {article(tree)}", *extras])
    else:
        joined = f" in {article(pot)}" if pot else ""
        glue = ", " if rng.random() < .5 else " "
        text = OPENINGS[rng.integers(len(OPENINGS))] + article(tree) + joined
        text = glue.join([text, *extras[:1]])
        text = ", ".join([text, *extras[1:]])
    if rng.random() < .3:
        text = text[0].upper() + text[1:] + ("." if rng.random() < .5 else "")
    return text


def captions(scenes, seed):
    """One caption each for a list of scenes."""
    rng = np.random.default_rng((seed, 3))
    return [caption(scene, rng) for scene in scenes]
