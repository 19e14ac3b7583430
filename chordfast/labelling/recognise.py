"""Features to annotations: one batch through the recogniser, then decoding; shared by single files and folders."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import trace
from ..annotations import Annotation
from ..decoding import DecodingOptions, decode
from ..errors import ModelError
from ..vocabulary import N_CLASS

if TYPE_CHECKING:
    from ..ops.feature_plan import FeaturePlan
    from ..teachers import Recogniser


def find_recogniser(model: str | os.PathLike[str] | Recogniser, offline: bool = False) -> Recogniser:
    """The recogniser itself, or the one of that name or checkpoint path (`chordfast.teachers.load`).

    The last two loaded stay in memory, so that labelling in a loop loads a model once; a changed file is loaded anew.
    """
    if not isinstance(model, str | os.PathLike):
        return model
    name = os.fspath(model)
    try:
        status = os.stat(name)
        stamp = (status.st_size, status.st_mtime_ns)
    except OSError:
        stamp = None
    return _load(name, offline, stamp)


@functools.lru_cache(maxsize=2)
def _load(name: str, offline: bool, _stamp: tuple[int, int] | None) -> Recogniser:
    from ..teachers import load

    return load(name, offline=offline)


def plans_for(recogniser: Recogniser) -> tuple[FeaturePlan, ...]:
    """The feature plans a recogniser wants; of one plan it gets arrays, of several tuples of arrays in their order."""
    return tuple(getattr(recogniser, "plans", (recogniser.plan,)))


@dataclass
class Heard:
    """Of songs in order: posteriors [T_i, K], and an ensemble's agreement [T_i], None where there is one model."""

    posteriors: list[np.ndarray]
    agreement: list[np.ndarray] | None = None


def recognise(recogniser: Recogniser, features: Sequence[Any]) -> Heard:
    """What a recogniser hears in the features of each song ([T_i, n_bins], or a tuple of such arrays), checked.

    ModelError when the recogniser returns another number of songs or frames, or values that are not finite.
    """
    with trace.stage("model"):
        if hasattr(recogniser, "recognise"):
            said = recogniser.recognise(list(features))
            heard = Heard(list(said.posteriors), None if said.agreement is None else list(said.agreement))
        else:
            heard = Heard(list(recogniser.posteriors(list(features))))
    check(recogniser.name, heard.posteriors, [frames_of(recogniser, song) for song in features])
    return heard


def posteriors(recogniser: Recogniser, features: Sequence[Any]) -> list[np.ndarray]:
    """`recognise` without the agreement."""
    return recognise(recogniser, features).posteriors


def frames_of(recogniser: Recogniser, song: Any) -> int | None:
    """Frames the posteriors of a song must have; None where they lie on a grid none of the features are on."""
    if not isinstance(song, tuple):
        return len(song)
    grid = zip(plans_for(recogniser), song, strict=True)
    period = recogniser.plan.frame_period
    return next((len(part) for plan, part in grid if plan.frame_period == period), None)


def check(name: str, found: Sequence[np.ndarray], frames: Sequence[int | None]) -> None:
    """ModelError unless there are posteriors of every song, one row a frame, all finite."""
    if len(found) != len(frames):
        raise ModelError(f"model {name} returned {len(found)} songs for {len(frames)}")
    for count, result in zip(frames, found, strict=True):
        if result.ndim != 2 or (count is not None and len(result) != count):
            raise ModelError(f"model {name} returned posteriors of shape {result.shape} for {count} frames")
        if not np.isfinite(result).all():
            raise ModelError(f"model {name} returned values that are not finite; its weights may be damaged")


def annotate(
    found: np.ndarray | None, duration: float, options: DecodingOptions, frame_period: float, meta: dict[str, Any]
) -> Annotation:
    """Decode the posteriors [T, K] of a recording of ``duration`` s; without posteriors it is "N" throughout."""
    with trace.stage("chords"):
        heard = np.empty((0, N_CLASS + 1), np.float32) if found is None else found
        result = decode(heard, duration, options, frame_period)
    result.meta.update(meta)
    return result


def mean_confidence(annotation: Annotation) -> float | None:
    """Mean over the duration; None where nothing was recognised."""
    if annotation.confidence is None or not len(annotation.confidence):
        return None
    spans = (annotation.ends - annotation.starts) * np.isfinite(annotation.confidence)
    return float(np.average(np.nan_to_num(annotation.confidence), weights=spans)) if spans.sum() > 0 else None
