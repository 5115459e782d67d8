"""CLIP's text model: configuration and tensors of all layers and the final norm.

What is read is the pooled row of transformers' CLIPTextModel: the final norm's at the first end of
the text. A projection of it, which CLIPTextModelWithProjection has, is not.
"""

from dataclasses import asdict, dataclass

from export.packing.spec import LINEAR, ROWS, VECTOR, Spec, by_prefix, vector
from export.source.meaning import refuse_unread
from export.text_encoders.decoder import KERNEL_COLUMNS, MOST_HEAD_DIM

CLASS, CLASSES = "CLIPTextModel", ("CLIPTextModel", "CLIPTextModelWithProjection")
PREFIX = ""
ANCHORS = ("embeddings.token_embedding.weight",)
GELU = "quick_gelu"
UNREAD = ("dropout", "initializer_factor", "projection_dim")  # of training, and of a projection
DROPPED = by_prefix({
    "text_projection.": "the pooled row is read before it is projected",
    "vision_model.": "pictures are not read",
    "visual_projection.": "pictures are not read",
    "logit_scale": "nothing is compared",
})


@dataclass(frozen=True)
class ClipConfig:
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    layer_norm_eps: float
    max_position_embeddings: int
    vocab_size: int
    eos_token_id: int

    def manifest(self):
        return asdict(self)


def read_config(config):
    """config.json -> ClipConfig; what is absent is what transformers' class has."""
    config.only("model_type", ("clip_text_model",), "clip_text_model")
    config.only("architectures", [[name] for name in CLASSES], [CLASSES[0]])
    config.only("hidden_act", (GELU,), GELU)
    for key in UNREAD:
        config.get(key, None)
    heads = config.integer("num_attention_heads", 8)
    columns = {"hidden_size": config.integer("hidden_size", 512),
               "intermediate_size": config.integer("intermediate_size", 2048)}
    for key, value in columns.items():
        if value % KERNEL_COLUMNS:
            config.fail(f"{key} is {value}, expected a multiple of {KERNEL_COLUMNS}")
    hidden = columns["hidden_size"]
    if hidden % heads or hidden // heads % KERNEL_COLUMNS or hidden // heads > MOST_HEAD_DIM:
        config.fail(f"hidden_size {hidden} is {hidden / heads:g} for each of num_attention_heads "
                    f"{heads}, expected a multiple of {KERNEL_COLUMNS} up to {MOST_HEAD_DIM}")
    encoder = ClipConfig(
        num_hidden_layers=config.integer("num_hidden_layers", 12, most=1000),
        num_attention_heads=heads,
        layer_norm_eps=config.number("layer_norm_eps", 1e-5),
        max_position_embeddings=config.integer("max_position_embeddings", 77),
        vocab_size=config.integer("vocab_size", 49408),
        eos_token_id=config.integer("eos_token_id", 49407, least=0),
        **columns,
    )
    refuse_unread(config, "text_encoder")
    return encoder


def spec(c):
    """name -> Spec, in the order of use; transformers' own names, less `text_model.`."""
    specs = {
        "embeddings.token_embedding.weight": Spec((c.vocab_size, c.hidden_size), ROWS),
        "embeddings.position_embedding.weight": Spec(
            (c.max_position_embeddings, c.hidden_size), VECTOR),
    }
    for i in range(c.num_hidden_layers):
        for name, width in layer(c).items():
            specs |= {f"encoder.layers.{i}.{name}.weight": width,
                      f"encoder.layers.{i}.{name}.bias": vector(width.shape[0])}
    return specs | {f"final_layer_norm.{part}": vector(c.hidden_size)
                    for part in ("weight", "bias")}


def layer(c):
    hidden, middle = c.hidden_size, c.intermediate_size
    projections = {f"self_attn.{name}_proj": Spec((hidden, hidden), LINEAR)
                   for name in ("q", "k", "v", "out")}
    return {
        "layer_norm1": vector(hidden), **projections, "layer_norm2": vector(hidden),
        "mlp.fc1": Spec((middle, hidden), LINEAR), "mlp.fc2": Spec((hidden, middle), LINEAR),
    }


def image_spec(c):
    return {}


def drop_reason(c):
    return DROPPED


def activation_bytes(c, picture):
    """Six states of all tokens, the four of attention among them, and the MLP's middle."""
    return 4 * c.max_position_embeddings * (6 * c.hidden_size + c.intermediate_size)


def image_activation_bytes(c, images):
    return 0


def streamed_layers(c):
    return c.num_hidden_layers
