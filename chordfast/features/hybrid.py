"""Hybrid constant-Q features of one recording: its tuning first, then filters moved to that tuning."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..errors import UsageError
from ..ops.cqt import CqtStream
from ..ops.hybrid_plan import HybridPlan, hybrid_filters
from .framing import Framing, hann
from .tuning import TuningEstimate

_BLOCK = 1 << 17  # samples looked at together, 6 s; fixed, as a matrix product's last bit depends on its size
ABSENT = -1.0
"""What a row holds where the recording has ended before its frame."""


class HybridExtractor:
    """Mono float32 [n] in, rows of a `HybridPlan` out, float32 [T, n_bins]; none before ``finish``.

    The filters depend on the tuning of the whole recording, so its samples are kept until then: 88 kB a second at
    22 050 Hz, twice what the features take, and given back as the features are computed. ``tuning``: the estimate in
    bins (a third of a semitone each for 36 per octave), known after ``finish``.
    """

    def __init__(self, plan: HybridPlan) -> None:
        self.plan = plan
        self.tuning: float | None = None
        self._estimate = TuningEstimate(plan.sample_rate, plan.bins_per_octave)
        self._samples: deque[np.ndarray] = deque()
        self._filling = np.empty(_BLOCK, np.float32)
        self._filled = 0
        self._count = 0

    def push(self, x: np.ndarray) -> None:
        """Take samples; UsageError after ``finish`` or for another type."""
        if self.tuning is not None:
            raise UsageError("hybrid features: samples pushed after finish(); make a new extractor for a new signal")
        if x.dtype != np.float32 or x.ndim != 1:
            raise UsageError(f"hybrid features: got {x.dtype} with {x.ndim} axes; push float32 [n]")
        self._count += len(x)
        while len(x):
            taken = min(len(x), _BLOCK - self._filled)
            self._filling[self._filled : self._filled + taken] = x[:taken]
            self._filled += taken
            x = x[taken:]
            if self._filled == _BLOCK:
                self._keep()

    def _keep(self) -> None:
        block = self._filling[: self._filled].copy()
        self._filled = 0
        self._estimate.push(block)
        self._samples.append(block)

    def finish(self) -> np.ndarray:
        """All rows; none on a second call."""
        plan, total = self.plan, self.plan.n_fine(self._count)
        if self.tuning is not None or not total:
            self.tuning = self.tuning or 0.0
            return np.zeros((0, plan.n_bins), np.float32)
        self._keep()
        self.tuning = self._estimate.finish()
        filters = hybrid_filters(plan, self.tuning)
        out = np.full((plan.n_frames(self._count) * plan.subframes, plan.fine_bins), ABSENT, np.float32)
        split = filters.low.n_bins
        low, high = _Filling(out[:total, :split]), _Filling(out[:total, split:])
        stream, framing, window = CqtStream(filters.low), Framing(filters.n_fft, plan.fine_hop), hann(filters.n_fft)

        def spectra(frames: np.ndarray) -> np.ndarray:
            return np.abs(np.fft.rfft(frames * window, axis=1)).astype(np.float32, copy=False) @ filters.high

        while self._samples:
            block = self._samples.popleft()
            low.add(stream.push(block))
            high.add(spectra(framing.push(block)))
        low.add(stream.finish())
        high.add(spectra(framing.finish()))
        return out.reshape(-1, plan.n_bins)


class _Filling:
    """Rows written one after another; those beyond the end are dropped."""

    def __init__(self, target: np.ndarray) -> None:
        self._target = target
        self._at = 0

    def add(self, rows: np.ndarray) -> None:
        taken = min(len(rows), len(self._target) - self._at)
        self._target[self._at : self._at + taken] = rows[:taken]
        self._at += taken
