"""The annotation: chord segments of one recording, in seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import LabelError

TOLERANCE = 1e-6
"""Seconds under which two boundaries are the same: the resolution of a written file."""


@dataclass(eq=False)
class Annotation:
    """Chord segments of one recording.

    starts, ends: float64 [S], seconds, finite, 0 ≤ start ≤ end; kept in the order given.
    labels: S labels, Harte syntax where chordfast wrote them.
    confidence: float32 [S] in [0, 1], NaN where unknown; or None.
    alternatives, alternative_confidence: the runner-up label of each segment ("" for none) and its confidence; or None.
    duration: seconds of the recording; the end of the last segment when not given.
    meta: what the writer wants to say about the origin; JSON-able values.

    Gaps and overlaps are allowed here, for annotations are read as they are; ``gaps``, ``overlaps`` report
    them and ``fill_gaps`` mends them. Raises LabelError when the arrays do not fit together.
    """

    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]
    labels: list[str]
    confidence: npt.NDArray[np.float32] | None = None
    alternatives: list[str] | None = None
    alternative_confidence: npt.NDArray[np.float32] | None = None
    duration: float = math.nan
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.starts = np.ascontiguousarray(self.starts, dtype=np.float64)
        self.ends = np.ascontiguousarray(self.ends, dtype=np.float64)
        self.labels = list(self.labels)
        count = len(self.labels)
        for name in ("confidence", "alternative_confidence"):
            if (values := getattr(self, name)) is not None:
                setattr(self, name, np.ascontiguousarray(values, dtype=np.float32))
        if self.alternatives is not None:
            self.alternatives = list(self.alternatives)
        for name in ("starts", "ends", "confidence", "alternatives", "alternative_confidence"):
            values = getattr(self, name)
            if values is not None and np.shape(values) != (count,):
                raise LabelError(
                    f"An annotation of {count} labels needs {name} of shape ({count},), not {np.shape(values)}."
                )
        self.duration = float(self.duration)
        if math.isnan(self.duration):
            self.duration = float(self.ends.max(initial=0.0))
        if not (math.isfinite(self.duration) and self.duration >= 0):
            raise LabelError(f"The duration of an annotation must be a finite number of seconds, not {self.duration}.")
        wrong = ~(np.isfinite(self.starts) & np.isfinite(self.ends) & (self.starts >= 0) & (self.ends >= self.starts))
        if wrong.any():
            i = int(np.argmax(wrong))
            raise LabelError(
                f"Segment {i + 1} of the annotation runs from {self.starts[i]} to {self.ends[i]} s; "
                "times must be finite, not negative, and end after they start."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[float, float, str]]:
        """(start, end, label) of every segment."""
        return iter(zip(self.starts.tolist(), self.ends.tolist(), self.labels, strict=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Annotation):
            return NotImplemented

        def same(a: npt.NDArray[Any] | None, b: npt.NDArray[Any] | None) -> bool:
            return (a is None) == (b is None) and (a is None or b is None or np.array_equal(a, b, equal_nan=True))

        return (
            self.labels == other.labels
            and self.alternatives == other.alternatives
            and (self.duration, self.meta) == (other.duration, other.meta)
            and all(same(getattr(self, n), getattr(other, n)) for n in ("starts", "ends"))
            and all(same(getattr(self, n), getattr(other, n)) for n in ("confidence", "alternative_confidence"))
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def intervals(self) -> npt.NDArray[np.float64]:
        """float64 [S, 2], start and end of every segment, as mir_eval takes them."""
        return np.stack([self.starts, self.ends], axis=1)

    def gaps(self, tolerance: float = TOLERANCE) -> npt.NDArray[np.float64]:
        """float64 [G, 2]: stretches of [0, duration] longer than ``tolerance`` s that no segment covers, in order."""
        order = np.argsort(self.starts, kind="stable")
        covered = np.concatenate([[0.0], np.maximum.accumulate(self.ends[order])])
        following = np.concatenate([self.starts[order], [self.duration]])
        # A gap cannot begin or end behind the recording.
        holes = np.minimum(np.stack([covered, following], axis=1), self.duration)
        return holes[holes[:, 1] - holes[:, 0] > tolerance]

    def overlaps(self, tolerance: float = TOLERANCE) -> npt.NDArray[np.float64]:
        """float64 [O, 2]: where a segment begins more than ``tolerance`` s before an earlier one ends, in order."""
        order = np.argsort(self.starts, kind="stable")
        starts, ends = self.starts[order], self.ends[order]
        before = np.maximum.accumulate(ends)[:-1]
        both = np.stack([starts[1:], np.minimum(before, ends[1:])], axis=1)
        return both[both[:, 1] - both[:, 0] > tolerance]

    def fill_gaps(self, duration: float | None = None, label: str = "N", tolerance: float = TOLERANCE) -> Annotation:
        """A copy that covers [0, duration] exactly once: gaps painted with ``label``, order by time.

        duration: seconds; ``self.duration`` when None. Segments beyond it are cut or dropped. Gaps up to
        ``tolerance`` close without a segment of their own, an overlap goes to the segment that starts later
        (the earlier one goes on behind it), and segments of no length disappear. Painted segments have NaN
        confidence and no alternative.
        """
        end = self.duration if duration is None else float(duration)
        order = np.argsort(self.starts, kind="stable")
        starts, ends = (np.minimum(times[order], end) for times in (self.starts, self.ends))
        bounds = np.unique(np.concatenate([[0.0, end], starts, ends]))
        owner = np.full(len(bounds) - 1, -1, dtype=np.int64)
        paint(owner, np.searchsorted(bounds, starts), np.searchsorted(bounds, ends), order)
        first = np.flatnonzero(np.diff(owner, prepend=-2))
        starts, source = bounds[first], owner[first]
        kept = (source >= 0) | (np.diff(starts, append=end) > tolerance)
        starts, source = starts[kept], source[kept]
        starts[:1] = 0.0
        filled = self.take(source, label)
        return replace(filled, starts=starts, ends=np.append(starts[1:], end)[: len(starts)], duration=end)

    def take(self, source: npt.NDArray[np.int64], label: str = "N") -> Annotation:
        """The segments of indices ``source``, in that order; index -1 gives an empty one named ``label``."""

        def numbers(values: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32] | None:
            return None if values is None else np.append(values, np.float32(np.nan))[source]

        def texts(values: Sequence[str], blank: str) -> list[str]:
            return [values[i] if i >= 0 else blank for i in source]

        return Annotation(
            starts=np.append(self.starts, 0.0)[source],
            ends=np.append(self.ends, 0.0)[source],
            labels=texts(self.labels, label),
            confidence=numbers(self.confidence),
            alternatives=None if self.alternatives is None else texts(self.alternatives, ""),
            alternative_confidence=numbers(self.alternative_confidence),
            duration=self.duration,
            meta=dict(self.meta),
        )

    def frame_classes(self, n_frames: int, **options: Any) -> npt.NDArray[np.int64]:
        """Class of every frame, int64 [n_frames]; options as in ``chordfast.annotations.frame_classes``."""
        from .frames import frame_classes

        return frame_classes(self, n_frames, **options)


def paint(
    out: npt.NDArray[np.int64], first: npt.NDArray[np.int64], stop: npt.NDArray[np.int64], values: npt.NDArray[np.int64]
) -> None:
    """out[first:stop] = value for each of the segments in turn, later ones over earlier ones; in place."""
    first, stop = np.clip(first, 0, len(out)), np.clip(stop, 0, len(out))
    lengths = np.maximum(stop - first, 0)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    out[np.repeat(first, lengths) + within] = np.repeat(values, lengths)  # repeated indices keep the last value
