"""The colour judge: does a picture have the foliage, pot and sky that its prompt names?

Each region is a fixed rectangle that the attribute always fills in rendered scenes. A region's
colour is its median pixel in CIELAB; the verdict is the attribute value whose rendered colour is
nearest. The rendered palette is measured on scenes under the same sky for foliage and pot, since
light tints them: the sky is judged first.
"""

from functools import cache

import numpy as np

from .scene import ATTRIBUTES, Scene, draw

# left, top, right, bottom in pixels
REGIONS = {"foliage": (54, 28, 74, 40), "pot": (57, 99, 71, 109), "sky": (2, 2, 126, 10)}
PALETTE_SCENES = 6
PALETTE_SEED = 20_000_000

_RGB_TO_XYZ = np.array([[.4124, .3576, .1805], [.2126, .7152, .0722], [.0193, .1192, .9505]])
_WHITE = np.array([.9505, 1, 1.089])


def to_lab(colour):
    """CIELAB (D65) of sRGB values 0..255, shape [..., 3]."""
    value = np.asarray(colour, np.float64) / 255
    linear = np.where(value > .04045, ((value + .055) / 1.055) ** 2.4, value / 12.92)
    xyz = linear @ _RGB_TO_XYZ.T / _WHITE
    f = np.where(xyz > .008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]),
                     200 * (f[..., 1] - f[..., 2])], -1)


def region_colour(picture, region):
    """Median CIELAB colour f64 [3] of a region of a picture uint8 [128, 128, 3]."""
    left, top, right, bottom = REGIONS[region]
    return np.median(to_lab(picture[top:bottom, left:right].reshape(-1, 3)), 0)


@cache
def palette(region, sky):
    """Mean region colour [values, 3] of each attribute value, over rendered scenes."""
    colours = []
    for value in ATTRIBUTES[region]:
        seen = []
        for number in range(PALETTE_SCENES):
            scene = {"foliage": "green", "pot": "brown", "sky": sky or "blue", region: value,
                     "pot_shape": ATTRIBUTES["pot_shape"][number % 3],
                     "weather": ATTRIBUTES["weather"][number // 2]}
            seen.append(region_colour(draw(Scene(**scene, seed=PALETTE_SEED + number)), region))
        colours.append(np.mean(seen, 0))
    return np.array(colours)


def judge(picture):
    """The foliage, pot and sky values that the picture shows, by name."""
    verdict = {"sky": _nearest(picture, "sky", None)}
    for region in ("foliage", "pot"):
        verdict[region] = _nearest(picture, region, verdict["sky"])
    return verdict


def _nearest(picture, region, sky):
    distances = np.linalg.norm(palette(region, sky) - region_colour(picture, region), axis=1)
    return ATTRIBUTES[region][int(distances.argmin())]
