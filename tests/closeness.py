"""How close what was computed is to what it should be."""

import numpy as np


def psnr(got, want, span=255):
    """dB; `span` is what the values span. Infinite where they are equal."""
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    error = np.square(got.astype(np.float64) - want).mean()
    return 10 * np.log10(span**2 / error) if error else np.inf


def relative_error(got, want):
    """L2 norm of the difference over that of `want`."""
    return np.linalg.norm(got.astype(np.float64) - want) / np.linalg.norm(want)
