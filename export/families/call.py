"""What stands at the top of a checkpoint: model_index.json, the scheduler and trefoil.json."""

from dataclasses import asdict, dataclass

from export.errors import ExportError, shorten
from export.families import FAMILIES
from export.source.configuration import Configuration, is_text, show
from export.source.meaning import refuse_unread

NATIVE_CLASS = "Flux2KleinPipeline"
SCHEDULER_CLASS = "FlowMatchEulerDiscreteScheduler"
SCHEDULER_DEFAULTS = {"shift": 1.0, "use_dynamic_shifting": False}  # the class's, of absent keys
# Not used: the shift follows the family's own empirical fit.
SCHEDULER_NUMBERS = ("base_shift", "max_shift")
SCHEDULER_COUNTS = ("base_image_seq_len", "max_image_seq_len")
MOST_SHIFT = 1e6
GUIDANCE = 4.0  # diffusers' Flux2KleinPipeline where the call names none
SIZES = [[512, 512], [768, 512], [512, 768], [768, 768], [1024, 768], [768, 1024], [1024, 1024]]
PROMPTS = [
    "a red maple bonsai in a round blue pot, morning light",
    "an old lighthouse on a cliff above a stormy sea, oil painting",
    "a bowl of lemons on a wooden table, soft window light",
    "a small robot watering flowers on a balcony, watercolour",
]
MOST_STEPS = 50
MOST_TOKENS = 8192
LARGEST_SIDE = 4096
MOST_IMAGES = 2  # reference images of one request


@dataclass(frozen=True)
class Pipeline:
    """diffusers' call arguments, as the page offers them."""

    text_encoder_out_layers: tuple[int, ...]
    max_sequence_length: int
    width: int
    height: int
    num_inference_steps: int
    sizes: list[list[int]]
    prompts: list[str]
    image_input: dict | None = None  # {"most"} reference images, where they can be encoded

    def manifest(self):
        """By the same names, and how the model is guided."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        return given | {"guidance": {"kind": "none", "scale": 1, "negative": False}}


def read_family(folder, stands_alone=False):
    """The family module of model_index.json's class.

    A file that stands alone has FLUX.2's names, so model_index.json may be missing beside it.
    """
    path = folder / "model_index.json"
    if stands_alone and not path.exists():
        return FAMILIES[NATIVE_CLASS]
    index = Configuration.read(path)
    name = index.get("_class_name")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        index.fail(f"the pipeline is {show(name)}, this version converts {shorten(FAMILIES)}")
    scheduler = index.get("scheduler", None)
    if isinstance(scheduler, list) and scheduler[1:] not in ([SCHEDULER_CLASS], [None]):
        index.fail(f"scheduler is {show(scheduler)}, this version draws with {SCHEDULER_CLASS}")
    for key in ("text_encoder", "tokenizer", "transformer", "vae"):
        index.get(key, None)  # their own configurations say what they are
    index.flag("is_distilled", False)
    refuse_unread(index, "model_index")
    return family


def check_guidance(folder, call):
    """Refuses what diffusers would draw with classifier-free guidance, which is not done here.

    call: trefoil.json. A file that stands alone has no model_index.json and is taken for the
    distilled Klein, the only one of its names.
    """
    scale = call.number("guidance_scale", None, least=0)
    if scale is not None and scale > 1:
        call.fail(f"guidance_scale is {show(scale)}, and this version draws without guidance; "
                  "write 1, or take a distilled model")  # fmt: skip
    for key in ("negative_prompt", "complex_human_instruction", "intermediate_timesteps"):
        value = call.get(key, None)
        if value not in (None, "", []):
            call.fail(f"{key} is {show(value)}, and this family takes none; write null")
    index = Configuration.read_optional(folder / "model_index.json")
    if index.values and scale is None and not index.flag("is_distilled", False):
        says = "is false" if "is_distilled" in index.values else "is missing"
        index.fail(
            f"is_distilled {says}, so diffusers draws with classifier-free guidance of "
            f"{GUIDANCE}, which this version does not; take a distilled model, or write "
            '"guidance_scale": 1 into trefoil.json where the model is meant to draw without'
        )


def read_scheduler(folder, own):
    """scheduler_config.json; the family's `own` values when there is none.

    Raises ExportError for settings that the runtime does not implement.
    """
    path = folder / "scheduler" / "scheduler_config.json"
    if not path.exists():
        return own
    config = Configuration.read(path)
    config.only("_class_name", (SCHEDULER_CLASS,), SCHEDULER_CLASS)
    values = {key: read_setting(config, key, value) for key, value in own.items()}
    refuse_unread(config, "scheduler")
    return values


def read_setting(config, key, own):
    """One value of scheduler_config.json. Of most the runtime has only the family's own."""
    default = SCHEDULER_DEFAULTS.get(key, own)
    if key == "use_dynamic_shifting":
        return config.flag(key, default)
    if key == "shift":
        return config.number(key, default, most=MOST_SHIFT)
    if key in SCHEDULER_COUNTS:
        return config.integer(key, default)
    if key in SCHEDULER_NUMBERS:
        return config.number(key, default, least=-MOST_SHIFT, most=MOST_SHIFT)
    return config.only(key, (own,), default)


