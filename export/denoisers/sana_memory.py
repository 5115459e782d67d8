"""About how much GPU memory Sana's transformer takes beside its weights; and the work of a step.

Letters: F the MLP width, n the tokens of the picture.
"""

from export.denoisers.step_flop import attention_flop, product_flop

STRIP_BYTES, STRIP_ROWS = 64 << 20, 4  # of the MLP's middle, as in web/engine/depthwise.js
SLICE = 256  # tokens, as in web/engine/linear_attention.js
TAPS = 9  # of the MLP's depth-wise convolution
TEXT_SIDE = ("attn2.to_k.weight", "attn2.to_v.weight")


def denoising_bytes(c, picture):
    """Tokens, q, k, v and what they are made of; the MLP's middle in strips; the texts' keys and

    values of all blocks; the places of tokens.
    """
    n, text = picture.image_tokens, picture.texts * picture.text_tokens
    maps = 5 + (c.qk_norm is not None) + (c.interpolation_scale is not None)
    sums = n // SLICE * c.width * (c.attention_head_dim + 1)
    keys = text * (c.width + 2 * c.num_layers * c.cross_width)
    return 4 * (maps * n * c.width + sums + keys) + mlp_bytes(c, picture)


def mlp_bytes(c, picture):
    """As web/engine/depthwise.js goes through a map whose middle is [n, 2 F]."""
    columns = round(picture.width * (picture.image_tokens / (picture.width * picture.height))**0.5)
    rows, row = picture.image_tokens // columns, 8 * columns * c.mlp_hidden
    if rows * row <= STRIP_BYTES:
        return rows * row * 3 // 2
    strip = max(STRIP_ROWS, (STRIP_BYTES // row - 2) // STRIP_ROWS * STRIP_ROWS)
    return (strip + 4) * row + strip * row // 2 + 4 * (strip + 1) * columns * c.width


def denoising_flop(c, picture, specs):
    """Of all texts. What cross-attention reads of a text is computed once a picture.

    Linear attention sums Dh x Dh products a head, and applies them; a tap of the MLP's depth-wise
    convolution is a product.
    """
    n = picture.image_tokens
    per_text = product_flop(
        specs, lambda name: 0 if name.endswith(TEXT_SIDE) else n)
    linear = 4 * n * c.width * c.attention_head_dim
    depthwise = 2 * n * TAPS * 2 * c.mlp_hidden
    cross = attention_flop(n, picture.text_tokens, c.cross_width)
    return picture.texts * (per_text + c.num_layers * (linear + depthwise + cross))
