"""What the double and single blocks of FLUX.1's and FLUX.2's transformers have in common."""

from export.denoisers.step_flop import attention_flop, product_flop

TEXT_STREAM = (".add_", ".to_add_out", ".ff_context")  # of a double block's names, the text's


def blocks_flop(c, specs, picture):
    """Of a step, by the matrices of `specs`, name -> Spec."""
    text, image = picture.text_tokens, picture.image_tokens
    tokens = text + image

    def rows_of(name):
        if name.startswith("single_"):
            return tokens
        return text if any(part in name for part in TEXT_STREAM) else image

    blocks = c.num_layers + c.num_single_layers
    return product_flop(specs, rows_of) + blocks * attention_flop(tokens, tokens, c.width)


def double_blocks(c):
    """All blocks in double ones, which have about twice the weights of single ones."""
    return max(1, c.num_layers + c.num_single_layers // 2)
