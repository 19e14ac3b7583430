"""Runs of equal class, and the merging of runs that are too short."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError


class Segments(NamedTuple):
    """Runs of equal class that follow one another without gaps: int64 [S] each, ``ends`` exclusive, in frames."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    classes: NDArray[np.int64]


def segments(ids: ArrayLike) -> Segments:
    """Run-length form of class ids [T]; neighbours differ in class. No frames, no segments."""
    classes = np.asarray(ids, dtype=np.int64)
    if classes.ndim != 1:
        raise UsageError(f"class ids of shape {list(classes.shape)} are not a sequence; give [frames]")
    starts = np.flatnonzero(np.concatenate(([classes.size > 0], classes[1:] != classes[:-1])))
    return Segments(starts, np.append(starts[1:], classes.size)[: starts.size], classes[starts])


def merge_short(runs: Segments, posteriors: ArrayLike, min_frames: float, edges: ArrayLike | None = None) -> Segments:
    """Give every run shorter than ``min_frames`` to a neighbour; nothing is ever left out.

    The shortest run goes first (the earliest of equals), to the neighbour whose class has the higher mean posterior
    over the run (the earlier on ties); neighbours of one class then join. It ends when no run is too short or one is
    left.

    Args:
        runs: without gaps, as from ``segments``.
        posteriors: [T, K].
        min_frames: least length, in frames, or in the unit of ``edges``.
        edges: ascending [T + 1], where frame t lies from edges[t] to edges[t + 1]; 0, 1, 2, ... if None.
    """
    scores = np.asarray(posteriors)
    bounds = np.append(runs.starts, runs.ends[-1:])
    times = bounds.astype(np.float64) if edges is None else np.asarray(edges, dtype=np.float64)[bounds]
    # A run of 5 frames is not shorter than 5 periods because of the last bit.
    limit = min_frames * (1 - 1e-9)
    if len(runs.starts) < 2 or not (np.diff(times) < limit).any():
        return runs
    keep, owner = _merge(bounds.tolist(), times.tolist(), runs.classes.tolist(), scores, limit)
    starts = bounds[keep]
    return Segments(starts, np.append(starts[1:], bounds[-1]), np.array(owner, dtype=np.int64))


def _merge(
    bounds: Sequence[int], times: Sequence[float], classes: list[int], scores: NDArray[np.floating], limit: float
) -> tuple[list[int], list[int]]:
    """Indices of the surviving runs' first pieces, ascending, and their classes; a heap, O(S log S)."""
    count = len(classes)
    before, after = list(range(-1, count - 1)), list(range(1, count + 1))  # neighbours; -1 and count: none
    alive = [True] * count

    def length(i: int) -> float:
        return times[after[i]] - times[i]

    def absorb_next(i: int) -> None:
        j = after[i]
        alive[j] = False
        after[i] = after[j]
        if after[i] < count:
            before[after[i]] = i

    heap = [(length(i), i) for i in range(count) if length(i) < limit]
    heapq.heapify(heap)
    left = count
    while heap and left > 1:
        size, i = heapq.heappop(heap)
        if not alive[i] or size != length(i):
            continue  # merged away, or grown since
        low, high = before[i], after[i]
        if low >= 0 and high < count and classes[low] != classes[high]:
            piece = scores[bounds[i] : bounds[high]]
            to_high = piece[:, classes[high]].sum(dtype=np.float64) > piece[:, classes[low]].sum(dtype=np.float64)
        else:
            to_high = low < 0
        if to_high:
            classes[i] = classes[high]
        else:
            i = low
        absorb_next(i)
        left -= 1
        if after[i] < count and classes[after[i]] == classes[i]:
            absorb_next(i)
            left -= 1
        if length(i) < limit:
            heapq.heappush(heap, (length(i), i))
    survivors = [i for i in range(count) if alive[i]]
    return survivors, [classes[i] for i in survivors]
