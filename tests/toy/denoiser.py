"""The toy denoiser, two linears: velocity = proj(x) + text_proj(mean of the prompt's rows).

x [L, C] are the latents' tokens, rows [S, Dt] the encoder's; text_proj [C, Dt] is ternary.
"""

from dataclasses import asdict, dataclass

from export.packing.spec import LOWBIT, Spec
from export.source.meaning import refuse_unread

CLASS = "ToyTransformer2DModel"
ANCHORS = ("text_proj.weight",)
PREFIX = ""


@dataclass(frozen=True)
class ToyConfig:
    in_channels: int
    joint_attention_dim: int

    def manifest(self):
        return asdict(self)


def read_config(config):
    config.only("_class_name", (CLASS,), CLASS)
    c = ToyConfig(config.integer("in_channels"), config.integer("joint_attention_dim"))
    refuse_unread(config, "transformer")
    return c


def spec(c):
    return {
        "text_proj.weight": Spec((c.in_channels, c.joint_attention_dim), LOWBIT),
        "proj.weight": Spec((c.in_channels, c.in_channels)),
    }


def image_spec(c):
    return {}


def drop_reason(c):
    return lambda name: None


def activation_bytes(c, picture):
    return 4 * 3 * picture.image_tokens * c.in_channels


def step_flop(c, picture):
    return 2 * c.in_channels * (picture.image_tokens * c.in_channels + c.joint_attention_dim)


def image_activation_bytes(c, images):
    return 0


def streamed_layers(c):
    return 1
