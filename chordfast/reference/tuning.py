"""Tuning from spectral peaks in float64 NumPy, as ``librosa.estimate_tuning`` 0.11: truth for tests."""

from __future__ import annotations

import numpy as np


def spectral_peaks(y: np.ndarray, sample_rate: int, n_fft: int = 2048) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and magnitudes of the peaks between 150 and 4000 Hz of ``y`` [N], frames n_fft/4 apart.

    A peak exceeds its lower neighbour, is no smaller than its upper one, and lies less than 20 dB below its frame's
    largest bin; frequency and height come from the parabola through the three bins (Smith, Spectral Audio Signal
    Processing).
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.pad(np.asarray(y, float), n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[:: n_fft // 4]
    s = np.abs(np.fft.rfft(frames * window, axis=1))
    below, here, above = s[:, :-2], s[:, 1:-1], s[:, 2:]
    bins = np.arange(1, s.shape[1] - 1)
    inside = (bins * sample_rate / n_fft >= 150.0) & (bins * sample_rate / n_fft < 4000.0)
    peak = inside & (here > below) & (here >= above) & (here > 0.1 * s.max(axis=1, keepdims=True))
    frame, at = np.nonzero(peak)
    curve = (above + below - 2 * here)[frame, at]
    slope = ((above - below) / 2)[frame, at]
    steep = np.abs(slope) >= np.abs(curve)
    shift = np.where(steep, 0.0, -slope / np.where(steep, 1.0, curve))
    return (bins[at] + shift) * sample_rate / n_fft, here[frame, at] + 0.5 * slope * shift


def tuning(y: np.ndarray, sample_rate: int, bins_per_octave: int) -> float:
    """Deviation from A4 = 440 Hz in bins, -0.5 ... 0.5 in steps of 0.01; 0 when there is no peak.

    The fullest hundredth of a bin among the peaks that are at least as high as their median.
    """
    frequency, height = spectral_peaks(y, sample_rate)
    if not len(frequency):
        return 0.0
    loud = frequency[height >= np.median(height)]
    residual = np.mod(bins_per_octave * np.log2(loud / 27.5), 1.0)
    residual[residual >= 0.5] -= 1.0
    edges = np.linspace(-0.5, 0.5, 101)
    return float(edges[np.argmax(np.histogram(residual, edges)[0])])
