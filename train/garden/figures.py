"""The statistics of the evaluation: shares with intervals, and the Frechet distance."""

import numpy as np

Z = 1.959964            # of a two-sided 95 % interval
RESAMPLES = 1000


def wilson(right, count):
    """95 % interval of a share, low and high (Wilson 1927)."""
    if not count:
        return 0.0, 1.0
    share, spread = right / count, Z * Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z * np.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count)) / (1 + spread)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def share(verdicts):
    """{share, low, high, count} of a sequence of right (True) and wrong."""
    verdicts = np.asarray(verdicts, bool)
    low, high = wilson(int(verdicts.sum()), len(verdicts))
    return {"share": float(verdicts.mean()) if len(verdicts) else None,
            "low": low, "high": high, "count": len(verdicts)}


def mean_of_columns(right, named, seed=0):
    """Mean over the attributes of each one's share, with a 95 % bootstrap interval over prompts.

    right, named: bool [prompts, attributes]; what is not named does not count.
    """
    def mean(rows):
        return float(np.mean((right[rows] & named[rows]).sum(0) / named[rows].sum(0).clip(1)))

    rng, count = np.random.default_rng(seed), len(right)
    drawn = [mean(rng.integers(count, size=count)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, (.025, .975))
    return {"share": mean(np.arange(count)), "low": float(low), "high": float(high),
            "count": count}


def root(matrix):
    """Square root of a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values.clip(0)) @ vectors.T


def frechet(features, others):
    """Frechet distance between Gaussians fitted to two sets of features [N, F], [M, F].

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2)   (Dowson and Landau 1982)
    """
    features, others = np.float64(features), np.float64(others)
    first, second = np.cov(features.T), np.cov(others.T)
    half = root(first)
    cross = np.sqrt(np.linalg.eigvalsh(half @ second @ half).clip(0)).sum()
    offset = np.square(features.mean(0) - others.mean(0)).sum()
    return float(offset + np.trace(first) + np.trace(second) - 2 * cross)
