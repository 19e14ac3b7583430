"""Batches for the constant-Q transform: which samples and which rows of the result belong to which song."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from .feature_plan import FeaturePlan

if TYPE_CHECKING:
    import torch

FLOOR = 1e-6
"""Added to magnitudes before the logarithm."""


@dataclass(frozen=True)
class Layout:
    """How songs lie in the samples and frames in the result.

    lengths: samples of each song, or one number for all ``count`` songs. stride: samples from the start of one song to
    the next, 0: each follows the last one. rows: frames from the start of one song's result to the next, 0 likewise.
    """

    lengths: tuple[int, ...]
    count: int
    stride: int
    rows: int

    def table(self, plan: FeaturePlan) -> tuple[np.ndarray, np.ndarray]:
        """int64 [songs, 3] (first sample, samples, first row), and the frames of each song."""
        lengths = np.broadcast_to(np.asarray(self.lengths, np.int64), (self.count,))
        frames = frames_of(plan, lengths)
        songs = np.empty((self.count, 3), np.int64)
        songs[:, 0] = np.arange(self.count) * self.stride if self.stride else starts(lengths)[:-1]
        songs[:, 1] = lengths
        songs[:, 2] = np.arange(self.count) * self.rows if self.rows else starts(frames)[:-1]
        return songs, frames

    def total_rows(self, plan: FeaturePlan) -> int:
        if self.rows:
            return self.count * self.rows
        if len(self.lengths) == 1:
            return self.count * plan.n_frames(self.lengths[0])
        return int(frames_of(plan, np.asarray(self.lengths, np.int64)).sum())


def starts(sizes: np.ndarray) -> np.ndarray:
    """Offsets int64 [n + 1] of pieces of these sizes."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


def frames_of(plan: FeaturePlan, lengths: np.ndarray) -> np.ndarray:
    """``plan.n_frames`` of many lengths at once."""
    n, hop = lengths.astype(np.int64), plan.hop
    fewest = np.full(n.shape, np.iinfo(np.int64).max)
    for level in range(plan.halvings + plan.n_octaves):
        if level >= plan.halvings:
            fewest = np.minimum(fewest, 1 + n // hop)
        n, hop = (n + 1) // 2, hop // 2
    return np.where(lengths < 2, 0, fewest)


def whole_numbers(values: Any, name: str) -> tuple[int, ...]:
    """A list, array or tensor of whole numbers as a tuple; a tensor on a GPU is waited for."""
    numbers = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(numbers, (list, tuple)) or not all(isinstance(n, (int, np.integer)) for n in numbers):
        raise UsageError(f"cqt: {name} must be a list or a one-dimensional array of whole numbers")
    return tuple(int(n) for n in numbers)


def padded_layout(shape: tuple[int, ...], lengths: Any, plan: FeaturePlan) -> Layout:
    """Of samples [..., N]; with ``lengths``, [B, N] with so many valid samples in each row."""
    n = int(shape[-1])
    frames = plan.n_frames(n)
    if lengths is None:
        count = 1
        for size in shape[:-1]:
            count *= int(size)
        return Layout((n,), count, n, frames)
    valid = whole_numbers(lengths, "lengths")
    if len(shape) != 2 or len(valid) != shape[0]:
        raise UsageError(f"cqt: {len(valid)} lengths for samples of shape {tuple(shape)}; give [B, N] and B lengths")
    for row, length in enumerate(valid):
        if not 0 <= length <= n:
            raise UsageError(f"cqt: length {length} of row {row} is not within 0 ... {n}")
    return Layout(valid, len(valid), n, frames)


def flat_layout(size: int, offsets: Any) -> Layout:
    """Of songs one after the other, song s from sample offsets[s] to offsets[s + 1]."""
    bounds = whole_numbers(offsets, "offsets")
    sizes = tuple(b - a for a, b in itertools.pairwise(bounds))
    if not bounds or bounds[0] != 0 or bounds[-1] != size or min(sizes, default=0) < 0:
        raise UsageError(f"cqt: offsets must rise from 0 to {size}, the number of samples (one more than songs)")
    return Layout(sizes, len(sizes), 0, 0)


def scaling(normalise: tuple[float, float] | None) -> tuple[float, float]:
    """(mean, 1 / standard deviation)."""
    if normalise is None:
        return 0.0, 1.0
    try:
        mean, deviation = (float(v) for v in normalise)
    except (TypeError, ValueError):
        raise UsageError(f"cqt: normalise is {normalise!r}; give a pair (mean, standard deviation)") from None
    if not (np.isfinite(mean) and np.isfinite(deviation) and deviation > 0):
        raise UsageError(f"cqt: normalise is {normalise!r}; give a finite mean and a positive standard deviation")
    return mean, 1.0 / deviation


def silence(plan: FeaturePlan, mean: float, factor: float) -> float:
    """What frames without a signal hold."""
    return float((np.float32(np.log(FLOOR) if plan.output == "log" else 0.0) - np.float32(mean)) * np.float32(factor))


def finished(out: Any, mean: float, factor: float, half: bool) -> Any:
    """The same after-treatment as on the GPU, for float32 arrays and tensors, in place where it can be."""
    if (mean, factor) != (0.0, 1.0):
        out -= mean
        out *= factor
    if not half:
        return out
    return out.astype(np.float16) if isinstance(out, np.ndarray) else _half(out)


def _half(out: torch.Tensor) -> torch.Tensor:
    return out.half()
