"""Accuracy by chord quality, with and without the root, the confusion between qualities, and recall of every class."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..vocabulary import class_label
from .encoding import GROUP_OTHER, GROUPS
from .song import Scored

Float = npt.NDArray[np.float64]


@dataclass
class QualityCounts:
    """Streaming counters in seconds of the reference; references X are left out.

    confusion: float64 [16, 16], reference × estimate, order of ``GROUPS``.
    with_root: float64 [16], seconds whose group and root are both right.
    class_seconds, class_right: float64 [170], by class of the default map.
    """

    confusion: Float = field(default_factory=lambda: np.zeros((len(GROUPS), len(GROUPS))))
    with_root: Float = field(default_factory=lambda: np.zeros(len(GROUPS)))
    class_seconds: Float = field(default_factory=lambda: np.zeros(170))
    class_right: Float = field(default_factory=lambda: np.zeros(170))

    def add(self, song: Scored) -> None:
        """Count one song."""
        a, b = song.reference, song.estimate
        weight = np.where(a.mask >= 0, song.pieces.seconds, 0.0)
        n = len(GROUPS)
        self.confusion += np.bincount(a.group * n + b.group, weight, n * n).reshape(n, n)
        self.with_root += np.bincount(a.group, weight * ((a.group == b.group) & (a.root == b.root)), n)
        self.class_seconds += np.bincount(a.klass, weight, 170)
        self.class_right += np.bincount(a.klass, weight * (a.klass == b.klass), 170)

    @property
    def seconds(self) -> Float:
        """Seconds of every group in the reference, float64 [16]."""
        return self.confusion.sum(axis=1)

    def accuracy(self, root: bool) -> Float:
        """Share of every group's time with the right group, and with the right root if ``root``; NaN without time."""
        right = self.with_root if root else np.diagonal(self.confusion)
        return np.divide(right, self.seconds, out=np.full(len(GROUPS), np.nan), where=self.seconds > 0)

    def acqa(self, root: bool) -> float:
        """Average chord quality accuracy: unweighted mean over the groups the reference has, "other" left out."""
        values = np.delete(self.accuracy(root), GROUP_OTHER)
        return float(np.nanmean(values)) if not np.isnan(values).all() else 0.0

    def as_dict(self) -> dict[str, object]:
        """All of it as JSON-able values; groups and classes that the reference lacks are left out."""
        present = np.flatnonzero(self.seconds > 0)
        groups = {
            GROUPS[g]: {
                "seconds": float(self.seconds[g]),
                "accuracy": float(self.accuracy(False)[g]),
                "accuracy_with_root": float(self.accuracy(True)[g]),
            }
            for g in present
        }
        classes = np.flatnonzero(self.class_seconds > 0)
        return {
            "acqa": self.acqa(False),
            "acqa_with_root": self.acqa(True),
            "groups": groups,
            "confusion": {"labels": list(GROUPS), "seconds": np.round(self.confusion, 6).tolist()},
            "recall_of_classes": {
                class_label(c): {
                    "seconds": float(self.class_seconds[c]),
                    "recall": float(self.class_right[c] / self.class_seconds[c]),
                }
                for c in classes.tolist()
            },
        }
