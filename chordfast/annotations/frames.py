"""Segments to one class per frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..vocabulary import N_CLASS, N_CLASS_25, X_CLASS, X_CLASS_25, chord_classes
from .annotation import Annotation, paint

FRAME_PERIOD = 2048 / 22050
"""Seconds between frames of the BTC features."""

Segments: TypeAlias = Annotation | tuple[npt.ArrayLike, npt.ArrayLike, Sequence[str]]

_DIALECT = {"center": "default", "instant": "default", "cm_train": "cm_train", "cm_eval": "cm_eval"}


def frame_classes(
    segments: Segments,
    n_frames: int,
    frame_period: float = FRAME_PERIOD,
    rule: str = "center",
    *,
    classes: int = 170,
    dialect: str | None = None,
    first_frame: int = 0,
    ignore_index: int | None = None,
) -> npt.NDArray[np.int64]:
    """Class of frames first_frame … first_frame + n_frames - 1, int64 [n_frames].

    segments: an Annotation, or (starts [S] s, ends [S] s, labels).
    frame_period: seconds; frame i covers [i, i + 1) periods.
    rule: "center" – the segment at the middle of the frame, the later-starting one where two overlap;
        "instant" – the same at i · period: right for features whose frame i is centred there, as the CQT's is;
        "cm_train" – the first segment in file order with start ≤ i · period < end;
        "cm_eval" – every segment in file order paints frames trunc(start / period) … trunc(end / period),
        both included, so a frame keeps the last segment that touches it
        (the two rules of the ChordMini code, arXiv 2602.19778).
    dialect: label map, by default the rule's own (``default`` for "center").
    ignore_index: when given, replaces the class X, for losses that mask it.

    Frames no segment covers, behind the last one too, are N. Raises LabelError for a label the dialect
    cannot read, UsageError for an unknown rule or dialect.
    """
    if rule not in _DIALECT:
        raise UsageError(f"There is no frame rule {rule!r}; choose one of {', '.join(_DIALECT)}.")
    if n_frames < 0 or not frame_period > 0:
        raise UsageError(f"Frames need a count from 0 and a positive period, not {n_frames} and {frame_period}.")
    if isinstance(segments, Annotation):
        starts, ends, labels = segments.starts, segments.ends, segments.labels
    else:
        starts, ends = (np.asarray(times, dtype=np.float64) for times in segments[:2])
        labels = list(segments[2])
    values = chord_classes(labels, classes, dialect or _DIALECT[rule])
    if rule == "cm_eval":
        first = np.trunc(starts / frame_period).astype(np.int64) - first_frame
        stop = np.trunc(ends / frame_period).astype(np.int64) + 1 - first_frame
        order = np.arange(len(labels))
    else:
        offset = 0.5 if rule == "center" else 0.0
        times = (np.arange(first_frame, first_frame + n_frames) + offset) * frame_period
        first, stop = np.searchsorted(times, starts), np.searchsorted(times, ends)
        order = np.arange(len(labels))[::-1] if rule == "cm_train" else np.argsort(starts, kind="stable")
    out = np.full(n_frames, N_CLASS if classes == 170 else N_CLASS_25, dtype=np.int64)
    paint(out, first[order], stop[order], values[order])
    if ignore_index is not None:
        out[out == (X_CLASS if classes == 170 else X_CLASS_25)] = ignore_index
    return out
