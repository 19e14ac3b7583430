"""Smoothing along time: of scores by a short kernel, of classes by majority."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError

KERNELS = ("gaussian", "uniform")
# Frames worked on at a time, so that the running sum stays in the second-level cache.
_BLOCK = 256


def odd(kernel: int, what: str = "smoothing kernel") -> int:
    """The kernel length used: ``kernel`` itself, or the next odd number; UsageError below 1."""
    if kernel < 1:
        raise UsageError(f"the {what} is {kernel} frames; give 1 (off) or more")
    return kernel + 1 - kernel % 2


def smooth(x: ArrayLike, kernel: int = 9, kind: str = "gaussian", count_padding: bool = False) -> NDArray[Any]:
    """Smooth ``x`` [..., T, K] along T; same shape, float32 (float64 stays float64).

    Args:
        kernel: frames, made odd by adding one if even; 1 changes nothing.
        kind: "gaussian", sigma = kernel / 6, ends replicated; or "uniform", the mean of the frames there are.
        count_padding: for "uniform" only, divide by ``kernel`` at the ends too, as if zeros stood beyond them; the
            ChordMini code does, which shrinks scores near the ends of every window.

    Raises UsageError for another kind or a kernel below 1.
    """
    if kind not in KERNELS:
        raise UsageError(f"there is no smoothing {kind!r}; choose one of {', '.join(KERNELS)}")
    kernel = odd(kernel)
    values = np.asarray(x)
    if values.dtype != np.float64:
        values = values.astype(np.float32, copy=False)
    if values.ndim < 2:
        raise UsageError(f"scores of shape {list(values.shape)} cannot be smoothed; give [..., frames, classes]")
    frames = values.shape[-2]
    if kernel == 1 or values.size == 0:
        return values.copy()
    half = kernel // 2
    if kind == "gaussian":
        taps = np.exp(-0.5 * ((np.arange(kernel) - half) / (kernel / 6)) ** 2)
        taps /= taps.sum()
    else:
        taps = np.full(kernel, 1 / kernel)
    taps = taps.astype(values.dtype)
    ends: Any = "edge" if kind == "gaussian" else "constant"
    padded = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(half, half), (0, 0)], mode=ends)
    result = np.empty_like(values)
    for begin in range(0, frames, _BLOCK):
        stop = min(begin + _BLOCK, frames)
        out = result[..., begin:stop, :]
        np.multiply(padded[..., begin + half : stop + half, :], taps[half], out=out)
        for i in range(half):
            j = kernel - 1 - i
            pair = padded[..., begin + i : stop + i, :] + padded[..., begin + j : stop + j, :]
            pair *= taps[i]
            out += pair
    if kind == "uniform" and not count_padding:
        position = np.arange(frames)
        real = np.minimum(position + half, frames - 1) - np.maximum(position - half, 0) + 1
        result *= (kernel / real).astype(values.dtype)[:, None]
    return result


def majority(ids: ArrayLike, kernel: int = 9) -> NDArray[np.int64]:
    """Majority filter over class ids [T] -> int64 [T], the rule of the ChordMini code.

    Window of ``kernel`` frames (made odd) around each frame, ends replicated. The frame keeps its class if no other is
    more frequent there, else takes the smallest of the most frequent classes. Songs shorter than the kernel stay as
    they are. UsageError for a kernel below 1.
    """
    classes = np.asarray(ids, dtype=np.int64)
    width = odd(kernel, "majority kernel")
    if width == 1 or len(classes) < kernel:
        return classes.copy()
    half = width // 2
    padded = np.pad(classes, half, mode="edge")
    result = classes.copy()
    # Only frames with a change in their window can change, and the memory of the rest is bounded.
    changes = np.concatenate(([0], np.cumsum(padded[1:] != padded[:-1])))
    mixed = np.flatnonzero(changes[2 * half :] > changes[: len(classes)])
    view = np.lib.stride_tricks.sliding_window_view(padded, width)
    step = max(1, (1 << 20) // width)
    for begin in range(0, len(mixed), step):
        rows = mixed[begin : begin + step]
        ordered = np.sort(view[rows], axis=1)
        # Position within its run of equals; the first to reach the largest count is the smallest such class.
        index = np.arange(width)
        starts = np.where(np.diff(ordered, axis=1, prepend=ordered[:, :1] - 1) != 0, index, 0)
        count = index - np.maximum.accumulate(starts, axis=1) + 1
        top = count.argmax(axis=1)
        own = np.count_nonzero(ordered == classes[rows, None], axis=1)
        winner = np.take_along_axis(ordered, top[:, None], axis=1)[:, 0]
        result[rows] = np.where(own == count.max(axis=1), classes[rows], winner)
    return result
