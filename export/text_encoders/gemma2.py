"""Gemma 2 as a text encoder: configuration and tensors of all layers and the final norm.

The rows that are read are those of transformers' Gemma2Model after its final norm. Every norm
multiplies by 1 + w, which is computed here, in f32, so the page has plain weights.
"""

from dataclasses import asdict, dataclass

from export.packing.spec import LINEAR, ROWS, Spec, vector
from export.source.configuration import show
from export.source.meaning import refuse_unread
from export.text_encoders.decoder import read_rope_theta, read_sizes

CLASS, CLASSES = "Gemma2", ("Gemma2ForCausalLM", "Gemma2Model")
PREFIX = "model."
ANCHORS = ("embed_tokens.weight", "layers.0.pre_feedforward_layernorm.weight")
FULL, SLIDING = "full_attention", "sliding_attention"
GELU = "gelu_pytorch_tanh"
SOFTCAP = "attn_logit_softcapping"
MLP_CHUNK_BYTES = 16 << 20  # of an MLP's middle, as web/engine/mlp.js has it


@dataclass(frozen=True)
class Gemma2Config:
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    rms_norm_eps: float
    rope_theta: float
    vocab_size: int
    query_pre_attn_scalar: float
    attn_logit_softcapping: float | None  # None: the scores are not capped
    sliding_window: int
    layer_types: tuple[str, ...]  # FULL or SLIDING

    def manifest(self):
        return asdict(self)


def read_config(config):
    """config.json -> Gemma2Config; what is absent is what transformers' class has."""
    config.only("model_type", ("gemma2",), "gemma2")
    config.only("architectures", [[name] for name in CLASSES], [CLASSES[0]])
    config.only("hidden_activation", (GELU,), GELU)
    config.only("hidden_act", (GELU,), GELU)
    config.only("attention_bias", (False,), False)
    config.only("use_bidirectional_attention", (False,), False)
    config.number("final_logit_softcapping", None)  # of logits, which are not computed here
    layers = config.integer("num_hidden_layers", most=1000)
    window = config.integer("sliding_window", 4096)
    config.only("sliding_window_size", (window,), window)  # its other name in some files
    encoder = Gemma2Config(
        num_hidden_layers=layers,
        rms_norm_eps=config.number("rms_norm_eps", 1e-6),
        rope_theta=read_rope_theta(config),
        vocab_size=config.integer("vocab_size", 256000),
        query_pre_attn_scalar=config.number("query_pre_attn_scalar", 256),
        attn_logit_softcapping=read_softcap(config),
        sliding_window=window,
        layer_types=read_layer_types(config, layers),
        **read_sizes(config, head_dim=256, kv_heads=4),
    )
    refuse_unread(config, "text_encoder")
    return encoder


def read_softcap(config):
    """50 where the key is absent; null is no cap."""
    cap = config.number(SOFTCAP, None)
    return cap if SOFTCAP in config.values else 50.0


def read_layer_types(config, layers):
    """What each layer attends to; where nothing is said, every other one, the first among them,

    to a window.
    """
    kinds = config.get("layer_types", None)
    if kinds is None:
        return tuple(FULL if i % 2 else SLIDING for i in range(layers))
    if not isinstance(kinds, list) or not all(kind in (FULL, SLIDING) for kind in kinds):
        config.fail(f"layer_types is {show(kinds)}, expected a list of {FULL} and {SLIDING}")
    if len(kinds) != layers:
        config.fail(f"layer_types has {len(kinds)} entries, expected one for each of the {layers} "
                    "layers")
    return tuple(kinds)


def spec(c):
    """name -> Spec, in the order of use; names without the prefix `model.`."""
    specs = {"embed_tokens.weight": Spec((c.vocab_size, c.hidden_size), ROWS)}
    for i in range(c.num_hidden_layers):
        specs |= {f"layers.{i}.{name}.weight": s for name, s in layer(c).items()}
    return specs | {"norm.weight": norm(c)}


def layer(c):
    query, key = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    hidden, intermediate = c.hidden_size, c.intermediate_size
    return {
        "input_layernorm": norm(c),
        "self_attn.q_proj": Spec((query, hidden), LINEAR),
        "self_attn.k_proj": Spec((key, hidden), LINEAR),
        "self_attn.v_proj": Spec((key, hidden), LINEAR),
        "self_attn.o_proj": Spec((hidden, query), LINEAR),
        "post_attention_layernorm": norm(c),
        "pre_feedforward_layernorm": norm(c),
        "mlp.gate_proj": Spec((intermediate, hidden), LINEAR),
        "mlp.up_proj": Spec((intermediate, hidden), LINEAR),
        "mlp.down_proj": Spec((hidden, intermediate), LINEAR),
        "post_feedforward_layernorm": norm(c),
    }


def norm(c):
    return vector(c.hidden_size, plus=1)


def image_spec(c):
    return {}


def drop_reason(c):
    """Nothing but what no model needs: every layer is read."""
    return lambda name: None


def activation_bytes(c, picture):
    """The states of all tokens, and the wider half of a layer: its heads, or the MLP's middle.

    Keys and values are there twice, those of a prefix being joined with a text's.
    """
    query, key = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    row = 4 * picture.read_tokens
    middle = min(row * c.intermediate_size, MLP_CHUNK_BYTES)
    return 4 * row * c.hidden_size + max(row * (2 * query + 4 * key), middle)


def image_activation_bytes(c, images):
    return 0


def streamed_layers(c):
    return c.num_hidden_layers
