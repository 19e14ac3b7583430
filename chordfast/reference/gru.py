"""A bidirectional GRU in float64 NumPy: the form Keras 2 had before ``reset_after``. Imports nothing of chordfast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def gru(
    x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray, lengths: Sequence[int]
) -> np.ndarray:
    """Songs laid end to end [N, in] -> float64 [N, D·H]; arguments as for ``chordfast.ops.gru``."""
    directions, hidden = recurrent.shape[:2]
    out = np.zeros((len(x), directions * hidden))
    begin = 0
    for length in lengths:
        for direction in range(directions):
            rows = np.arange(begin, begin + length)[:: -1 if direction else 1]
            projected = x[rows].astype(np.float64) @ kernel[direction] + bias[direction]
            update_kernel, reset_kernel, new_kernel = np.split(recurrent[direction].astype(np.float64), 3, axis=1)
            state = np.zeros(hidden)
            for row, values in zip(rows, projected, strict=True):
                z, r, candidate = np.split(values, 3)
                z = np.clip(0.2 * (z + state @ update_kernel) + 0.5, 0, 1)
                r = np.clip(0.2 * (r + state @ reset_kernel) + 0.5, 0, 1)
                state = z * state + (1 - z) * np.tanh(candidate + (r * state) @ new_kernel)
                out[row, direction * hidden : (direction + 1) * hidden] = state
        begin += length
    return out
