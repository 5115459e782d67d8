"""How far an op may be from its float64 oracle, given the same inputs: the one table."""

import numpy as np

TOLERANCE = {
    # op: (NMSE = sum (got-want)^2 / sum want^2, worst |got-want| / rms(want))
    # exact: bits, bytes, words
    "to_rgba": (0, 0),
    "unpack_trits": (0, 0),
    # rounded: a few f32 operations an element
    "add_scaled": (1e-13, 2e-6),
    "add_row": (1e-13, 2e-6),
    "relu": (0, 0),
    "place_channels": (0, 0),
    "pixel_shuffle": (1e-13, 2e-6),
    "silu": (1e-12, 1e-5),  # WGSL grants exp 3 + 2|x| ulp
    "unpatchify": (1e-13, 2e-6),
    "patchify": (1e-13, 2e-6),
    "rope": (1e-13, 2e-6),
    # accumulated: f32 sums
    "linear_packed": (1e-11, 2e-5),
    "linear_packed_few": (1e-11, 2e-5),
    "linear_packed_subgroup": (1e-11, 2e-5),
    "linear_packed_tiled": (1e-11, 2e-5),
    "linear_packed_tiled, f16": (4e-7, 5e-3),  # inputs and weights rounded to 11 bits
    "linear_packed_int8": (1e-11, 2e-5),  # against bytes, as it is given them
    "quantize_rows": (0, 0),
    "linear_dense": (1e-11, 2e-5),
    "conv2d": (1e-11, 2e-5),
    "conv2d_ragged": (1e-11, 2e-5),
    "conv2d_down": (1e-11, 2e-5),
    "conv2d_tiled": (1e-11, 2e-5),
    "conv2d_tiled, f16": (4e-7, 5e-3),  # inputs and weights rounded to 11 bits
    "linear_grouped": (1e-11, 2e-5),
    "attention": (1e-11, 3e-5),
    "attention_tiled": (1e-11, 3e-5),
    "linear_attention_sums": (1e-11, 2e-5),
    "linear_attention_merge": (1e-12, 1e-5),
    "linear_attention_apply": (1e-11, 2e-5),
    "linear_attention": (1e-11, 3e-5),
    "depthwise": (1e-12, 1e-5),
    "layer_norm_modulate": (1e-11, 3e-5),  # mean 30, std 1: an ulp of the mean is 2e-6
    "layer_norm": (1e-11, 3e-5),  # the same
    "rms_norm": (1e-12, 1e-5),
    "rms_norm_pixels": (1e-12, 1e-5),
    "rms_norm_rope": (1e-12, 1e-5),
    "group_norm_stats": (1e-12, 1e-5),
    "group_norm_merge": (1e-12, 1e-5),
    "group_norm_apply": (1e-12, 1e-5),
    # mean 1000, std 1: one ulp of the f32 mean is 6e-5 of a standard deviation
    "group_norm_apply, offset": (1e-9, 1e-4),
}


def assert_close(op, case, got, want):
    """Raises with op, case, both errors and the worst element; NaN and a wrong shape fail."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if got.shape != want.shape:
        raise AssertionError(f"{op}/{case}: shape {list(got.shape)}, want {list(want.shape)}")
    nmse_limit, worst_limit = TOLERANCE[op] if want.any() else (0, 0)
    error = np.abs(got - want)
    power = np.square(want).sum() or 1.0
    nmse = np.square(error).sum() / power
    worst = error.max() / np.sqrt(power / want.size)
    if nmse <= nmse_limit and worst <= worst_limit:  # NaN is not
        return
    at = tuple(int(i) for i in np.unravel_index(error.argmax(), want.shape))
    raise AssertionError(
        f"{op}/{case}: nmse {nmse:.1e} (limit {nmse_limit:.0e}), worst {worst:.1e} of rms "
        f"(limit {worst_limit:.0e}) at {list(at)}: got {got[at]:.9g}, want {want[at]:.9g}")
