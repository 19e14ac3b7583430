"""Features to annotations: one batch through the recogniser, then decoding; shared by single files and folders."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
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


def posteriors(recogniser: Recogniser, features: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Class posteriors [T_i, K] of each song's features [T_i, n_bins], checked.

    ModelError when the recogniser returns another number of songs or frames, or values that are not finite.
    """
    with trace.stage("model"):
        found = recogniser.posteriors(list(features))
    if len(found) != len(features):
        raise ModelError(f"model {recogniser.name} returned {len(found)} songs for {len(features)}")
    for given, result in zip(features, found, strict=True):
        if result.ndim != 2 or len(result) != len(given):
            raise ModelError(
                f"model {recogniser.name} returned posteriors of shape {result.shape} for {len(given)} frames"
            )
        if not np.isfinite(result).all():
            raise ModelError(f"model {recogniser.name} returned values that are not finite; its weights may be damaged")
    return found


def annotate(
    found: np.ndarray | None, duration: float, options: DecodingOptions, frame_period: float, meta: dict[str, Any]
) -> Annotation:
    """Decode the posteriors [T, K] of a recording of ``duration`` s; without posteriors it is "N" throughout."""
    with trace.stage("decode"):
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
