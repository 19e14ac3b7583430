"""Which stretches of which songs make the windows of a run, and in which order they are seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


class Windows(NamedTuple):
    """Windows as arrays [W]: song position, first frame (over all songs one behind the other), valid frames."""

    song: Integers
    first: Integers
    length: Integers

    def __len__(self) -> int:  # type: ignore[override]
        return len(self.first)

    def take(self, which: npt.NDArray[np.int64] | slice) -> Windows:
        return Windows(self.song[which], self.first[which], self.length[which])


def cut(
    songs: Sequence[int], first: Integers, frames: Integers, size: int, stride: int, reference: bool = False
) -> Windows:
    """Windows of ``size`` frames over songs, given each song's first frame and number of frames.

    They start at multiples of ``stride`` as long as they fit, and one more ends at the song's end where frames would
    be left over; a song shorter than a window is one shorter window. ``reference``: ChordMini's rule instead, no last
    window, and songs shorter than half a window are dropped (arXiv 2602.19778's code).
    """
    chosen = np.asarray(songs, dtype=np.int64)
    lengths = frames[chosen]
    chosen, lengths = chosen[lengths > 0], lengths[lengths > 0]
    last = np.maximum(lengths - size, 0)
    counts = last // stride + 1
    if not reference:
        counts = counts + (last % stride > 0)
    elif len(chosen):
        whole = lengths >= size // 2
        chosen, lengths, last, counts = chosen[whole], lengths[whole], last[whole], counts[whole]
    song = np.repeat(np.arange(len(chosen)), counts)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    start = np.minimum(number * stride, last[song])
    return Windows(chosen[song], first[chosen[song]] + start, np.minimum(size, lengths[song]))


def epoch_order(count: int, seed: int, epoch: int, shuffle: bool = True) -> Integers:
    """Order of ``count`` windows in an epoch: depends on nothing but seed and epoch, so a run resumes anywhere."""
    if not shuffle:
        return np.arange(count, dtype=np.int64)
    return np.random.default_rng((seed, epoch)).permutation(count).astype(np.int64)


def share_of(order: Integers, rank: int, ranks: int) -> Integers:
    """The part of a global batch that rank ``rank`` of ``ranks`` computes: contiguous, sizes differ by at most one."""
    edges = np.arange(ranks + 1) * len(order) // ranks
    return order[edges[rank] : edges[rank + 1]]
