"""Tuning of a recording from its spectral peaks, block by block."""

from __future__ import annotations

import numpy as np

from .framing import Framing, hann

N_FFT = 2048
_LOWEST, _HIGHEST = 150.0, 4000.0  # Hz
_QUIETEST = 0.1  # of the frame's largest magnitude
_STEPS = 100  # of a bin


class TuningEstimate:
    """How far a recording is from A4 = 440 Hz, as ``librosa.estimate_tuning`` 0.11 finds it.

    ``push`` float32 [n] at ``sample_rate`` Hz, then ``finish``. Keeps eight bytes a peak, some 10 kB a second. The
    method is that of ``reference.tuning``; float32 arithmetic as librosa's.
    """

    def __init__(self, sample_rate: int, bins_per_octave: int) -> None:
        self._bins_per_octave = bins_per_octave
        self._resolution = sample_rate / N_FFT
        self._first = int(np.ceil(_LOWEST / self._resolution))
        self._last = int(np.ceil(_HIGHEST / self._resolution))
        self._framing = Framing(N_FFT, N_FFT // 4)
        self._window = hann(N_FFT)
        self._residuals: list[np.ndarray] = []
        self._heights: list[np.ndarray] = []

    def push(self, x: np.ndarray) -> None:
        self._peaks(self._framing.push(x))

    def finish(self) -> float:
        """Deviation in bins, -0.5 ... 0.49 in steps of a hundredth; 0 when there is no peak."""
        self._peaks(self._framing.finish())
        heights = np.concatenate([*self._heights, np.zeros(0, np.float32)])
        residuals = np.concatenate([*self._residuals, np.zeros(0, np.float32)])
        self._heights.clear()
        self._residuals.clear()
        if not len(heights):
            return 0.0
        edges = np.linspace(-0.5, 0.5, _STEPS + 1)
        counts = np.histogram(residuals[heights >= np.median(heights)], edges)[0]
        return float(edges[np.argmax(counts)])

    def _peaks(self, frames: np.ndarray) -> None:
        if not len(frames):
            return
        magnitude = np.abs(np.fft.rfft(frames * self._window, axis=1)).astype(np.float32, copy=False)
        loud = np.float32(_QUIETEST) * magnitude.max(axis=1, keepdims=True)
        below, here, above = (magnitude[:, self._first + i : self._last + i] for i in (-1, 0, 1))
        at = np.nonzero((here > below) & (here >= above) & (here > loud))
        low, middle, high = below[at], here[at], above[at]
        curve, slope = high + low - 2 * middle, (high - low) / 2
        steep = np.abs(slope) >= np.abs(curve)
        shift = np.where(steep, np.float32(0), -slope / np.where(steep, np.float32(1), curve))
        frequency = ((at[1] + self._first) + shift).astype(np.float32) * np.float32(self._resolution)
        residual = np.mod(self._bins_per_octave * np.log2(frequency / np.float32(27.5)), np.float32(1))
        residual[residual >= 0.5] -= 1
        self._residuals.append(residual)
        self._heights.append(middle + np.float32(0.5) * slope * shift)
