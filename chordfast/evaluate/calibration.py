"""Calibration: is a chord of confidence 0.8 right 80 % of the time?"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..vocabulary import X_CLASS
from .song import Scored

BINS = 10

Float = npt.NDArray[np.float64]


@dataclass
class Calibration:
    """Reliability curve over ``BINS`` equal bins of confidence, counted in seconds, float64 [BINS] each.

    A piece is right when estimate and reference have one class of the default map. Pieces whose reference
    is outside that vocabulary, and those without a confidence, are left out.
    """

    seconds: Float = field(default_factory=lambda: np.zeros(BINS))
    confidence: Float = field(default_factory=lambda: np.zeros(BINS))
    right: Float = field(default_factory=lambda: np.zeros(BINS))

    def add(self, song: Scored, confidence: npt.NDArray[np.float32] | None) -> None:
        """Count one song; ``confidence`` [S] of the estimate's segments in [0, 1], NaN where unknown, or None."""
        if confidence is None:
            return
        given = np.append(confidence, np.float32(np.nan))[song.segment].astype(np.float64)
        usable = np.isfinite(given) & (song.reference.klass != X_CLASS)
        given, seconds = np.clip(given[usable], 0.0, 1.0), song.pieces.seconds[usable]
        right = (song.reference.klass == song.estimate.klass)[usable]
        bins = np.minimum((given * BINS).astype(np.int64), BINS - 1)
        self.seconds += np.bincount(bins, seconds, BINS)
        self.confidence += np.bincount(bins, seconds * given, BINS)
        self.right += np.bincount(bins, seconds * right, BINS)

    @property
    def known(self) -> bool:
        """Whether any segment carried a confidence."""
        return bool(self.seconds.sum() > 0)

    def error(self) -> float:
        """Expected calibration error: |accuracy - mean confidence| of the bins, weighted by their time
        (Naeini et al., AAAI 2015)."""
        return float(np.abs(self.right - self.confidence).sum() / self.seconds.sum()) if self.known else float("nan")

    def as_dict(self) -> dict[str, object] | None:
        """JSON-able values, None when no segment carried a confidence."""
        if not self.known:
            return None
        total = self.seconds.sum()
        return {
            "ece": self.error(),
            "accuracy": float(self.right.sum() / total),
            "mean_confidence": float(self.confidence.sum() / total),
            "bins": [
                {
                    "from": b / BINS,
                    "to": (b + 1) / BINS,
                    "seconds": float(self.seconds[b]),
                    "confidence": float(self.confidence[b] / self.seconds[b]),
                    "accuracy": float(self.right[b] / self.seconds[b]),
                }
                for b in np.flatnonzero(self.seconds).tolist()
            ],
        }
