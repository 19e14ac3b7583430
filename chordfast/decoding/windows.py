"""Fixed-size model windows over a song, and how their overlapping scores become one row a frame."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError

VOTES = ("hard", "logit", "prob")


def stride_of(size: int = 108, overlap: float = 0.5) -> int:
    """Frames from one window's start to the next: max(1, trunc(size * (1 - overlap))), overlap limited to [0, 0.99].

    The rule of the ChordMini code; size 108 and overlap 0.5 give 54. UsageError for a size below 1 or a NaN.
    """
    if size < 1 or math.isnan(overlap):
        raise UsageError(f"there is no window of {size} frames, overlap {overlap}; give size >= 1 and overlap 0 to 1")
    return max(1, int(size * (1 - min(max(overlap, 0.0), 0.99))))


def windows(frames: int, size: int = 108, overlap: float = 0.5, cover_tail: bool = True) -> NDArray[np.int64]:
    """First frames (int64, ascending) of the windows of ``size`` frames over a song of ``frames`` frames.

    Windows start at multiples of ``stride_of(size, overlap)``. With ``cover_tail`` the last one ends at the last frame
    instead, so that every frame is covered and only songs shorter than a window need padding. Without it, as in the
    ChordMini code, the song is padded to a multiple of ``size`` and only whole windows inside that count: with strides
    that do not divide it, the last frames are in no window. No frames, no windows.

    Raises UsageError for a negative ``frames`` or an impossible size.
    """
    stride = stride_of(size, overlap)
    if frames < 0:
        raise UsageError(f"a song of {frames} frames does not exist; give 0 or more")
    if frames == 0:
        return np.zeros(0, dtype=np.int64)
    if cover_tail:
        last = max(0, frames - size)
        return np.append(np.arange(0, last, stride, dtype=np.int64), last)
    padded = -(-frames // size) * size
    starts = np.arange((padded - size) // stride + 1, dtype=np.int64) * stride
    return starts[starts < frames]


def vote(window_scores: ArrayLike, starts: ArrayLike, frames: int, kind: str = "logit") -> NDArray[np.float32]:
    """Sum of the windows' votes, float32 [frames, K]; a frame outside every window has zeros.

    Args:
        window_scores: [W, size, K] logits. Rows of a window beyond the song's end do not count.
        starts: [W] first frame of each window, as from ``windows``.
        kind: "hard" one vote for the best class of the row, "logit" the scores, "prob" their softmax.

    The argmax of the result (lowest class on ties) is the ChordMini decoder's answer; float32 sums in window order, and
    no division by the coverage, are part of it. Raises UsageError when shapes or kind do not fit.
    """
    scores, first = _checked(window_scores, starts, frames)
    if kind not in VOTES:
        raise UsageError(f"there is no vote {kind!r}; choose one of {', '.join(VOTES)}")
    size, classes = scores.shape[1:]
    if kind == "hard":
        rows = first[:, None] + np.arange(size)
        inside = rows < frames
        cells = rows[inside] * classes + scores.argmax(axis=-1)[inside]
        return np.bincount(cells, minlength=frames * classes).reshape(frames, classes).astype(np.float32)
    total = np.zeros((frames, classes), dtype=np.float32)
    # One slice addition a window: fifty times as fast as np.add.at over all rows.
    for start, window in zip(first.tolist(), scores, strict=True):
        part = window[: frames - start]
        total[start : start + size] += part if kind == "logit" else softmax(part)
    return total


def average(
    window_scores: ArrayLike, starts: ArrayLike, frames: int, weights: ArrayLike | None = None
) -> NDArray[np.float32]:
    """Mean over the windows that cover a frame, float32 [frames, K], of scores [W, size, K] (say, posteriors).

    weights: [size] above 0, how much a window's rows count; by default all alike. Raises UsageError when a frame is in
    no window, or when shapes do not fit.
    """
    scores, first = _checked(window_scores, starts, frames)
    size = scores.shape[1]
    row = np.ones(size, np.float32) if weights is None else np.asarray(weights, np.float32)
    if row.shape != (size,) or not (row > 0).all():
        raise UsageError(f"weights of shape {list(row.shape)} are not {size} numbers above 0, one a row of a window")
    if weights is not None:
        scores = scores * row[:, None]
    coverage = np.zeros(frames, np.float32)
    for start in first.tolist():
        coverage[start : start + size] += row[: frames - start]
    if frames and coverage.min() == 0:
        raise UsageError(
            f"frame {int(np.argmin(coverage))} of {frames} is in none of the {len(first)} windows; "
            "take the starts from windows(..., cover_tail=True)"
        )
    total = vote(scores, first, frames, "logit")
    total /= coverage[:, None]
    return total


def tent(size: int = 108) -> NDArray[np.float32]:
    """Weights 1, 2, ... up to the middle of a window and down again, float32 [size]: near its edges a network knows
    the music of one side only."""
    return np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1)).astype(np.float32)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis, float32, stable for any finite logits."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return shifted


def _checked(window_scores: ArrayLike, starts: ArrayLike, frames: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    scores: NDArray[np.float32] = np.asarray(window_scores, dtype=np.float32)
    first = np.asarray(starts, dtype=np.int64)
    if scores.ndim != 3 or first.shape != scores.shape[:1]:
        raise UsageError(
            f"window scores of shape {list(scores.shape)} do not go with starts of shape {list(first.shape)}; "
            "give [windows, size, classes] and [windows]"
        )
    if first.size and (first.min() < 0 or first.max() >= frames):
        raise UsageError(
            f"windows start at frames {first.min()} to {first.max()} of a song of {frames}; give 0 to {frames - 1}"
        )
    return scores, first
