"""AutoencoderKLFlux2: configuration and tensors of the decoder half and, if asked, the encoder.

Names, defaults and shapes are diffusers'; convolutions are [Cout, Cin, kh, kw] at the source. What
AutoencoderKL (kl_scaled.py) has in common with it stands here.
"""

from dataclasses import asdict, dataclass
from math import prod

from export.autoencoders.kl_memory import decoding_bytes, encoding_bytes
from export.packing.spec import CONV, Spec, by_prefix, vector
from export.source.configuration import show
from export.source.meaning import refuse_unread

CLASS = "AutoencoderKLFlux2"
PREFIX = ""
DROPPED = by_prefix({
    "encoder.": "drawing needs only the decoder",
    "quant_conv.": "drawing needs only the decoder",
})
ANCHORS = ("decoder.conv_in.weight", "decoder.conv_out.weight")  # names that tell a prefix
MAX_ATTENTION_WIDTH = 512
STREAMED = ("decoder.mid_block.", "decoder.up_blocks.")  # as in web/models/autoencoders/kl.js


@dataclass(frozen=True)
class EncoderConfig:
    block_out_channels: tuple[int, ...]
    use_quant_conv: bool


@dataclass(frozen=True)
class AutoencoderConfig:
    latent_channels: int
    block_out_channels: tuple[int, ...]  # of the decoder
    layers_per_block: int
    norm_num_groups: int
    out_channels: int
    mid_block_add_attention: bool
    use_post_quant_conv: bool
    batch_norm_eps: float | None = None  # latents are normalised by a batch norm, or else
    scaling_factor: float | None = None  # they are scaled and shifted: (z - shift) * scaling
    shift_factor: float | None = None
    encoder: EncoderConfig | None = None  # for reference images

    @property
    def scale_factor(self):
        """Pixels along one side of a latent: every stage but one doubles."""
        return 2 ** (len(self.block_out_channels) - 1)

    def manifest(self):
        return {key: value for key, value in asdict(self).items() if value is not None}


def read_config(config, with_encoder=False):
    """Configuration -> AutoencoderConfig. Raises ExportError where the values do not fit."""
    config.only("_class_name", (CLASS,), CLASS)
    config.only("patch_size", ([2, 2],), [2, 2])
    channels = config.integers("block_out_channels", (128, 256, 512, 512))
    decoder = config.integers("decoder_block_out_channels", channels)
    if len(decoder) != len(channels):
        config.fail(
            f"decoder_block_out_channels has {len(decoder)} stages, block_out_channels "
            f"{len(channels)}, expected the same number"
        )
    config.only("scaling_factor", (1,), 1)  # the class normalises by its batch norm instead
    config.only("shift_factor", (0,), 0)
    return read_halves(
        config, decoder, latent_channels=32, layers_per_block=2,
        batch_norm_eps=config.number("batch_norm_eps", 1e-4),
        encoder=read_encoder(config, channels) if with_encoder else None,
    )


def read_halves(config, stages, latent_channels, layers_per_block, **own):
    """What both classes read; `stages` of the decoder, then the class's defaults. own: values that

    the class alone has.
    """
    config.only("act_fn", ("silu", "swish"), "silu")
    kinds = config.get("up_block_types", ["UpDecoderBlock2D"] * len(stages))
    if kinds != ["UpDecoderBlock2D"] * len(stages):
        config.fail(f"up_block_types is {show(kinds)}, expected {len(stages)} x UpDecoderBlock2D")
    autoencoder = AutoencoderConfig(
        latent_channels=config.integer("latent_channels", latent_channels),
        block_out_channels=stages,
        layers_per_block=config.integer("layers_per_block", layers_per_block, least=0, most=100),
        norm_num_groups=config.integer("norm_num_groups", 32),
        out_channels=config.integer("out_channels", 3),
        mid_block_add_attention=config.flag("mid_block_add_attention", True),
        use_post_quant_conv=config.flag("use_post_quant_conv", True),
        **own,
    )
    check_config(config, autoencoder)
    refuse_unread(config, "autoencoder")
    return autoencoder


def read_encoder(config, channels):
    kinds = config.get("down_block_types", ["DownEncoderBlock2D"] * len(channels))
    if kinds != ["DownEncoderBlock2D"] * len(channels):
        config.fail(
            f"down_block_types is {show(kinds)}, expected {len(channels)} x DownEncoderBlock2D"
        )
    config.only("in_channels", (3,), 3)
    config.integer("layers_per_block", 2, most=100)
    return EncoderConfig(channels, config.flag("use_quant_conv", True))


