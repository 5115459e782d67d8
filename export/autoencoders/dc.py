"""AutoencoderDC (DC-AE): configuration and tensors of the decoder half.

Names, defaults and shapes are diffusers'; convolutions are [Cout, Cin, kh, kw] at the source.
"""

from dataclasses import asdict, dataclass

from export.autoencoders.dc_memory import decoding_bytes
from export.packing.spec import CONV, DEPTHWISE, VECTOR, Spec, by_prefix, vector
from export.source.configuration import is_whole, show
from export.source.meaning import refuse_unread

CLASS = "AutoencoderDC"
PREFIX = ""
DROPPED = by_prefix({"encoder.": "drawing needs only the decoder"})
ANCHORS = ("decoder.conv_in.weight", "decoder.norm_out.weight")  # names that tell a prefix
RES_BLOCK, VIT_BLOCK = BLOCKS = ("ResBlock", "EfficientViTBlock")
INTERPOLATE, PIXEL_SHUFFLE = UPSAMPLERS = ("interpolate", "pixel_shuffle")
ACTIVATIONS = {"silu": "silu", "swish": "silu", "relu": "relu"}
MOST_HEAD_WIDTH = 64  # of the linear attention's kernels
EXPANSION = 4  # of the MLP in an EfficientViTBlock
ENCODERS_OWN = (  # of the half that is left out
    "encoder_block_types", "encoder_layers_per_block", "encoder_qkv_multiscales",
    "encoder_out_shortcut", "downsample_block_type",
)
STAGES = (128, 256, 512, 512, 1024, 1024)  # diffusers' defaults, from the pixels on
LAYERS = (3, 3, 3, 3, 3, 3)
SCALES = ((), (), (), (5,), (5,), (5,))


@dataclass(frozen=True)
class AutoencoderConfig:
    """Of the decoder; a value for each stage, that of the pixels first."""

    latent_channels: int
    attention_head_dim: int
    block_types: tuple[str, ...]
    block_out_channels: tuple[int, ...]
    layers_per_block: tuple[int, ...]
    qkv_multiscales: tuple[tuple[int, ...], ...]  # sides of depth-wise convolutions
    act_fns: tuple[str | None, ...]
    conv_act_fn: str
    upsample_block_type: str
    in_shortcut: bool
    scaling_factor: float

    @property
    def scale_factor(self):
        """Pixels along one side of a latent: every stage but one doubles."""
        return 2 ** (len(self.block_out_channels) - 1)

    @property
    def grows_last(self):
        """Whether the pixels' own stage is no more than the last convolution."""
        return self.layers_per_block[0] == 0

    def stages(self):
        """Indices of those that have blocks, in the order of use."""
        return [i for i in range(len(self.layers_per_block))[::-1] if self.layers_per_block[i]]

    def grows(self, stage):
        """Whether it begins by doubling the picture's sides."""
        return stage < len(self.block_out_channels) - 1

    def inner(self, stage):
        """Channels of queries, keys and values: whole heads."""
        return self.block_out_channels[stage] // self.attention_head_dim * self.attention_head_dim

    def manifest(self):
        return asdict(self)


def read_config(config):
    """Configuration -> AutoencoderConfig. Raises ExportError where the values do not fit."""
    config.only("_class_name", (CLASS,), CLASS)
    config.only("in_channels", (3,), 3)  # of the picture, in and out
    channels = config.integers("decoder_block_out_channels", STAGES)
    count = len(channels)
    encoder = config.integers("encoder_block_out_channels", STAGES)
    if len(encoder) != count:
        config.fail(
            f"encoder_block_out_channels has {len(encoder)} stages, decoder_block_out_channels "
            f"{count}, expected the same number"
        )
    for_each(config, "decoder_norm_types", count, "rms_norm", ("rms_norm",))
    acts = for_each(config, "decoder_act_fns", count, "silu", (*ACTIVATIONS, None))
    autoencoder = AutoencoderConfig(
        latent_channels=config.integer("latent_channels", 32),
        attention_head_dim=config.integer("attention_head_dim", 32),
        block_types=for_each(config, "decoder_block_types", count, RES_BLOCK, BLOCKS),
        block_out_channels=channels,
        layers_per_block=read_layers(config, count),
        qkv_multiscales=read_scales(config, count),
        act_fns=tuple(ACTIVATIONS.get(act) for act in acts),
        conv_act_fn=ACTIVATIONS[config.only("decoder_conv_act_fn", tuple(ACTIVATIONS), "relu")],
        upsample_block_type=config.only("upsample_block_type", UPSAMPLERS, PIXEL_SHUFFLE),
        # null is none, for diffusers hands it on
        in_shortcut=config.flag("decoder_in_shortcut", "decoder_in_shortcut" not in config.values),
        scaling_factor=config.number("scaling_factor", 1.0),
    )
    for key in ENCODERS_OWN:
        config.get(key, None)
    check_config(config, autoencoder)
    refuse_unread(config, "autoencoder")
    return autoencoder


def for_each(config, key, count, default, allowed):
    """A value for each of `count` stages: one for all of them, or a list."""
    value = config.get(key, default)
    values = value if isinstance(value, list) else [value] * count
    if len(values) != count or not all(one in allowed for one in values):
        config.fail(
            f"{key} is {show(value)}, and this version draws only with "
            f"{' or '.join(map(str, allowed))}, one for all or one for each of the {count} stages"
        )
    return tuple(values)


