"""Qwen3 as a text encoder: configuration and tensors up to the last layer that is read.

hidden_states[0] are the embeddings, hidden_states[i] the output of layer i-1, and the last one
(i = number of layers) comes after the final norm, as in transformers.
"""

import re
from dataclasses import asdict, dataclass

from export.packing.spec import LINEAR, ROWS, Spec, vector
from export.source.configuration import show
from export.source.meaning import refuse_unread
from export.text_encoders.decoder import read_rope_theta, read_sizes

CLASS, CLASSES = "Qwen3", ("Qwen3ForCausalLM", "Qwen3Model")
PREFIX = "model."
ANCHORS = ("embed_tokens.weight", "layers.0.input_layernorm.weight")  # names that tell a prefix


@dataclass(frozen=True)
class Qwen3Config:
    hidden_size: int
    num_hidden_layers: int  # the packed ones
    total_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    rms_norm_eps: float
    rope_theta: float
    vocab_size: int
    taps: tuple[int, ...]  # the hidden states that are read

    def manifest(self):
        return asdict(self)


def read_config(config, taps):
    """Configuration and the hidden states that are read -> Qwen3Config."""
    config.only("model_type", ("qwen3",), "qwen3")
    config.only("architectures", [[name] for name in CLASSES], [CLASSES[0]])
    config.only("hidden_act", ("silu", "swish"), "silu")
    config.only("attention_bias", (False,), False)
    config.only("mlp_bias", (False,), False)
    config.only("use_sliding_window", (False,), False)
    total = config.integer("num_hidden_layers", most=1000)
    beyond = [tap for tap in taps if tap > total]
    if beyond:
        config.fail(
            f"text_encoder_out_layers {list(taps)} reads hidden state {beyond[0]}, but "
            f"num_hidden_layers is {total}; name other layers in trefoil.json"
        )
    sizes = read_sizes(config, head_dim=128)
    check_layer_types(config, total)
    encoder = Qwen3Config(
        num_hidden_layers=max(taps),
        total_hidden_layers=total,
        rms_norm_eps=config.number("rms_norm_eps", 1e-6),
        rope_theta=read_rope_theta(config),
        vocab_size=config.integer("vocab_size"),
        taps=tuple(taps),
        **sizes,
    )
    refuse_unread(config, "text_encoder")
    return encoder


def check_layer_types(config, layers):
    """Every layer attends to all tokens before its own."""
    kinds = config.get("layer_types", None)
    if kinds is not None and kinds != ["full_attention"] * layers:
        config.fail(f"layer_types is {show(kinds)}, expected {layers} x full_attention")


def spec(c):
    """name -> Spec, in the order of use; names without the prefix `model.`."""
    specs = {"embed_tokens.weight": Spec((c.vocab_size, c.hidden_size), ROWS)}
    for i in range(c.num_hidden_layers):
        specs |= {f"layers.{i}.{name}.weight": s for name, s in layer(c).items()}
    if c.num_hidden_layers == c.total_hidden_layers:
        specs["norm.weight"] = vector(c.hidden_size)
    return specs


def layer(c):
    query, key = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    hidden, intermediate = c.hidden_size, c.intermediate_size
    return {
        "input_layernorm": vector(hidden),
        "self_attn.q_proj": Spec((query, hidden), LINEAR),
        "self_attn.k_proj": Spec((key, hidden), LINEAR),
        "self_attn.v_proj": Spec((key, hidden), LINEAR),
        "self_attn.q_norm": vector(c.head_dim),
        "self_attn.k_norm": vector(c.head_dim),
        "self_attn.o_proj": Spec((hidden, query), LINEAR),
        "post_attention_layernorm": vector(hidden),
        "mlp.gate_proj": Spec((intermediate, hidden), LINEAR),
        "mlp.up_proj": Spec((intermediate, hidden), LINEAR),
        "mlp.down_proj": Spec((hidden, intermediate), LINEAR),
    }


def image_spec(c):
    return {}


def drop_reason(c):
    """A function of a name: the unread norm, and known tensors of unread layers."""
    modules = "|".join(re.escape(name) for name in layer(c))
    unread = re.compile(rf"layers\.(\d+)\.(?:{modules})\.(?:weight|scales|biases|W_q|meta\.\w+)")

    def why(name):
        match = unread.fullmatch(name)
        if match and c.num_hidden_layers <= int(match[1]) < c.total_hidden_layers:
            return "no hidden state above them is read"
        return "only the last hidden state passes it" if name == "norm.weight" else None

    return why


def activation_bytes(c, picture):
    """Two states of all tokens, the taps, and the heads of one layer."""
    heads = c.head_dim * (3 * c.num_attention_heads + 3 * c.num_key_value_heads)
    return 4 * picture.read_tokens * ((2 + len(c.taps)) * c.hidden_size + heads)


def image_activation_bytes(c, images):
    return 0


def streamed_layers(c):
    return max(c.num_hidden_layers, 1)
