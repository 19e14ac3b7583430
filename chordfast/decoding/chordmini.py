"""The ChordMini decoder (code of arXiv 2602.19778), to reproduce its frames and its .lab text exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..vocabulary import class_labels
from .pipeline import FRAME_PERIOD
from .segments import segments
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


def chordmini_lab(
    ids: ArrayLike, frame_period: float = FRAME_PERIOD, min_duration: float = 0.0, classes: int = 170
) -> str:
    """Text of the .lab file for class ids [T]: "start end label" with six decimals, t * frame_period, "C" for "C:maj".

    Runs shorter than ``min_duration`` seconds are left out, which leaves gaps. Lines end with a newline.
    """
    labels = class_labels(classes, plain_major=True)
    runs = segments(ids)
    begin, end = runs.starts * frame_period, runs.ends * frame_period
    keep = end - begin >= min_duration
    lines = (
        f"{a:.6f} {b:.6f} {labels[c]}\n"
        for a, b, c in zip(begin[keep].tolist(), end[keep].tolist(), runs.classes[keep].tolist(), strict=True)
    )
    return "".join(lines)
