"""Sana, Sana-1.5 and Sana-Sprint: configuration and tensors of the transformer.

Names, defaults and shapes are those of diffusers' SanaTransformer2DModel. 1x1 convolutions are
matrices [out, in] here.
"""

import re
from dataclasses import asdict, dataclass

from export.denoisers.sana_memory import denoising_bytes, denoising_flop
from export.errors import ExportError
from export.packing.formats import GROUP_STEP
from export.packing.spec import DEPTHWISE, LOWBIT, VECTOR, Spec, by_prefix, vector
from export.source.meaning import refuse_unread

CLASS = "SanaTransformer2DModel"
PREFIX = ""
ANCHORS = (  # names that tell a prefix: diffusers', and those of the original code
    "patch_embed.proj.weight", "caption_projection.linear_1.weight", "x_embedder.proj.weight",
    "y_embedder.y_proj.fc1.weight",
)
DROPPED = by_prefix({
    "patch_embed.pos_embed": "the places of tokens, which are computed",
    "pos_embed": "the places of tokens, which are computed",
    "y_embedder.y_embedding": "the text that training left out; an empty prompt is encoded",
    "logvar_linear.": "training alone weighs its losses by it",
})
WAVES = 256  # channels that a timestep is told in
ACROSS_HEADS = "rms_norm_across_heads"
MOST_LAYERS = 1000
MOST_MLP_RATIO = 1024
MOST_HEAD_DIM = 64  # of linear attention's kernels
MOST_CROSS_HEAD_DIM = 1024  # of attention's
HEAD_DIM = 32  # of every published model
CROSS_HEADS = {1152: 16, 2240: 20}  # width -> heads, of the published models


@dataclass(frozen=True)
class SanaConfig:
    """guidance_embeds: the denoiser is told a guidance; timestep_scale: of the sampler's times."""

    in_channels: int
    out_channels: int
    num_layers: int
    num_attention_heads: int
    attention_head_dim: int
    num_cross_attention_heads: int
    cross_attention_head_dim: int
    caption_channels: int
    mlp_ratio: float
    attention_bias: bool
    sample_size: int
    interpolation_scale: float | None
    norm_eps: float
    qk_norm: str | None
    guidance_embeds: bool
    guidance_embeds_scale: float
    timestep_scale: float

    @property
    def width(self):
        return self.num_attention_heads * self.attention_head_dim

    @property
    def cross_width(self):
        return self.num_cross_attention_heads * self.cross_attention_head_dim

    @property
    def mlp_hidden(self):
        return int(self.width * self.mlp_ratio)

    def manifest(self):
        return asdict(self) | {"mlp_hidden": self.mlp_hidden}


def read_config(config):
    """Configuration -> SanaConfig. Raises ExportError where the values do not fit."""
    config.only("_class_name", (CLASS,), CLASS)
    config.only("patch_size", (1,), 1)
    config.only("norm_elementwise_affine", (False,), False)
    config.number("dropout", 0.0, least=0)  # of training
    in_channels = config.integer("in_channels", 32)
    usual = in_channels if "out_channels" in config.values else 32  # null: as many as come in
    guidance_embeds = config.flag("guidance_embeds", False)
    timestep_scale = config.number("timestep_scale", 1.0)
    c = SanaConfig(
        in_channels=in_channels,
        out_channels=config.integer("out_channels", usual),
        num_layers=config.integer("num_layers", 20, most=MOST_LAYERS),
        num_attention_heads=config.integer("num_attention_heads", 70),
        attention_head_dim=config.integer("attention_head_dim", 32),
        num_cross_attention_heads=config.integer("num_cross_attention_heads", 20),
        cross_attention_head_dim=config.integer("cross_attention_head_dim", 112),
        caption_channels=config.integer("caption_channels", 2304),
        mlp_ratio=config.number("mlp_ratio", 2.5, most=MOST_MLP_RATIO),
        attention_bias=config.flag("attention_bias", False),
        sample_size=config.integer("sample_size", 32),
        interpolation_scale=config.number("interpolation_scale", None),
        norm_eps=config.number("norm_eps", 1e-6),
        qk_norm=config.only("qk_norm", (None, ACROSS_HEADS), None),
        guidance_embeds=guidance_embeds,
        guidance_embeds_scale=config.number("guidance_embeds_scale", 0.1),
        # SanaSprintPipeline, which alone embeds guidance, tells its times as they are.
        timestep_scale=1.0 if guidance_embeds else timestep_scale,
    )
    config.only("cross_attention_dim", (c.width,), 2240)
    check_config(config, c)
    refuse_unread(config, "transformer")
    return c


def check_config(config, c):
    if c.out_channels != c.in_channels:
        config.fail(f"out_channels is {c.out_channels}, expected in_channels {c.in_channels}")
    for key in ("in_channels", "caption_channels"):
        if getattr(c, key) % 4:
            config.fail(f"{key} is {getattr(c, key)}, expected a multiple of 4")
    for key, most in (("attention_head_dim", MOST_HEAD_DIM),
                      ("cross_attention_head_dim", MOST_CROSS_HEAD_DIM)):
        head = getattr(c, key)
        if head % 4 or head > most:
            config.fail(f"{key} is {head}, expected a multiple of 4 to {most}")
    for what, columns in (("width", c.width), ("width of cross-attention", c.cross_width),
                          ("MLP width", c.mlp_hidden)):
        if columns % GROUP_STEP or columns == 0:
            config.fail(f"the {what} is {columns}, expected a multiple of {GROUP_STEP}, as groups "
                        "of low-bit weights are")


