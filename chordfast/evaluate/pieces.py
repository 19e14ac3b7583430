"""Two annotations cut at each other's boundaries, and the segmentation measures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


class Track(NamedTuple):
    """Segments in order of time without overlaps: starts, ends float64 [S] seconds, values int64 [S]."""

    starts: Float
    ends: Float
    values: Int


class Pieces(NamedTuple):
    """The time in common: seconds float64 [P], and the index of the segment on either side, int64 [P]."""

    seconds: Float
    reference: Int
    estimate: Int


def fit(track: Track, start: float, end: float, fill: int) -> Track:
    """The track cropped to [start, end], and filled with ``fill`` before its first and after its last segment.

    Gaps inside stay. Segments that only touch the span are dropped (mir_eval's ``adjust_intervals`` leaves them with
    no length, which its segmentation measures then refuse).
    """
    kept = (track.ends > start) & (track.starts < end)
    starts, ends, values = np.maximum(track.starts[kept], start), np.minimum(track.ends[kept], end), track.values[kept]
    if not len(values):
        return Track(np.array([start]), np.array([end]), np.array([fill]))
    if starts[0] > start:
        starts, ends, values = np.append(start, starts), np.append(starts[0], ends), np.append(fill, values)
    if ends[-1] < end:
        starts, ends, values = np.append(starts, ends[-1]), np.append(ends, end), np.append(values, fill)
    return Track(starts, ends, values)


def cut(reference: Track, estimate: Track) -> Pieces:
    """Pieces on the union of all boundaries of two tracks of one span; O(S log S).

    As in mir_eval, a gap belongs to the segment before it.
    """
    bounds = np.unique(np.concatenate((*reference[:2], *estimate[:2])))
    begin = bounds[:-1]
    return Pieces(
        np.diff(bounds),
        np.searchsorted(reference.starts, begin, side="right") - 1,
        np.searchsorted(estimate.starts, begin, side="right") - 1,
    )


def join(track: Track) -> Track:
    """Neighbours of equal value as one segment, gaps between them included."""
    first = np.flatnonzero(np.diff(track.values, prepend=track.values[:1] - 1))
    last = np.append(first[1:], len(track.values)) - 1
    return Track(track.starts[first], track.ends[last], track.values[first])


def hamming(a: Track, b: Track) -> float:
    """Directional Hamming distance from a to b, in [0, 1] where both have one span (Abdallah et al., ISMIR 2005).

    Of every segment of a, what is left beside its longest piece between boundaries of b; summed, over the span of a.
    """
    points = np.unique(np.concatenate(b[:2]))
    low, high = np.searchsorted(points, a.starts), np.searchsorted(points, a.ends)
    counts = high - low + 2  # start, the boundaries of b inside, end
    offsets = np.cumsum(counts) - counts
    times = np.empty(counts.sum())
    inside = np.ones(len(times), dtype=bool)
    inside[offsets], inside[offsets + counts - 1] = False, False
    times[offsets], times[offsets + counts - 1] = a.starts, a.ends
    within = np.arange(len(times)) - np.repeat(offsets, counts) - 1 + np.repeat(low, counts)
    times[inside] = points[within[inside]]
    steps = np.diff(times, append=times[-1])
    steps[offsets + counts - 1] = 0.0  # from one segment to the next
    longest = np.maximum.reduceat(steps, offsets)
    return float((a.ends - a.starts - longest).sum() / (a.ends[-1] - a.starts[0]))


def segmentation(reference: Track, estimate: Track) -> tuple[float, float, float]:
    """(underseg, overseg, seg) of two tracks of one span whose equal neighbours are joined first; 1 is best."""
    reference, estimate = join(reference), join(estimate)
    over, under = 1 - hamming(reference, estimate), 1 - hamming(estimate, reference)
    return under, over, min(under, over)
