"""Captions of a scene: phrases with synonyms, free order, free omissions; seeded.

An attribute that a caption leaves out was drawn at random, so the model learns its prior.
"""

import numpy as np

FOLIAGE_WORDS = {
    "green": ("green", "green", "emerald", "evergreen", "deep green", "green pine", "juniper"),
    "red": ("red", "red", "crimson", "scarlet", "red maple", "bright red", "red-leaved"),
    "pink": ("pink", "pink", "cherry blossom", "pink cherry", "rosy pink", "pink flowering",
             "sakura"),
    "yellow": ("yellow", "yellow", "golden", "yellow ginkgo", "ginkgo", "gold"),
    "white": ("white", "white", "snow-white", "white blossom", "white flowering", "white plum"),
    "orange": ("orange", "orange", "amber", "orange maple", "bright orange", "orange autumn"),
    "purple": ("purple", "purple", "violet", "wisteria", "purple wisteria", "lilac"),
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
SKY_WORDS = {
    "blue": ("under a blue sky", "on a sunny day", "by day", "in the daytime", "at noon",
             "in sunshine", "blue sky", "with a bright blue sky", "in daylight"),
    "sunset": ("at sunset", "at dusk", "in the evening", "under an orange sky", "at sundown",
               "sunset", "with a sunset sky", "in the evening light"),
    "night": ("at night", "under the moon", "under the stars", "in the moonlight", "at midnight",
              "night", "with a night sky", "under a starry sky"),
    "grey": ("under a grey sky", "on a cloudy day", "overcast", "under grey clouds",
             "on an overcast day", "grey sky", "under a gray sky", "in cloudy weather"),
}
WEATHER_WORDS = {
    "clear": ("in clear weather", "clear weather", "dry weather", "no rain"),
    "rain": ("in the rain", "rain", "rain falling", "raining", "on a rainy day", "in a shower",
             "with rain"),
    "snow": ("in the snow", "snow", "snow falling", "snowing", "in winter snow", "with snow",
             "in winter"),
}
OPENINGS = ("", "", "", "", "a picture of ", "a drawing of ", "an illustration of ", "a photo of ")
TREES = ("bonsai", "bonsai", "bonsai", "bonsai", "bonsai tree", "bonsai tree", "tree",
         "little bonsai", "miniature tree")
# Words people add that draw nothing; the model learns to pass over them.
FLOURISHES = ("beautiful", "old", "ancient", "small", "tiny", "cute", "Japanese", "lovely",
              "elegant", "graceful", "big", "colourful")
ENDINGS = ("on a wooden table", "on a table", "highly detailed", "digital art", "minimalist",
           "soft light", "in a garden", "clouds", "in the mountains", "with hills", "cartoon style",
           "flat illustration", "calm mood", "very detailed", "simple background")
POTS = ("pot", "pot", "pot", "pot", "planter", "vase", "bonsai pot")
# Chance that a caption names the attribute. Clear weather is what nobody mentions, so no mention
# of weather means clear in nine captions of ten.
KEEP = {"foliage": .93, "pot": .9, "pot_shape": .6, "sky": .87, "weather": .97}
KEEP_CLEAR = .15


def article(phrase):
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def caption(scene, rng):
    """One caption of the scene, drawn with the numpy generator."""
    def pick(options):
        return options[rng.integers(len(options))]

    def kept(name):
        clear = name == "weather" and scene.weather == "clear"
        return rng.random() < (KEEP_CLEAR if clear else KEEP[name])

    tree = pick(TREES)
    if kept("foliage"):
        words = pick(FOLIAGE_WORDS[scene.foliage])
        bare = words in ("green", "red", "pink", "yellow", "white", "orange", "purple")
        if bare and rng.random() < .25:
            tree = f"{tree} with {words} {pick(('leaves', 'foliage', 'blossoms'))}"
        else:
            tree = f"{words} {tree}"
    colour = [pick(POT_WORDS[scene.pot])] if kept("pot") else []
    shape = [pick(SHAPE_WORDS[scene.pot_shape])] if kept("pot_shape") else []
    if rng.random() < .1:
        tree = f"{pick(FLOURISHES)} {tree}"
    adjectives = shape + colour if rng.random() < .7 else colour + shape
    pot = " ".join([*adjectives, pick(POTS)])
    extras = []
    if kept("sky"):
        extras.append(pick(SKY_WORDS[scene.sky]))
    if kept("weather"):
        extras.append(pick(WEATHER_WORDS[scene.weather]))
    if rng.random() < .08:
        extras.append(pick(ENDINGS))
    rng.shuffle(extras)
    return arrange(tree, pot if adjectives else "", extras, rng)


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
