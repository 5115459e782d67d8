"""trefoil.json: diffusers' call arguments, as the page offers them."""

from dataclasses import dataclass, field, replace
from typing import Any

from export.source.configuration import is_text, show
from export.source.meaning import refuse_unread

SIZES = [[512, 512], [768, 512], [512, 768], [768, 768], [1024, 768], [768, 1024], [1024, 1024]]
PROMPTS = [
    "a red maple bonsai in a round blue pot, morning light",
    "an old lighthouse on a cliff above a stormy sea, oil painting",
    "a bowl of lemons on a wooden table, soft window light",
    "a small robot watering flowers on a balcony, watercolour",
]
SIDE = 512  # of a picture, where nothing is said
MOST_STEPS = 50
MOST_TOKENS = 8192
LARGEST_SIDE = 4096
MOST_IMAGES = 2  # reference images of one request


@dataclass(frozen=True)
class Guidance:
    """How prompts pull: "none", "embedded" (the denoiser is told the scale) or "cfg", classifier-

    free with two velocities a step. negative: whether a negative prompt is taken.
    """

    kind: str = "none"
    scale: float = 1
    negative: bool = False

    def manifest(self):
        return {"kind": self.kind, "scale": self.scale, "negative": self.negative}


@dataclass(frozen=True)
class Call:
    """The call of a pipeline; a family's defaults of it are one too.

    own: what the family alone knows, by diffusers' names. Of defaults, samplers: the classes that
    the pipeline draws with, the usual one first, () for all of the family's; scheduler: values that
    take the place of the family's where there is no scheduler_config.json.
    """

    num_inference_steps: int
    max_sequence_length: int
    width: int = SIDE
    height: int = SIDE
    sizes: list[list[int]] = field(default_factory=lambda: SIZES)
    prompts: list[str] = field(default_factory=lambda: PROMPTS)
    guidance: Guidance = Guidance()
    image_input: dict | None = None  # {"most"} reference images, where they can be encoded
    own: dict[str, Any] = field(default_factory=dict)
    samplers: tuple[str, ...] = ()
    scheduler: dict[str, Any] = field(default_factory=dict)

    def manifest(self):
        given = {
            "width": self.width, "height": self.height, "sizes": self.sizes,
            "num_inference_steps": self.num_inference_steps,
            "max_sequence_length": self.max_sequence_length, "prompts": self.prompts,
            "guidance": self.guidance.manifest(),
        }
        images = {"image_input": self.image_input} if self.image_input else {}
        return given | images | self.own


def read_call(config, defaults, pixels, own, with_image_input=False):
    """trefoil.json (`config`) -> Call; sizes must be multiples of `pixels`, a token's.

    own: what the family read of it. Raises ExportError, also for keys that nobody asked for.
    """
    width = read_side(config, "width", defaults.width, pixels)
    height = read_side(config, "height", defaults.height, pixels)
    usual = [size for size in defaults.sizes if size[0] % pixels == 0 == size[1] % pixels]
    named = config.get("width", config.get("height", None))
    sizes = config.get("sizes", [[width, height]] if named else usual)
    if not isinstance(sizes, list) or not all(is_size(size, pixels) for size in sizes):
        config.fail(
            f"sizes is {show(sizes)}, expected a list of [width, height] in multiples of {pixels} "
            f"up to {LARGEST_SIDE}"
        )
    if [width, height] not in sizes:
        sizes = [[width, height], *sizes]
    prompts = config.get("prompts", defaults.prompts)
    good = isinstance(prompts, list) and all(is_text(p) and p.strip() for p in prompts)
    if not good:
        config.fail(f"prompts is {show(prompts)}, expected a list of sentences")
    steps = config.integer("num_inference_steps", defaults.num_inference_steps, most=MOST_STEPS)
    length = config.integer("max_sequence_length", defaults.max_sequence_length, most=MOST_TOKENS)
    guidance = read_guidance(config, defaults.guidance)
    image_input = {"most": MOST_IMAGES} if with_image_input else None
    refuse_unread(config, "trefoil")
    return Call(steps, length, width, height, sizes, prompts, guidance, image_input, own)


def read_guidance(config, default):
    """The pipeline's Guidance, with the scale that is given; without guidance there is none."""
    if default.kind == "none":
        scale = config.number("guidance_scale", None, least=0)
        if scale is not None and scale > 1:
            config.fail(f"guidance_scale is {show(scale)}, and this model draws without guidance; "
                        "leave it out")
        return default
    return replace(default, scale=config.number("guidance_scale", default.scale, least=0))


def read_side(config, key, default, pixels):
    side = config.integer(key, None)
    if side is None:
        return max(pixels, default // pixels * pixels)
    if side % pixels or side > LARGEST_SIDE:
        config.fail(f"{key} is {side}, expected a multiple of {pixels} up to {LARGEST_SIDE}")
    return side


def is_size(size, pixels):
    return (
        isinstance(size, list)
        and len(size) == 2
        and all(type(v) is int and 0 < v <= LARGEST_SIDE and v % pixels == 0 for v in size)
    )
