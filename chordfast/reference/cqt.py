"""The constant-Q transform in float64 NumPy, step by step as librosa 0.11: truth for tests, source of filters.

The procedure (Schörkhuber and Klapuri 2010, as implemented by ``librosa.cqt``): an optional early 2:1 decimation, then
per octave one centred short-time Fourier transform times a sparsified filter basis, then a 2:1 decimation. Every
decimation keeps ceil(n/2) samples and multiplies by sqrt(2); every bin is divided by the square root of its filter
length. Imports nothing of chordfast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

HALF_TAPS = 194
"""The decimation filter spans samples -194 ... 194."""


def decimation_taps() -> np.ndarray:
    """Impulse response of soxr's HQ recipe at 2:1, float64 [389], unit gain at zero frequency, symmetric.

    A Kaiser-windowed sinc fitted to the measured response of soxr: largest difference 3e-8.
    """
    cutoff, beta, half = 0.47843591, 13.04007711, 194.50030973
    n = np.arange(-HALF_TAPS, HALF_TAPS + 1)
    window = np.i0(beta * np.sqrt(1 - (n / half) ** 2)) / np.i0(beta)
    taps = cutoff * np.sinc(cutoff * n) * window
    return taps / taps.sum()


def decimate(x: np.ndarray) -> np.ndarray:
    """Halve the rate of ``x`` [N]: float64 [ceil(N/2)], zeros outside, scaled by sqrt(2)."""
    n_out = (len(x) + 1) // 2
    padded = np.concatenate([np.zeros(HALF_TAPS), x, np.zeros(HALF_TAPS + 1)])
    return math.sqrt(2) * np.convolve(padded, decimation_taps(), mode="valid")[: 2 * n_out : 2]


@dataclass(frozen=True)
class FilterBank:
    """One octave's filters, the same for all octaves of a constant-Q transform.

    spectrum: complex128 [bins, n_fft/2 + 1], sparsified, to be multiplied with a frame's spectrum without conjugation.
    lengths: float64 [bins], filter lengths in samples at the rate the bank was made for.
    """

    spectrum: np.ndarray
    lengths: np.ndarray
    n_fft: int

    def time_taps(self) -> np.ndarray:
        """Taps g, complex128 [bins, n_fft], with response sum_n g[n]·frame[n] equal to the spectral product."""
        full = np.zeros((len(self.spectrum), self.n_fft), complex)
        full[:, : self.n_fft // 2 + 1] = self.spectrum
        return np.fft.fft(full, axis=1)


def relative_bandwidth(bins_per_octave: int) -> float:
    """Bandwidth over centre frequency for geometric spacing; its inverse is Q."""
    r = 2.0 ** (1.0 / bins_per_octave)
    return (r * r - 1) / (r * r + 1)


def filter_bank(
    frequencies: np.ndarray,
    rate: float,
    bins_per_octave: int,
    sparsity: float = 0.01,
    narrow: bool = True,
    shortest: int = 1,
) -> FilterBank:
    """Hann-windowed phasors, L1-normalised, transformed and sparsified.

    frequencies: float64 [bins] in Hz; rate in Hz; sparsity: share of each row's magnitude that may be dropped.
    narrow: round taps to complex64 before the transform, as librosa does (matters for what sparsification keeps).
    shortest: smallest length of the transform, a power of two.
    """
    lengths = rate / (relative_bandwidth(bins_per_octave) * frequencies)
    n_fft = max(shortest, 1 << math.ceil(math.log2(lengths.max())))
    rows = np.zeros((len(frequencies), n_fft), complex)
    for row, frequency, length in zip(rows, frequencies, lengths, strict=True):
        m = np.arange(-length // 2, length // 2)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(m)) / len(m))
        taps = np.exp(2j * np.pi * frequency / rate * m) * window
        left = (n_fft - len(m)) // 2
        row[left : left + len(m)] = taps / np.abs(taps).sum()
    if narrow:
        rows = rows.astype(np.complex64).astype(complex)
    spectrum = np.fft.fft(rows * (lengths[:, None] / n_fft), axis=1)[:, : n_fft // 2 + 1]
    magnitude = np.abs(spectrum)
    order = np.sort(magnitude, axis=1)
    dropped = np.cumsum(order / magnitude.sum(axis=1, keepdims=True), axis=1) < sparsity
    threshold = order[np.arange(len(order)), dropped.sum(axis=1)]
    return FilterBank(np.where(magnitude >= threshold[:, None], spectrum, 0), lengths, n_fft)


def early_halvings(sample_rate: int, hop: int, fmin: float, n_bins: int, bins_per_octave: int) -> int:
    """How often the rate is halved before the top octave is analysed."""
    top = fmin * 2.0 ** ((n_bins - 1) / bins_per_octave)
    # Upper edge of the top Hann filter: 1.5 bins of equivalent noise bandwidth, half of it on this side.
    cutoff = top * (1 + 0.5 * 1.50018310546875 * relative_bandwidth(bins_per_octave))
    by_rate = max(0, math.ceil(math.log2(sample_rate / 2 / cutoff)) - 2)
    twos = (hop & -hop).bit_length() - 1
    n_octaves = math.ceil(n_bins / bins_per_octave)
    return min(by_rate, max(0, twos - n_octaves + 1))


def cqt(
    y: np.ndarray, sample_rate: int, hop: int, n_bins: int, bins_per_octave: int, fmin: float, narrow: bool = True
) -> np.ndarray:
    """Magnitudes, float64 [T, n_bins], of ``y`` [N]; T = 0 for fewer than two samples."""
    if len(y) < 2:
        return np.zeros((0, n_bins))
    n_octaves = math.ceil(n_bins / bins_per_octave)
    per_octave = min(bins_per_octave, n_bins)
    frequencies = fmin * 2.0 ** (np.arange(n_bins) / bins_per_octave)
    x, rate = np.asarray(y, float), float(sample_rate)
    for _ in range(early_halvings(sample_rate, hop, fmin, n_bins, bins_per_octave)):
        x, rate, hop = decimate(x), rate / 2, hop // 2
    top_rate, parts = rate, []
    top = frequencies[-per_octave:]
    for octave in range(n_octaves):
        bank = filter_bank(top * 2.0**-octave, rate, bins_per_octave, narrow=narrow)
        n_frames = 1 + len(x) // hop
        padded = np.pad(x, bank.n_fft // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, bank.n_fft)[: n_frames * hop : hop]
        parts.append((np.fft.rfft(frames, axis=1) @ bank.spectrum.T) * math.sqrt(top_rate / rate))
        if octave + 1 < n_octaves:
            x, rate, hop = decimate(x), rate / 2, hop // 2
    n_frames = min(len(part) for part in parts)
    stacked = np.concatenate([part[:n_frames] for part in reversed(parts)], axis=1)[:, -n_bins:]
    return np.abs(stacked) / np.sqrt(top_rate / (relative_bandwidth(bins_per_octave) * frequencies))