def read_layers(config, count):
    key = "decoder_layers_per_block"
    layers = config.integers(key, LAYERS, least=0)
    if len(layers) != count:
        config.fail(f"{key} has {len(layers)} stages, decoder_block_out_channels {count}, expected "
                    "the same number")
    if 0 in layers[1:-1] or layers == (0,):
        config.fail(f"{key} is {list(layers)}, expected a block in every stage but the first and "
                    "the last")
    return layers


def read_scales(config, count):
    key = "decoder_qkv_multiscales"
    stages = config.get(key, SCALES)
    good = isinstance(stages, list | tuple) and all(isinstance(one, list | tuple) for one in stages)
    if not good or not all(is_whole(size) and size % 2 == 1 and size > 0
                           for one in stages for size in one):
        config.fail(f"{key} is {show(stages)}, expected a list of odd numbers for each stage")
    if len(stages) != count:
        config.fail(f"{key} has {len(stages)} stages, decoder_block_out_channels {count}, expected "
                    "the same number")
    return tuple(tuple(map(int, one)) for one in stages)


def check_config(config, c):
    channels, head = c.block_out_channels, c.attention_head_dim
    attends = [i for i in c.stages() if c.block_types[i] == VIT_BLOCK]
    if attends and (head % 4 or head > MOST_HEAD_WIDTH or head > min(channels[i] for i in attends)):
        config.fail(
            f"attention_head_dim is {head}, expected a multiple of 4 up to {MOST_HEAD_WIDTH} and "
            f"to the channels of the stages with an {VIT_BLOCK}, "
            f"{[channels[i] for i in attends]}"
        )
    if c.in_shortcut and channels[-1] % c.latent_channels:
        config.fail(
            f"decoder_block_out_channels end with {channels[-1]}, expected a multiple of "
            f"latent_channels {c.latent_channels}, which are repeated"
        )
    for i in c.stages():
        if c.grows(i) and 4 * channels[i] % channels[i + 1]:
            config.fail(
                f"decoder_block_out_channels {list(channels)}: 4 x {channels[i]} is no multiple "
                f"of the {channels[i + 1]} before it, which are repeated"
            )


def spec(c):
    """name -> Spec of what drawing needs, in the order of use."""
    channels = c.block_out_channels
    specs = conv("decoder.conv_in", c.latent_channels, channels[-1])
    for i in c.stages():
        stage, wide = f"decoder.up_blocks.{i}", channels[i]
        if c.grows(i):
            specs |= upsampler(c, f"{stage}.0.conv", channels[i + 1], wide)
        for j in range(c.layers_per_block[i]):
            name = f"{stage}.{j + c.grows(i)}"
            if c.block_types[i] == RES_BLOCK:
                specs |= res_block(name, wide)
            else:
                specs |= attention(f"{name}.attn", wide, c.inner(i), c.attention_head_dim,
                                   c.qkv_multiscales[i])
                specs |= glumb_conv(f"{name}.conv_out", wide)
    last = channels[1 if c.grows_last else 0]
    specs |= norm("decoder.norm_out", last)
    if c.grows_last:
        return specs | upsampler(c, "decoder.conv_out.conv", last, 3)
    return specs | conv("decoder.conv_out", last, 3)


def conv(name, cin, cout, size=3, bias=True):
    specs = {f"{name}.weight": Spec((cout, cin, size, size), CONV)}
    return specs | ({f"{name}.bias": vector(cout)} if bias else {})


def upsampler(c, name, cin, cout):
    return conv(name, cin, cout if c.upsample_block_type == INTERPOLATE else 4 * cout)


def norm(name, channels):
    return {f"{name}.weight": vector(channels), f"{name}.bias": vector(channels)}


def res_block(name, channels):
    specs = conv(f"{name}.conv1", channels, channels)
    specs |= conv(f"{name}.conv2", channels, channels, bias=False)
    return specs | norm(f"{name}.norm", channels)


def attention(name, channels, inner, head_dim, scales):
    specs = {f"{name}.{part}.weight": Spec((inner, channels)) for part in ("to_q", "to_k", "to_v")}
    for i, size in enumerate(scales):
        scale = f"{name}.to_qkv_multiscale.{i}"
        specs[f"{scale}.proj_in.weight"] = Spec((3 * inner, 1, size, size), DEPTHWISE)
        specs[f"{scale}.proj_out.weight"] = Spec((3 * inner, head_dim, 1, 1), VECTOR)
    specs[f"{name}.to_out.weight"] = Spec((channels, (1 + len(scales)) * inner))
    return specs | norm(f"{name}.norm_out", channels)


def glumb_conv(name, channels):
    middle = EXPANSION * channels
    specs = conv(f"{name}.conv_inverted", channels, 2 * middle, size=1)
    specs[f"{name}.conv_depth.weight"] = Spec((2 * middle, 1, 3, 3), DEPTHWISE)
    specs[f"{name}.conv_depth.bias"] = vector(2 * middle)
    specs |= conv(f"{name}.conv_point", middle, channels, size=1, bias=False)
    return specs | norm(f"{name}.norm", channels)


def image_spec(c):
    return {}


def drop_reason(c):
    return DROPPED


def activation_bytes(c, picture):
    return decoding_bytes(c, picture.width, picture.height)


def image_activation_bytes(c, images):
    raise AssertionError("this autoencoder encodes no images")


def streamed_layers(c):
    """Stages. The last ones, whose pictures are large, have less than their share of weights."""
    return len(c.stages())