def derive_config(path, checkpoint):
    """The values of config.json that follow from the shapes of a checkpoint of `path`.

    Those of the published models where the shapes do not tell: heads of 32, no places of tokens.
    """
    shapes = {name: entry.shape for name, entry in checkpoint.entries.items()}
    try:
        (width, in_channels), (_, captions) = (
            shapes[name][:2] for name in ("patch_embed.proj.weight",
                                          "caption_projection.linear_1.weight")
        )
        hidden = shapes["transformer_blocks.0.ff.conv_depth.weight"][0] // 2
        (cross_width,) = shapes["transformer_blocks.0.attn2.to_q.bias"]  # packed or not
        heads = CROSS_HEADS[width]
        mlp_ratio = hidden / width
    except (KeyError, ValueError, IndexError, ZeroDivisionError):
        raise ExportError(
            f"{path}: there is no transformer/config.json, and the tensors are not those of a "
            f"Sana transformer of the published widths {sorted(CROSS_HEADS)}, from whose shapes "
            "it could follow"
        ) from None
    blocks = {match[1] for match in map(re.compile(r"transformer_blocks\.(\d+)\.").match, shapes)
              if match}
    return {
        "in_channels": in_channels,
        "out_channels": in_channels,
        "num_layers": len(blocks),
        "num_attention_heads": width // HEAD_DIM,
        "attention_head_dim": HEAD_DIM,
        "num_cross_attention_heads": heads,
        "cross_attention_head_dim": cross_width // heads,
        "cross_attention_dim": width,
        "caption_channels": captions,
        "mlp_ratio": mlp_ratio,
        "attention_bias": "transformer_blocks.0.attn1.to_q.bias" in shapes,
        "qk_norm": ACROSS_HEADS if "transformer_blocks.0.attn1.norm_q.weight" in shapes else None,
        "guidance_embeds": any(name.startswith("time_embed.guidance_embedder.") for name in shapes),
    }


def spec(c):
    """name -> Spec, in the order of use."""
    specs = time_embedding(c)
    specs |= linear("patch_embed.proj", c.width, c.in_channels)
    specs |= linear("caption_projection.linear_1", c.width, c.caption_channels)
    specs |= linear("caption_projection.linear_2", c.width, c.width)
    specs["caption_norm.weight"] = vector(c.width)
    for i in range(c.num_layers):
        specs |= {f"transformer_blocks.{i}.{name}": s for name, s in block(c).items()}
    return specs | linear("proj_out", c.out_channels, c.width)


def time_embedding(c):
    """What only the timestep, and the guidance where it is embedded, go through: sana_tables.py."""
    embedders = (("timestep_embedder", "guidance_embedder") if c.guidance_embeds
                 else ("emb.timestep_embedder",))
    specs = {}
    for embedder in embedders:
        specs |= linear(f"time_embed.{embedder}.linear_1", c.width, WAVES)
        specs |= linear(f"time_embed.{embedder}.linear_2", c.width, c.width)
    specs |= linear("time_embed.linear", 6 * c.width, c.width)
    return specs | {"scale_shift_table": Spec((2, c.width), VECTOR)}


def block(c):
    wide = 2 * c.mlp_hidden
    return {
        "scale_shift_table": Spec((6, c.width), VECTOR),
        **attention("attn1", c, c.width, c.attention_bias),
        **attention("attn2", c, c.cross_width, True),
        **linear("ff.conv_inverted", wide, c.width, LOWBIT),
        "ff.conv_depth.weight": Spec((wide, 1, 3, 3), DEPTHWISE),
        "ff.conv_depth.bias": vector(wide),
        "ff.conv_point.weight": Spec((c.width, c.mlp_hidden), LOWBIT),
    }


def attention(name, c, inner, biased):
    """One attention of a block, heads of `inner` columns together."""
    specs = {}
    for kind in ("to_q", "to_k", "to_v"):
        projection = linear(f"{name}.{kind}", inner, c.width, LOWBIT)
        if not biased:
            del projection[f"{name}.{kind}.bias"]
        specs |= projection
    if c.qk_norm:
        specs |= {f"{name}.norm_{kind}.weight": vector(inner) for kind in "qk"}
    return specs | linear(f"{name}.to_out.0", c.width, inner, LOWBIT)


def linear(name, rows, columns, *role):
    return {f"{name}.weight": Spec((rows, columns), *role), f"{name}.bias": vector(rows)}


def image_spec(c):
    return {}


def drop_reason(c):
    return DROPPED


def activation_bytes(c, picture):
    return denoising_bytes(c, picture)


def step_flop(c, picture):
    return denoising_flop(c, picture, spec(c))


def image_activation_bytes(c, images):
    return 0


def streamed_layers(c):
    return c.num_layers
