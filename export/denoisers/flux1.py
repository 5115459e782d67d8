"""FLUX.1 dev and schnell: configuration, tensors and memory of the transformer.

Names, defaults and shapes are those of diffusers' FluxTransformer2DModel. Letters: D the width,
F the MLP width, Dh the width of a head. Every linear has a bias.
"""

from dataclasses import asdict, dataclass

from export.denoisers.flux_blocks import blocks_flop, double_blocks
from export.errors import ExportError
from export.packing.spec import LOWBIT, Spec, by_prefix, vector
from export.source.meaning import refuse_unread

CLASS = "FluxTransformer2DModel"
PREFIX = ""
DROPPED = by_prefix({})
ANCHORS = (  # names that tell a prefix: diffusers', and those of the original code
    "x_embedder.weight", "context_embedder.weight", "img_in.weight", "txt_in.weight",
    "time_text_embed.text_embedder.linear_1.weight",
)
ROPE_AXES = 3  # of a token's position: 0, row, column
USUAL_AXES = (16, 56, 56)
# Of the class, whatever its configuration.
ROPE_THETA, EPS, MLP_RATIO, WAVES = 10000, 1e-6, 4, 256

WIDTH_STEP = 64  # the picture's tokens start behind the text's, at a multiple of 256 bytes
MOST_LAYERS = 1000
MOST_HEAD_DIM = 512  # of the attention kernel
MLP_CHUNK_BYTES, ROW_STEP = 16 << 20, 64  # as in web/engine/mlp.js
STEPS_AT_ONCE = 8  # of which the modulations are kept: FEW_ROWS of web/engine/candidates.js

EMBEDDERS = ("timestep_embedder", "guidance_embedder", "text_embedder")


@dataclass(frozen=True)
class Flux1Config:
    in_channels: int
    out_channels: int
    num_layers: int
    num_single_layers: int
    attention_head_dim: int
    num_attention_heads: int
    joint_attention_dim: int
    pooled_projection_dim: int
    guidance_embeds: bool
    axes_dims_rope: tuple[int, ...]

    @property
    def width(self):
        return self.num_attention_heads * self.attention_head_dim

    @property
    def mlp_hidden(self):
        return MLP_RATIO * self.width

    def manifest(self):
        return asdict(self) | {"mlp_hidden": self.mlp_hidden, "timestep_channels": WAVES,
                               "rope_theta": ROPE_THETA, "eps": EPS}


def read_config(config):
    """Configuration -> Flux1Config. Raises ExportError where the values do not fit."""
    config.only("_class_name", (CLASS,), CLASS)
    config.only("patch_size", (1,), 1)
    in_channels = config.integer("in_channels", 64)
    c = Flux1Config(
        in_channels=in_channels,
        out_channels=config.integer("out_channels", in_channels),
        num_layers=config.integer("num_layers", 19, least=0, most=MOST_LAYERS),
        num_single_layers=config.integer("num_single_layers", 38, least=0, most=MOST_LAYERS),
        attention_head_dim=config.integer("attention_head_dim", 128),
        num_attention_heads=config.integer("num_attention_heads", 24),
        joint_attention_dim=config.integer("joint_attention_dim", 4096),
        pooled_projection_dim=config.integer("pooled_projection_dim", 768),
        guidance_embeds=config.flag("guidance_embeds", False),
        axes_dims_rope=config.integers("axes_dims_rope", USUAL_AXES),
    )
    check_config(config, c)
    refuse_unread(config, "transformer")
    return c


def check_config(config, c):
    axes, head = c.axes_dims_rope, c.attention_head_dim
    if sum(axes) != head:
        config.fail(
            f"axes_dims_rope {list(axes)} sums to {sum(axes)}, expected attention_head_dim {head}"
        )
    if len(axes) != ROPE_AXES or any(axis % 2 for axis in axes):
        config.fail(f"axes_dims_rope is {list(axes)}, expected {ROPE_AXES} even numbers")
    if head % 4 or head > MOST_HEAD_DIM:
        config.fail(f"attention_head_dim is {head}, expected a multiple of 4 to {MOST_HEAD_DIM}")
    if c.out_channels != c.in_channels:
        config.fail(f"out_channels is {c.out_channels}, expected in_channels {c.in_channels}, as "
                    "models that draw from text alone have it")
    for key in ("in_channels", "joint_attention_dim", "pooled_projection_dim"):
        if getattr(c, key) % 4:
            config.fail(f"{key} is {getattr(c, key)}, expected a multiple of 4")
    if c.num_layers + c.num_single_layers == 0:
        config.fail("num_layers and num_single_layers are both 0, expected at least one block")
    if c.width % WIDTH_STEP:
        config.fail(f"the width is {c.num_attention_heads} heads x {head} = {c.width}, expected a "
                    f"multiple of {WIDTH_STEP}")


