"""T5's encoder (v1.1, gated GELU): configuration and tensors of all blocks and the final norm.

The rows that are read are those of transformers' T5EncoderModel, padding among them: nothing is
masked. A table of buckets, of block 0, tells all blocks what a distance between two tokens adds to
a score; queries and keys are multiplied as they are.
"""

from dataclasses import asdict, dataclass

from export.packing.spec import LINEAR, ROWS, VECTOR, Spec, by_prefix, vector
from export.source.configuration import show
from export.source.meaning import refuse_unread
from export.text_encoders.decoder import KERNEL_COLUMNS, MOST_HEAD_DIM

CLASS, CLASSES = "T5EncoderModel", ("T5EncoderModel", "T5ForConditionalGeneration", "T5Model")
PREFIX = ""
ANCHORS = ("encoder.block.0.layer.0.SelfAttention.q.weight",)
TIED = {"encoder.embed_tokens.": "shared."}  # files mostly have the latter alone
BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
GELU = ("gelu_new", "gelu_pytorch_tanh")  # two names of one function
DEFAULT = "relu"  # of transformers' T5Config
MLP_CHUNK_BYTES = 16 << 20  # of an MLP's middle, as web/engine/mlp.js has it
UNREAD = (  # of training, and of a decoder
    "classifier_dropout", "decoder_start_token_id", "dropout_rate", "initializer_factor",
    "n_positions", "num_decoder_layers", "output_past", "scale_decoder_outputs",
)
DROPPED = {
    "decoder.": "the decoder has no part in encoding",
    "shared.": "the decoder reads it, the encoder its own",
}


@dataclass(frozen=True)
class T5Config:
    d_model: int
    num_layers: int
    num_heads: int
    d_kv: int
    d_ff: int
    layer_norm_epsilon: float
    relative_attention_num_buckets: int
    relative_attention_max_distance: int
    vocab_size: int

    def manifest(self):
        return asdict(self)


def read_config(config):
    """config.json -> T5Config; what is absent is what transformers' class has."""
    config.only("model_type", ("t5",), "t5")
    config.only("architectures", [[name] for name in CLASSES], [CLASS])
    config.only("is_decoder", (False,), False)
    check_activation(config)
    for key in UNREAD:
        config.get(key, None)
    columns = {key: config.integer(key, usual)
               for key, usual in (("d_model", 512), ("d_kv", 64), ("d_ff", 2048))}
    for key, value in columns.items():
        if value % KERNEL_COLUMNS:
            config.fail(f"{key} is {value}, expected a multiple of {KERNEL_COLUMNS}")
    if columns["d_kv"] > MOST_HEAD_DIM:
        config.fail(f"d_kv is {columns['d_kv']}, expected at most {MOST_HEAD_DIM}")
    encoder = T5Config(
        num_layers=config.integer("num_layers", 6, most=1000),
        num_heads=config.integer("num_heads", 8),
        layer_norm_epsilon=config.number("layer_norm_epsilon", 1e-6),
        vocab_size=config.integer("vocab_size", 32128),
        **columns,
        **read_buckets(config),
    )
    refuse_unread(config, "text_encoder")
    return encoder


def check_activation(config):
    """A gated GELU by its tanh formula. Where dense_act_fn and is_gated_act are written out,

    transformers takes them and not what feed_forward_proj says.
    """
    projection = config.get("feed_forward_proj", DEFAULT)
    words = projection.split("-") if isinstance(projection, str) else [projection]
    usual = GELU[0] if projection == "gated-gelu" else words[-1]
    activation = config.get("dense_act_fn", usual)
    if config.get("is_gated_act", words[0] == "gated") is not True or activation not in GELU:
        config.fail(f"feed_forward_proj is {show(projection)} and dense_act_fn "
                    f"{show(activation)}, and this version draws only with a gated "
                    f"{' or '.join(GELU)}, as T5 v1.1 has it")


def read_buckets(config):
    """How many buckets distances fall into, half of them for each direction, and the distance from

    which on all of them fall into the last.
    """
    buckets = config.integer("relative_attention_num_buckets", 32, least=4, most=1 << 16)
    near = buckets // 4  # distances with a bucket of their own
    distance = config.integer("relative_attention_max_distance", 128)
    if distance <= near:
        config.fail(f"relative_attention_max_distance is {distance}, expected more than {near}, a "
                    f"quarter of the {buckets} buckets")
    return {"relative_attention_num_buckets": buckets,
            "relative_attention_max_distance": distance}


def spec(c):
    """name -> Spec, in the order of use; transformers' own names."""
    specs = {
        "encoder.embed_tokens.weight": Spec((c.vocab_size, c.d_model), ROWS),
        BIAS: Spec((c.relative_attention_num_buckets, c.num_heads), VECTOR),
    }
    for i in range(c.num_layers):
        specs |= {f"encoder.block.{i}.layer.{name}.weight": s for name, s in block(c).items()}
    return specs | {"encoder.final_layer_norm.weight": vector(c.d_model)}


def block(c):
    heads = c.num_heads * c.d_kv
    return {
        "0.layer_norm": vector(c.d_model),
        "0.SelfAttention.q": Spec((heads, c.d_model), LINEAR),
        "0.SelfAttention.k": Spec((heads, c.d_model), LINEAR),
        "0.SelfAttention.v": Spec((heads, c.d_model), LINEAR),
        "0.SelfAttention.o": Spec((c.d_model, heads), LINEAR),
        "1.layer_norm": vector(c.d_model),
        "1.DenseReluDense.wi_0": Spec((c.d_ff, c.d_model), LINEAR),
        "1.DenseReluDense.wi_1": Spec((c.d_ff, c.d_model), LINEAR),
        "1.DenseReluDense.wo": Spec((c.d_model, c.d_ff), LINEAR),
    }


def image_spec(c):
    return {}


def drop_reason(c):
    return by_prefix(DROPPED)


def activation_bytes(c, picture):
    """The states of all tokens and their norm, the heads of a block, the MLP's middle, of which a

    whole chunk and the last one are buffers of different sizes, and a bias for each head and
    distance.
    """
    tokens = picture.read_tokens
    row = 4 * tokens
    middle = min(row * c.d_ff, 2 * MLP_CHUNK_BYTES)
    biases = 4 * c.num_heads * (2 * tokens - 1)
    return row * (2 * c.d_model + 4 * c.num_heads * c.d_kv) + middle + biases


def image_activation_bytes(c, images):
    return 0


def streamed_layers(c):
    return c.num_layers
