"""The window decoder of the ChordMini code (arXiv 2602.19778), to reproduce its classes exactly.

Its segments are those of ``decode`` with compat="chordmini", its text that of ``annotations.dumps`` with the same word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .smoothing import majority, smooth
from .windows import vote


def chordmini_classes(
    window_logits: ArrayLike,
    starts: ArrayLike,
    frames: int,
    kind: str = "hard",
    *,
    smoothing_kernel: int = 1,
    smoothing_kind: str = "gaussian",
    majority_kernel: int = 1,
) -> NDArray[np.int64]:
    """Class of every frame, int64 [frames].

    Args:
        window_logits: [W, 108, K], padded frames included: they take part in the smoothing, then are cut.
        starts: [W], as from ``windows(frames, 108, overlap, cover_tail=False)``.
        kind: "hard", "logit" or "prob", see ``vote``.
        smoothing_kernel, smoothing_kind: within each window; that code smooths always for 2E1D, for BTC on request.
        majority_kernel: of the filter over the result; 1 is off.

    Frames that no window covers come out as class 0, as they do there.
    """
    logits = np.asarray(window_logits, dtype=np.float32)
    if smoothing_kernel > 1:
        logits = smooth(logits, smoothing_kernel, smoothing_kind, count_padding=True)
    ids = vote(logits, starts, frames, kind).argmax(axis=1)
    return majority(ids, majority_kernel)
