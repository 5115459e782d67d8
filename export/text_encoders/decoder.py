"""What decoder-only text encoders have in common: sizes that the kernels take, and the rotation."""

from export.source.configuration import show
from export.source.meaning import is_off

KERNEL_COLUMNS = 4  # dense weights are read four columns at a time
MOST_HEAD_DIM = 512  # of the attention kernel


def read_sizes(config, head_dim, kv_heads=None):
    """The sizes of a layer by their keys; head_dim and kv_heads: the defaults, None: all heads."""
    heads = config.integer("num_attention_heads")
    kv_heads = config.integer("num_key_value_heads", kv_heads or heads)
    if heads % kv_heads:
        config.fail(f"num_attention_heads {heads} is not a multiple of the {kv_heads} kv heads")
    columns = {"head_dim": config.integer("head_dim", head_dim)}
    columns |= {key: config.integer(key) for key in ("hidden_size", "intermediate_size")}
    for key, value in columns.items():
        if value % KERNEL_COLUMNS:
            config.fail(f"{key} is {value}, expected a multiple of {KERNEL_COLUMNS}")
    if columns["head_dim"] > MOST_HEAD_DIM:
        config.fail(f"head_dim is {columns['head_dim']}, expected at most {MOST_HEAD_DIM}")
    return columns | {"num_attention_heads": heads, "num_key_value_heads": kv_heads}


def read_rope_theta(config):
    """rope_theta stands alone (transformers 4) or in rope_parameters (transformers 5).

    Each place that holds the kind of the rotation must say the default one.
    """
    config.only("partial_rotary_factor", (1,), 1)
    theta = config.number("rope_theta", 10000.0)
    for key in ("rope_parameters", "rope_scaling"):
        rope = config.get(key, {})
        if not isinstance(rope, dict):
            config.fail(f"{key} is {show(rope)}, expected an object")
        inner = type(config)(config.path, rope)
        kind = inner.get("rope_type", inner.get("type", "default"))
        if kind != "default":
            config.fail(f"{key}: the rope type is {show(kind)}, and this version knows only "
                        "'default'")
        inner.only("partial_rotary_factor", (1,), 1)
        theta = inner.number("rope_theta", theta)
        extra = next((k for k in rope if k not in inner.asked and not is_off(rope[k])), None)
        if extra is not None:
            config.fail(f"{key} holds {extra} {show(rope[extra])}, and this version knows only "
                        "rope_theta")
    return theta