def check_config(config, c):
    check_half(config, c, "decoder", c.block_out_channels)
    if c.encoder:
        check_half(config, c, "encoder", c.encoder.block_out_channels)
        for channels in c.encoder.block_out_channels[:-1]:
            if channels % 4:  # of the downsampling kernel
                config.fail(
                    f"a stage of the encoder has {channels} channels, expected a multiple of 4 "
                    "for reference images"
                )
    if c.out_channels != 3:
        config.fail(f"out_channels is {c.out_channels}, expected 3 (red, green, blue)")


def check_half(config, c, half, stages):
    for channels in stages:
        if channels % c.norm_num_groups:
            config.fail(
                f"a stage of the {half} has {channels} channels, expected a multiple of "
                f"norm_num_groups {c.norm_num_groups}"
            )
    middle = stages[-1]
    if c.mid_block_add_attention and (middle % 4 or middle > MAX_ATTENTION_WIDTH):
        config.fail(
            f"the {half}'s attention is {middle} wide, expected a multiple of 4 up to "
            f"{MAX_ATTENTION_WIDTH}"
        )


def image_spec(c):
    """name -> Spec of what only reference images need, in the order of use."""
    if not c.encoder:
        return {}
    latent, stages = c.latent_channels, c.encoder.block_out_channels
    specs = conv("encoder.conv_in", 3, stages[0], 3)
    before = stages[0]
    for i, channels in enumerate(stages):
        stage = f"encoder.down_blocks.{i}"
        for j in range(c.layers_per_block):
            specs |= resnet(f"{stage}.resnets.{j}", before, channels)
            before = channels
        if i < len(stages) - 1:
            specs |= conv(f"{stage}.downsamplers.0.conv", channels, channels, 3)
    specs |= mid_block("encoder", before, c.mid_block_add_attention)
    specs |= affine("encoder.conv_norm_out", before)
    specs |= conv("encoder.conv_out", before, 2 * latent, 3)
    if c.encoder.use_quant_conv:
        specs |= conv("quant_conv", 2 * latent, 2 * latent, 1)
    return specs


def spec(c):
    """name -> Spec of what drawing needs, in the order of use."""
    latent, middle = c.latent_channels, c.block_out_channels[-1]
    specs = {}
    if c.batch_norm_eps is not None:
        specs = {"bn.running_mean": vector(4 * latent), "bn.running_var": vector(4 * latent)}
    if c.use_post_quant_conv:
        specs |= conv("post_quant_conv", latent, latent, 1)
    specs |= conv("decoder.conv_in", latent, middle, 3)
    specs |= mid_block("decoder", middle, c.mid_block_add_attention)
    before = middle
    stages = c.block_out_channels[::-1]
    for i, channels in enumerate(stages):
        stage = f"decoder.up_blocks.{i}"
        for j in range(c.layers_per_block + 1):
            specs |= resnet(f"{stage}.resnets.{j}", before, channels)
            before = channels
        if i < len(stages) - 1:
            specs |= conv(f"{stage}.upsamplers.0.conv", channels, channels, 3)
    specs |= affine("decoder.conv_norm_out", before)
    return specs | conv("decoder.conv_out", before, c.out_channels, 3)


def conv(name, cin, cout, size):
    return {
        f"{name}.weight": Spec((cout, cin, size, size), CONV),
        f"{name}.bias": vector(cout),
    }


def affine(name, channels):
    return {f"{name}.weight": vector(channels), f"{name}.bias": vector(channels)}


def resnet(name, cin, cout):
    specs = affine(f"{name}.norm1", cin) | conv(f"{name}.conv1", cin, cout, 3)
    specs |= affine(f"{name}.norm2", cout) | conv(f"{name}.conv2", cout, cout, 3)
    return specs | (conv(f"{name}.conv_shortcut", cin, cout, 1) if cin != cout else {})


def mid_block(half, channels, with_attention):
    specs = resnet(f"{half}.mid_block.resnets.0", channels, channels)
    if with_attention:
        specs |= attention(f"{half}.mid_block.attentions.0", channels)
    return specs | resnet(f"{half}.mid_block.resnets.1", channels, channels)


def attention(name, channels):
    specs = affine(f"{name}.group_norm", channels)
    for linear in ("to_q", "to_k", "to_v", "to_out.0"):
        specs[f"{name}.{linear}.weight"] = Spec((channels, channels))
        specs[f"{name}.{linear}.bias"] = vector(channels)
    return specs


def drop_reason(c):
    return DROPPED


def activation_bytes(c, picture):
    return decoding_bytes(c, picture.width, picture.height)


def image_activation_bytes(c, images):
    return max(encoding_bytes(c, *image) for image in images)


def streamed_layers(c):
    """How many times the decoder has the weights that are there with the last stage's pictures."""
    last = f"decoder.up_blocks.{len(c.block_out_channels) - 1}."
    sizes = {name: prod(one.shape) for name, one in spec(c).items()}
    there = sum(size for name, size in sizes.items()
                if name.startswith(last) or not name.startswith(STREAMED))
    return max(1, sum(sizes.values()) // there)