def read_taps(config, defaults):
    """The hidden states that the transformer reads, from trefoil.json."""
    taps = config.integers("text_encoder_out_layers", tuple(defaults), least=0)
    if len(set(taps)) != len(taps):
        config.fail(f"text_encoder_out_layers {list(taps)} names a layer twice")
    return taps


def read_pipeline(config, taps, patch, with_image_input=False):
    """trefoil.json (`config`) -> Pipeline; sizes must be multiples of `patch` pixels."""
    width = read_side(config, "width", patch)
    height = read_side(config, "height", patch)
    usual = [size for size in SIZES if size[0] % patch == 0 == size[1] % patch]
    own = config.get("width", config.get("height", None))
    sizes = config.get("sizes", [[width, height]] if own else usual)
    if not isinstance(sizes, list) or not all(is_size(size, patch) for size in sizes):
        config.fail(
            f"sizes is {show(sizes)}, expected a list of [width, height] in multiples of {patch} "
            f"up to {LARGEST_SIDE}"
        )
    if [width, height] not in sizes:
        sizes = [[width, height], *sizes]
    prompts = config.get("prompts", PROMPTS)
    good = isinstance(prompts, list) and all(is_text(p) and p.strip() for p in prompts)
    if not good:
        config.fail(f"prompts is {show(prompts)}, expected a list of sentences")
    steps = config.integer("num_inference_steps", 4, most=MOST_STEPS)
    length = config.integer("max_sequence_length", 512, most=MOST_TOKENS)
    image_input = {"most": MOST_IMAGES} if with_image_input else None
    refuse_unread(config, "trefoil")
    return Pipeline(taps, length, width, height, steps, sizes, prompts, image_input)


def read_side(config, key, patch):
    side = config.integer(key, None)
    if side is None:
        return max(patch, 512 // patch * patch)
    if side % patch or side > LARGEST_SIDE:
        config.fail(f"{key} is {side}, expected a multiple of {patch} up to {LARGEST_SIDE}")
    return side


def is_size(size, patch):
    return (
        isinstance(size, list)
        and len(size) == 2
        and all(type(v) is int and 0 < v <= LARGEST_SIDE and v % patch == 0 for v in size)
    )


def check_tokenizer(tokenizer, encoder):
    """Every token must have an embedding."""
    if tokenizer.largest_id >= encoder.vocab_size:
        raise ExportError(
            f"{tokenizer.folder / 'tokenizer.json'}: the largest token id is "
            f"{tokenizer.largest_id}, expected less than the text encoder's vocab_size "
            f"{encoder.vocab_size}"
        )
