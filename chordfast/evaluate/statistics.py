"""How sure a corpus value is, and whether two estimates differ: resampling of songs, seeded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]

RESAMPLES = 5000
LEVEL = 0.95
_CHUNK = 1 << 22  # counts or signs in memory at once


class Interval(NamedTuple):
    """Percentile interval of the bootstrap at ``LEVEL``."""

    low: Float
    high: Float


class Paired(NamedTuple):
    """b minus a: weighted mean difference, its bootstrap interval, two-sided p; float64 [M] each."""

    difference: Float
    low: Float
    high: Float
    p: Float


def mean(scores: Float, seconds: Float) -> Float:
    """Mean over songs weighted by their length; scores [S, M], seconds [S] → [M]."""
    return seconds @ scores / seconds.sum()


def bootstrap(scores: Float, seconds: Float, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Percentile bootstrap over songs of the weighted mean (Efron, 1979); scores [S, M], seconds [S].

    Each resample draws S songs with replacement, with their lengths. One song has no interval: NaN.
    """
    count = len(seconds)
    if count < 2:
        nothing = np.full(scores.shape[1], np.nan)
        return Interval(nothing, nothing)
    generator = np.random.default_rng(seed)
    weighted, means = scores * seconds[:, None], []
    for size in _chunks(resamples, count):
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=size)
        means.append(drawn @ weighted / (drawn @ seconds)[:, None])
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(np.concatenate(means), (tail, 100 - tail), axis=0)
    return Interval(low, high)


def paired(a: Float, b: Float, seconds: Float, seed: int = 0, resamples: int = RESAMPLES) -> Paired:
    """Compare two estimates of the same songs; a, b [S, M], seconds [S].

    p is that of a permutation test which flips the sign of each song's difference: the share of flips whose weighted
    mean difference is at least as large as the observed one. All 2^S flips are tried where they are no more than
    ``resamples``; otherwise (1 + hits) / (1 + resamples) of random ones (Phipson and Smyth, 2010).
    """
    difference = b - a
    observed = mean(difference, seconds)
    interval = bootstrap(difference, seconds, seed, resamples)
    count = len(seconds)
    weighted = difference * (seconds / seconds.sum())[:, None]
    threshold = np.abs(observed) * (1 - 1e-12) - 1e-15  # sums in another order differ in their last bits
    hits, tried = np.zeros(len(observed)), 0
    exact = count < 60 and 1 << count <= resamples
    generator = np.random.default_rng(seed)
    for size in _chunks(1 << count if exact else resamples, count):
        if exact:
            flips = (np.arange(tried, tried + size)[:, None] >> np.arange(count) & 1).astype(bool)
        else:
            flips = generator.random((size, count)) < 0.5
        hits += (np.abs(np.where(flips, -1.0, 1.0) @ weighted) >= threshold).sum(axis=0)
        tried += size
    p = hits / tried if exact else (1 + hits) / (1 + tried)
    return Paired(observed, interval.low, interval.high, p)


def _chunks(total: int, width: int) -> list[int]:
    size = max(1, _CHUNK // max(1, width))
    return [min(size, total - first) for first in range(0, total, size)]
