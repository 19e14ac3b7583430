"""From posteriors to an annotation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..annotations import Annotation
from ..errors import UsageError
from ..ops.viterbi import viterbi
from ..vocabulary import class_labels
from .options import DecodingOptions
from .segments import merge_short, segments
from .smoothing import majority, smooth

FRAME_PERIOD = 2048 / 22050
_RESOLUTION = 1e-6  # seconds: that of a written file


def decode(
    posteriors: ArrayLike,
    duration: float,
    options: DecodingOptions | None = None,
    frame_period: float = FRAME_PERIOD,
) -> Annotation:
    """Segments of a song, without gaps: the first starts at 0, the last ends at ``duration``.

    Args:
        posteriors: [T, K] non-negative and finite, K = 25 or 170 classes in BTC's order; frame t is centred at
            t * frame_period. Rows need not sum to 1.
        duration: of the recording, in seconds. Frames beyond it are cut, time beyond the frames goes to the last one.
        options: see ``DecodingOptions`` (also for what compat="chordmini" changes, gaps included).
        frame_period: seconds.

    Returns:
        Annotation with, per segment, ``confidence``: mean posterior of its class over its frames; ``alternatives``:
        the other class of highest mean (lowest class on ties); ``alternative_confidence``: that mean. Without frames it
        is one "N" without confidences, and empty if the duration is 0.

    Raises:
        UsageError: shape, NaN, infinite or negative posteriors, or a duration or period out of range.
    """
    options = options if options is not None else DecodingOptions()
    scores = _checked(posteriors)
    if not 0 <= duration < math.inf:
        raise UsageError(f"the duration is {duration} s; give 0 or more seconds")
    if not 0 < frame_period < math.inf:
        raise UsageError(f"the frame period is {frame_period} s; give a positive number of seconds")
    frames, classes = scores.shape
    compat = options.compat == "chordmini"
    labels = class_labels(classes)
    if frames == 0 or duration == 0:
        return _unheard(duration, options)

    ids = frame_classes(scores, options)
    if compat:
        ids = ids[: int(duration / frame_period)]
        if not len(ids):
            return _unheard(0.0, options, duration)
        edges: NDArray[np.float64] = np.arange(len(ids) + 1, dtype=np.float64) * frame_period
    else:
        edges = (np.arange(frames + 1, dtype=np.float64) + (options.boundary or 0.0)) * frame_period
        edges[0], edges[-1] = 0.0, duration
        # Frames that begin at the end, to the resolution of a written file, or after it have no time of their own.
        count = max(1, int(np.searchsorted(edges[:-1], duration - _RESOLUTION)))
        edges, ids = np.append(edges[:count], duration), ids[:count]
    runs = segments(ids)
    if options.min_duration > 0 and not compat:
        runs = merge_short(runs, scores, options.min_duration, edges)

    heard = np.add.reduceat(scores[: len(ids)], runs.starts, axis=0, dtype=np.float64)
    heard /= (runs.ends - runs.starts)[:, None]
    rows = np.arange(len(runs.starts))
    confidence = heard[rows, runs.classes]
    heard[rows, runs.classes] = -1.0
    other = heard.argmax(axis=1)
    starts, ends = edges[runs.starts], edges[runs.ends]
    keep = ends - starts >= options.min_duration if compat else slice(None)
    return Annotation(
        starts=starts[keep],
        ends=ends[keep],
        labels=[labels[c] for c in runs.classes[keep]],
        confidence=confidence[keep].astype(np.float32),
        alternatives=[labels[c] for c in other[keep]],
        alternative_confidence=heard[rows, other][keep].astype(np.float32),
        duration=float(duration),
        meta={"options_hash": options.hash},
    )


def frame_classes(posteriors: ArrayLike, options: DecodingOptions | None = None) -> NDArray[np.int64]:
    """The class of every frame, int64 [T], of posteriors [T, K]: smoothing, then method, then majority filter."""
    options = options if options is not None else DecodingOptions()
    scores = _checked(posteriors)
    if options.smoothing_kernel > 1:
        scores = smooth(scores, options.smoothing_kernel, options.smoothing_kind)
    if options.method == "viterbi":
        # A posterior that underflowed to 0 is improbable, not impossible.
        floored = np.maximum(scores, np.finfo(np.float32).tiny)
        ids = viterbi(np.log(floored, out=floored), options.self_transition)
    else:
        ids = scores.argmax(axis=1)
    return majority(ids, options.majority_kernel) if options.majority_kernel > 1 else ids


def _checked(posteriors: ArrayLike) -> NDArray[Any]:
    scores = np.asarray(posteriors)
    if scores.dtype != np.float64:
        scores = scores.astype(np.float32, copy=False)
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise UsageError(f"posteriors have shape {list(scores.shape)}; give [frames, classes]")
    # Minimum and maximum hand NaN on, so two passes see every fault.
    if scores.size and not (scores.min() >= 0 and scores.max() < math.inf):
        frame, index = (int(i) for i in np.argwhere(~((scores >= 0) & (scores < math.inf)))[0])
        raise UsageError(
            f"the posterior of class {index} at frame {frame} is {scores[frame, index]}; "
            "give finite values of 0 or more"
        )
    return scores


def _unheard(end: float, options: DecodingOptions, duration: float | None = None) -> Annotation:
    """No frames: "N" up to ``end`` s, without confidences since no model has looked; nothing if that is 0."""
    count = 1 if end > 0 else 0
    return Annotation(
        starts=np.zeros(count),
        ends=np.full(count, float(end)),
        labels=["N"] * count,
        confidence=None,
        alternatives=None,
        alternative_confidence=None,
        duration=float(end if duration is None else duration),
        meta={"options_hash": options.hash},
    )
