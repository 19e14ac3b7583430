"""The hybrid constant-Q transform in float64 NumPy, as ``librosa.hybrid_cqt`` 0.11: truth for tests, source of filters.

Low bins are a constant-Q transform. Filters that, padded to a power of two, are shorter than two hops do without their
phase: the magnitudes of a Hann-windowed spectrum times the magnitudes of the filters' spectra.
"""

from __future__ import annotations

import math

import numpy as np

from . import cqt as constant_q


def frequencies(fmin: float, n_bins: int, bins_per_octave: int, tuning: float) -> np.ndarray:
    """Centre frequencies in Hz, float64 [n_bins], moved up by ``tuning`` bins."""
    return fmin * 2.0 ** (tuning / bins_per_octave) * 2.0 ** (np.arange(n_bins) / bins_per_octave)


def first_high(frequencies: np.ndarray, sample_rate: int, hop: int, bins_per_octave: int) -> int:
    """The first bin whose filter, padded to a power of two, is shorter than two hops."""
    lengths = sample_rate / (constant_q.relative_bandwidth(bins_per_octave) * frequencies)
    return int(np.sum(2.0 ** np.ceil(np.log2(lengths)) >= 2 * hop))


def magnitude_basis(frequencies: np.ndarray, sample_rate: int, hop: int, bins_per_octave: int) -> np.ndarray:
    """float64 [bins, n_fft/2 + 1], n_fft at least two hops: weights of a spectrum's magnitudes, scale included."""
    n_fft = 2 << math.ceil(math.log2(hop))
    bank = constant_q.filter_bank(frequencies, sample_rate, bins_per_octave, shortest=n_fft)
    return np.abs(bank.spectrum) / math.sqrt(bank.n_fft)


def hybrid(
    y: np.ndarray, sample_rate: int, hop: int, n_bins: int, bins_per_octave: int, fmin: float, tuning: float
) -> np.ndarray:
    """Magnitudes, float64 [T, n_bins], of ``y`` [N]; T = 0 for fewer than two samples."""
    if len(y) < 2:
        return np.zeros((0, n_bins))
    centres = frequencies(fmin, n_bins, bins_per_octave, tuning)
    first = first_high(centres, sample_rate, hop, bins_per_octave)
    low = constant_q.cqt(y, sample_rate, hop, first, bins_per_octave, float(centres[0]))
    basis = magnitude_basis(centres[first:], sample_rate, hop, bins_per_octave)
    n_fft = 2 * (basis.shape[1] - 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(np.asarray(y, float), n_fft // 2), n_fft)[::hop]
    high = np.abs(np.fft.rfft(frames * window, axis=1)) @ basis.T
    count = min(len(low), len(high))
    return np.concatenate([low[:count], high[:count]], axis=1)
