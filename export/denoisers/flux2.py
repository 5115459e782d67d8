"""FLUX.2 Klein and Bonsai Image: configuration, tensors and memory of the transformer.

Names, defaults and shapes are those of diffusers' Flux2Transformer2DModel. Letters: D the width,
F the MLP width, Dh the width of a head, T the tokens of text and image together.
"""

from dataclasses import asdict, dataclass

from export.denoisers.flux_blocks import blocks_flop, double_blocks
from export.errors import ExportError
from export.packing.formats import USUAL_GROUP
from export.packing.spec import LOWBIT, Spec, by_prefix, vector
from export.source.meaning import refuse_unread

CLASS = "Flux2Transformer2DModel"
PREFIX = ""
DROPPED = by_prefix({
    "time_guidance_embed.guidance_embedder.": "Klein passes no guidance to the transformer",
})
SCHEDULER = {  # FLUX.2's own scheduler_config.json, for repositories without one
    "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": True,
    "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096,
    "time_shift_type": "exponential", "shift_terminal": None, "invert_sigmas": False,
    "use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False,
    "stochastic_sampling": False,
}
ANCHORS = (  # names that tell a prefix: diffusers', and those of the original code
    "x_embedder.weight", "context_embedder.weight", "img_in.weight", "txt_in.weight",
    "time_guidance_embed.timestep_embedder.linear_1.weight",
)
ROPE_AXES = 4  # t, h, w and l of a token's position
GROUP = USUAL_GROUP
MOST_LAYERS = 1000
MOST_MLP_RATIO = 1024
MOST_HEAD_DIM = 512  # of the attention kernel
MLP_CHUNK_BYTES = 16 << 20  # as in web/engine/mlp.js


@dataclass(frozen=True)
class Flux2Config:
    in_channels: int
    out_channels: int
    num_layers: int
    num_single_layers: int
    attention_head_dim: int
    num_attention_heads: int
    joint_attention_dim: int
    timestep_guidance_channels: int
    mlp_ratio: float
    axes_dims_rope: tuple[int, ...]
    rope_theta: float
    eps: float

    @property
    def width(self):
        return self.num_attention_heads * self.attention_head_dim

    @property
    def mlp_hidden(self):
        return int(self.width * self.mlp_ratio)

    def manifest(self):
        return asdict(self) | {"mlp_hidden": self.mlp_hidden}


def read_config(config):
    """Configuration -> Flux2Config. Raises ExportError where the values do not fit."""
    config.only("_class_name", (CLASS,), CLASS)
    config.only("patch_size", (1,), 1)
    in_channels = config.integer("in_channels", 128)
    transformer = Flux2Config(
        in_channels=in_channels,
        out_channels=config.integer("out_channels", in_channels),
        num_layers=config.integer("num_layers", 8, least=0, most=MOST_LAYERS),
        num_single_layers=config.integer("num_single_layers", 48, least=0, most=MOST_LAYERS),
        attention_head_dim=config.integer("attention_head_dim", 128),
        num_attention_heads=config.integer("num_attention_heads", 48),
        joint_attention_dim=config.integer("joint_attention_dim", 15360),
        timestep_guidance_channels=config.integer("timestep_guidance_channels", 256),
        mlp_ratio=config.number("mlp_ratio", 3.0, most=MOST_MLP_RATIO),
        axes_dims_rope=config.integers("axes_dims_rope", (32, 32, 32, 32)),
        rope_theta=config.number("rope_theta", 2000),
        eps=config.number("eps", 1e-6),
    )
    check_config(config, transformer)
    refuse_unread(config, "transformer")
    return transformer