def derive_config(path, checkpoint):
    """The values of config.json that follow from the shapes of a checkpoint of `path`.

    Heads of another width than the published models' turn by angles that shapes do not tell.
    """
    shapes = {name: entry.shape for name, entry in checkpoint.entries.items()}
    try:
        (width, in_channels), (_, text_width), (_, pooled) = (
            shapes[f"{name}.weight"] for name in
            ("x_embedder", "context_embedder", "time_text_embed.text_embedder.linear_1")
        )
        (head,) = next(s for name, s in shapes.items() if name.endswith(".norm_q.weight"))
        heads = width // head
    except (KeyError, ValueError, StopIteration, ZeroDivisionError):
        raise ExportError(
            f"{path}: there is no transformer/config.json, and the tensors are not those of a "
            "FLUX.1 transformer, from whose shapes it could follow"
        ) from None
    return {
        "in_channels": in_channels,
        "num_layers": count_blocks(shapes, "transformer_blocks"),
        "num_single_layers": count_blocks(shapes, "single_transformer_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": heads,
        "joint_attention_dim": text_width,
        "pooled_projection_dim": pooled,
        "guidance_embeds": "time_text_embed.guidance_embedder.linear_1.weight" in shapes,
        "axes_dims_rope": list(USUAL_AXES),
    }


def count_blocks(names, kind):
    return len({name.split(".")[1] for name in names if name.startswith(f"{kind}.")})


def spec(c):
    """name -> Spec, in the order of use."""
    specs = time_text_embed(c)
    specs |= linear("x_embedder", c.width, c.in_channels)
    specs |= linear("context_embedder", c.width, c.joint_attention_dim)
    for i in range(c.num_layers):
        specs |= {f"transformer_blocks.{i}.{name}": s for name, s in double_block(c).items()}
    for i in range(c.num_single_layers):
        specs |= {f"single_transformer_blocks.{i}.{name}": s
                  for name, s in single_block(c).items()}
    specs |= linear("norm_out.linear", 2 * c.width, c.width)
    return specs | linear("proj_out", c.out_channels, c.width)


def time_text_embed(c):
    """What the time, the guidance where one is told, and the pooled text go through."""
    specs = {}
    for embedder, columns in zip(EMBEDDERS, (WAVES, WAVES, c.pooled_projection_dim), strict=True):
        if embedder != "guidance_embedder" or c.guidance_embeds:
            specs |= linear(f"time_text_embed.{embedder}.linear_1", c.width, columns)
            specs |= linear(f"time_text_embed.{embedder}.linear_2", c.width, c.width)
    return specs


def double_block(c):
    width, mlp = c.width, c.mlp_hidden
    specs = {}
    for norm in ("norm1", "norm1_context"):
        specs |= linear(f"{norm}.linear", 6 * width, width, LOWBIT)
    for name in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj"):
        specs |= linear(f"attn.{name}", width, width, LOWBIT)
    for norm in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
        specs[f"attn.{norm}.weight"] = vector(c.attention_head_dim)
    for name in ("to_out.0", "to_add_out"):
        specs |= linear(f"attn.{name}", width, width, LOWBIT)
    for ff in ("ff", "ff_context"):
        specs |= linear(f"{ff}.net.0.proj", mlp, width, LOWBIT)
        specs |= linear(f"{ff}.net.2", width, mlp, LOWBIT)
    return specs


def single_block(c):
    width, mlp = c.width, c.mlp_hidden
    specs = linear("norm.linear", 3 * width, width, LOWBIT)
    for name in ("to_q", "to_k", "to_v"):
        specs |= linear(f"attn.{name}", width, width, LOWBIT)
    for norm in ("norm_q", "norm_k"):
        specs[f"attn.{norm}.weight"] = vector(c.attention_head_dim)
    specs |= linear("proj_mlp", mlp, width, LOWBIT)
    specs["proj_out.weight"] = Spec((width, width + mlp), LOWBIT, cut=width)
    return specs | {"proj_out.bias": vector(width)}


def linear(name, rows, columns, *role):
    return {f"{name}.weight": Spec((rows, columns), *role), f"{name}.bias": vector(rows)}


def image_spec(c):
    return {}


def drop_reason(c):
    return DROPPED


def activation_bytes(c, picture):
    """Tokens, their modulated norms, q, k, v and attention; the angles; the text for every step;

    the modulations of several steps; and an MLP in chunks of tokens, of which the text's last one
    is too small for the others' buffer.
    """
    tokens = picture.text_tokens + picture.image_tokens
    chunk = max(ROW_STEP, MLP_CHUNK_BYTES // (4 * c.mlp_hidden) // ROW_STEP * ROW_STEP)
    mlp = c.mlp_hidden * (min(tokens, chunk) + picture.text_tokens % chunk)
    maps = tokens * (6 * c.width + c.attention_head_dim) + picture.text_tokens * c.width
    return 4 * (maps + mlp) + modulation_bytes(c)


def modulation_bytes(c):
    """Of as many steps as are computed at once: 12 D a double block, 3 D a single one, 2 D last."""
    return 4 * STEPS_AT_ONCE * c.width * (12 * c.num_layers + 3 * c.num_single_layers + 2)


def step_flop(c, picture):
    """That of the modulations is left out, which several steps have in common."""
    specs = {name: one for name, one in spec(c).items() if ".norm" not in name}
    return blocks_flop(c, specs, picture)


def image_activation_bytes(c, images):
    return 0


def streamed_layers(c):
    return double_blocks(c)
