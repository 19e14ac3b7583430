"""Scores as the evaluation of the ChordMini code (arXiv 2602.19778) counts them, beside ours.

It reduces both sides to its 170 labels (X becomes N and is scored, inversions vanish), compares one label a frame of
2048 / 22050 s, and calls a quality right whatever its root.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..annotations import FRAME_PERIOD, Annotation, frame_classes
from ..vocabulary import N_CLASS, QUALITIES, X_CLASS, class_labels
from .comparison import COMPARISONS, SCORES
from .encoding import LabelTable
from .pieces import Track, segmentation
from .song import weighted

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

MEASURES: tuple[str, ...] = (*SCORES, "overseg", "underseg", "seg")
_NAMES = {
    **{"maj": "Major", "min": "Minor", "7": "Dom7", "maj7": "Maj7", "min7": "Min7", "dim": "Dim", "dim7": "Dim7"},
    **{"hdim7": "Half-Dim", "aug": "Aug", "sus2": "Sus", "sus4": "Sus", "min6": "Min6", "maj6": "Maj6"},
    "minmaj7": "Min-Maj7",
}
QUALITY_GROUPS: tuple[str, ...] = (*dict.fromkeys(_NAMES.values()), "No Chord")
_GROUP = np.array([QUALITY_GROUPS.index(_NAMES[q]) for q in QUALITIES] * 12 + [QUALITY_GROUPS.index("No Chord")] * 2)
_TABLE = LabelTable()
_IDS = _TABLE.ids(class_labels())
_CODES = _TABLE.codes.take(_IDS)
_PICKED = [COMPARISONS.index(name) for name in SCORES]
_GRID_TOLERANCE = 2e-6  # seconds; its files have six decimals


def frame_count(seconds: float) -> int:
    """Frames of its features for a recording of that length."""
    return int(seconds / FRAME_PERIOD) + 1


def reference_frames(reference: Annotation, n_frames: int) -> Int:
    """Class of every frame: segments painted in file order, both end frames included."""
    return frame_classes(reference, n_frames, rule="cm_eval")


def estimate_frames(estimate: Annotation, n_frames: int) -> Int:
    """Class of every frame: read off where all boundaries lie on frames, as in its own files; else painted likewise."""
    times = np.concatenate((estimate.starts, estimate.ends))
    on_grid = np.abs(times - np.round(times / FRAME_PERIOD) * FRAME_PERIOD) < _GRID_TOLERANCE
    rule = "center" if on_grid.all() else "cm_eval"
    return frame_classes(estimate, n_frames, rule=rule, dialect="cm_eval")


def score_frames(reference: Int, estimate: Int) -> Float:
    """The scores of one song, float64 [10], order of ``MEASURES``; classes 0–169 of every frame, int64 [T], T > 0."""
    times: Float = np.arange(len(reference) + 1, dtype=np.float64) * FRAME_PERIOD
    _, _, scores = weighted(_CODES.take(reference), _CODES.take(estimate), np.diff(times))
    a, b = (Track(times[:-1], times[1:], _CODES.merged[side]) for side in (reference, estimate))
    under, over, seg = np.clip(segmentation(a, b), 0.0, 1.0)
    return np.append(scores[_PICKED], (over, under, seg))


@dataclass
class ChordMiniCorpus:
    """Streaming counters of that evaluation: scores of every song, frames by reference and estimate [170, 170]."""

    scores: list[Float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    confusion: Int = field(default_factory=lambda: np.zeros((170, 170), dtype=np.int64))

    def add(self, reference: Annotation, estimate: Annotation) -> Float:
        """Count one song; the recording is taken to be as long as the reference. Returns its scores."""
        n_frames = frame_count(reference.duration)
        return self.add_frames(reference_frames(reference, n_frames), estimate_frames(estimate, n_frames))

    def add_frames(self, reference: Int, estimate: Int) -> Float:
        """Count one song given as classes of frames, int64 [T]; X becomes N on both sides."""
        reference, estimate = (np.where(side == X_CLASS, N_CLASS, side) for side in (reference, estimate))
        scores = score_frames(reference, estimate)
        self.scores.append(scores)
        self.seconds.append(len(reference) * FRAME_PERIOD)
        self.confusion += np.bincount(reference * 170 + estimate, minlength=170 * 170).reshape(170, 170)
        return scores

    def average(self) -> dict[str, float]:
        """Scores weighted by length; the segmentation measures are plain means over songs there."""
        scores = np.array(self.scores)
        values = np.average(scores, axis=0, weights=self.seconds)
        values[len(SCORES) :] = scores[:, len(SCORES) :].mean(axis=0)
        return dict(zip(MEASURES, values.tolist(), strict=True))

    def quality(self) -> tuple[dict[str, tuple[int, int]], float, float]:
        """Group → (frames in the reference, frames with the right group), then its "WCSR" and ACQA."""
        n = len(QUALITY_GROUPS)
        pairs = (_GROUP[:, None] * n + _GROUP[None, :]).ravel()
        groups = np.bincount(pairs, self.confusion.ravel(), n * n).reshape(n, n).astype(np.int64)
        total, right = groups.sum(axis=1), np.diagonal(groups)
        present = np.flatnonzero(total)
        stats = {QUALITY_GROUPS[g]: (int(total[g]), int(right[g])) for g in present}
        return stats, float(right.sum() / total.sum()), float((right[present] / total[present]).mean())

    def frames(self) -> dict[str, float]:
        """Frame accuracy, and precision, recall and F1 of the labels weighted by their frames in the reference."""
        total, found, right = self.confusion.sum(axis=1), self.confusion.sum(axis=0), np.diagonal(self.confusion)

        def ratio(a: Float | Int, b: Float | Int) -> Float:
            return np.divide(a, b, out=np.zeros(len(a)), where=b > 0)

        precision, recall = ratio(right, found), ratio(right, total)
        f1 = ratio(2 * precision * recall, precision + recall)
        share = total / total.sum()
        values = (recall @ share, precision @ share, recall @ share, f1 @ share)
        return dict(zip(("accuracy", "precision", "recall", "f1"), map(float, values), strict=True))

    def as_dict(self) -> dict[str, object]:
        """All of it as JSON-able values."""
        stats, wcsr, acqa = self.quality()
        quality = {name: {"frames": t, "right": r, "accuracy": r / t} for name, (t, r) in stats.items()}
        return {
            "average": self.average(),
            "quality": {"groups": quality, "wcsr": wcsr, "acqa": acqa},
            "frames": self.frames(),
        }