def derive_config(path, checkpoint):
    """The values of config.json that follow from the shapes of a checkpoint of `path`."""
    shapes = {name: entry.shape for name, entry in checkpoint.entries.items()}
    embed = "time_guidance_embed.timestep_embedder.linear_1.weight"
    try:
        (width, in_channels), (_, text_width) = (
            shapes[f"{name}.weight"] for name in ("x_embedder", "context_embedder")
        )
        _, timestep_channels = shapes[embed]
        (head,) = next(s for name, s in shapes.items() if name.endswith(".attn.norm_q.weight"))
        # By rows, which a packed weight has too.
        mlp = [s[0] / 2 for name, s in shapes.items() if name.endswith(".ff.linear_in.weight")]
        mlp += [(s[0] - 3 * width) / 2 for name, s in shapes.items()
                if name.endswith(".attn.to_qkv_mlp_proj.weight")]
        mlp_ratio, heads = mlp[0] / width, width // head
    except (KeyError, ValueError, IndexError, StopIteration, ZeroDivisionError):
        raise ExportError(
            f"{path}: there is no transformer/config.json, and the tensors are not those of a "
            "FLUX.2 transformer, from whose shapes it could follow"
        ) from None
    return {
        "in_channels": in_channels,
        "num_layers": count_blocks(shapes, "transformer_blocks"),
        "num_single_layers": count_blocks(shapes, "single_transformer_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": heads,
        "joint_attention_dim": text_width,
        "timestep_guidance_channels": timestep_channels,
        "mlp_ratio": mlp_ratio,
        "axes_dims_rope": [head // ROPE_AXES] * ROPE_AXES,
    }


def count_blocks(names, kind):
    return len({name.split(".")[1] for name in names if name.startswith(f"{kind}.")})


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
        config.fail(f"out_channels is {c.out_channels}, expected in_channels {c.in_channels}")
    if c.timestep_guidance_channels % 4:
        config.fail(
            f"timestep_guidance_channels is {c.timestep_guidance_channels}, "
            "expected a multiple of 4"
        )
    if c.num_layers + c.num_single_layers == 0:
        config.fail("num_layers and num_single_layers are both 0, expected at least one block")
    for what, columns in (("width", c.width), ("MLP width", c.mlp_hidden)):
        if columns % GROUP or columns == 0:
            config.fail(
                f"the {what} is {columns}, expected a multiple of {GROUP}, the group of the "
                "low-bit weights"
            )


def spec(c):
    """name -> Spec, in the order of use."""
    width, mlp, head = c.width, c.mlp_hidden, c.attention_head_dim
    embed = "time_guidance_embed.timestep_embedder"
    specs = {
        f"{embed}.linear_1.weight": Spec((width, c.timestep_guidance_channels)),
        f"{embed}.linear_2.weight": Spec((width, width)),
        "double_stream_modulation_img.linear.weight": Spec((6 * width, width)),
        "double_stream_modulation_txt.linear.weight": Spec((6 * width, width)),
        "single_stream_modulation.linear.weight": Spec((3 * width, width)),
        "x_embedder.weight": Spec((width, c.in_channels)),
        "context_embedder.weight": Spec((width, c.joint_attention_dim)),
    }
    for i in range(c.num_layers):
        block = double_block(width, mlp, head)
        specs |= {f"transformer_blocks.{i}.{name}.weight": s for name, s in block.items()}
    for i in range(c.num_single_layers):
        block = single_block(width, mlp, head)
        specs |= {f"single_transformer_blocks.{i}.{name}.weight": s for name, s in block.items()}
    return specs | {
        "norm_out.linear.weight": Spec((2 * width, width)),
        "proj_out.weight": Spec((c.out_channels, width)),
    }


def double_block(width, mlp, head):
    linears = ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj")
    norms = ("norm_q", "norm_k", "norm_added_q", "norm_added_k")
    return {
        **{f"attn.{name}": Spec((width, width), LOWBIT) for name in linears},
        **{f"attn.{name}": vector(head) for name in norms},
        **{f"attn.{name}": Spec((width, width), LOWBIT) for name in ("to_out.0", "to_add_out")},
        "ff.linear_in": Spec((2 * mlp, width), LOWBIT),
        "ff.linear_out": Spec((width, mlp), LOWBIT),
        "ff_context.linear_in": Spec((2 * mlp, width), LOWBIT),
        "ff_context.linear_out": Spec((width, mlp), LOWBIT),
    }


def single_block(width, mlp, head):
    return {
        "attn.to_qkv_mlp_proj": Spec((3 * width + 2 * mlp, width), LOWBIT),
        "attn.norm_q": vector(head),
        "attn.norm_k": vector(head),
        "attn.to_out": Spec((width, width + mlp), LOWBIT, cut=width),
    }


def image_spec(c):
    """Reference images are tokens like the picture's own."""
    return {}


def drop_reason(c):
    return DROPPED


def activation_bytes(c, picture):
    """Tokens, their modulated norms, q, k, v and attention; the angles; the text for every step;

    and an MLP in chunks of tokens.
    """
    tokens = picture.text_tokens + picture.image_tokens
    mlp = c.mlp_hidden * min(tokens, MLP_CHUNK_BYTES // (4 * c.mlp_hidden))
    maps = tokens * (6 * c.width + c.attention_head_dim) + picture.text_tokens * c.width
    return 4 * (maps + mlp)


def step_flop(c, picture):
    return blocks_flop(c, spec(c), picture)


def image_activation_bytes(c, images):
    return 0


def streamed_layers(c):
    return double_blocks(c)
