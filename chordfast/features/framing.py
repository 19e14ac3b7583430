"""Overlapping frames of a signal that arrives in blocks."""

from __future__ import annotations

import numpy as np


def hann(size: int) -> np.ndarray:
    """The periodic Hann window, float32 [size]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)


class Framing:
    """Frames of ``size`` samples, ``hop`` apart, frame t centred on sample t·hop, zeros outside the signal.

    ``push`` float32 [n] gives the frames that became complete, a view [t, size] to be read before the next call;
    ``finish`` the rest: 1 + N // hop altogether.
    """

    def __init__(self, size: int, hop: int) -> None:
        self._size, self._hop = size, hop
        self._kept = np.zeros(size // 2, np.float32)

    def push(self, x: np.ndarray) -> np.ndarray:
        joined = np.concatenate([self._kept, x])
        count = max(0, (len(joined) - self._size) // self._hop + 1)
        self._kept = joined[count * self._hop :].copy()
        if not count:
            return np.zeros((0, self._size), np.float32)
        return np.lib.stride_tricks.sliding_window_view(joined, self._size)[:: self._hop][:count]

    def finish(self) -> np.ndarray:
        """The frames that reach beyond the end."""
        return self.push(np.zeros(self._size // 2, np.float32))
