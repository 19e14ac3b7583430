"""Float64 truth of ``chordfast.ops.ingest``: down-mix, then one direct evaluation of the resampling filter.

Plain NumPy, one dot product per output sample; slow, and meant for tests. Rates are handled as the exact
fraction ``target / sr``; output ``i`` sits at time ``i / target``, input ``n`` at ``n / sr``, and the signal is
zero outside the recording.

The *exact* filter is that of soxr's "HQ" recipe (the resampler behind ``librosa.load``), described by fitting its
impulse responses: a Kaiser-windowed sinc that ends at the lower of both Nyquist frequencies and, where the ratio is
not a power of two, a second, gentle one whose slope takes up to 0.1 % at the pass-band edge. The *relaxed* filter
keeps 0 to 0.254 x target (5.6 kHz at 22 050 Hz) and stops whatever would fold into that band.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

# Cut-off (-6 dB) of the steep filter, in units of the lower Nyquist frequency.
_STEEP_CUTOFF = 0.956872
_GENTLE_BETA = 14.06
# Equiripple half-band filters: coefficients of the odd taps; the centre is 1/2, the other even taps are 0.
HALF_BAND: dict[int, tuple[float, ...]] = {
    3: (0.29355011480109244, -0.04970887519425569, 0.006158917301833766),
    5: (0.304134080597945, -0.0699906489738105, 0.019310161195821195, -0.0038367749508509946, 0.00038319617989254675),
    8: (
        0.3116391981895684,
        -0.08758014703261088,
        0.03709321766716653,
        -0.015418921194509574,
        0.005594115074978017,
        -0.0016265853618733098,
        0.00033671079216246105,
        -3.768726623442011e-05,
    ),
}
RELAXED_PASS = 0.254
_RELAXED_DB = 126.0


def kaiser_sinc(tau: Float64, cutoff: float, half: float, beta: float) -> Float64:
    """``cutoff * sinc(cutoff * tau)`` under a Kaiser window of half length ``half``; zero beyond it."""
    inside = np.clip(1.0 - (tau / half) ** 2, 0.0, None)
    window = np.where(np.abs(tau) <= half, np.i0(beta * np.sqrt(inside)) / np.i0(beta), 0.0)
    return cutoff * np.sinc(cutoff * tau) * window


def _steep_shape(ratio: float) -> tuple[float, float]:
    """Half length (in samples of the lower rate) and Kaiser beta of the steep filter."""
    if ratio in (0.5, 2.0):
        return 97.249, 13.040
    if ratio in (4.0, 8.0):
        return (102.250, 13.711) if ratio == 4.0 else (105.248, 14.104)
    if ratio < 1.0:
        return 102.24, 13.707
    taps = round(_gentle_shape(ratio)[0] * _gentle_shape(ratio)[2])
    if ratio < 4.0:
        return {12: (101.386, 13.689), 14: (102.151, 13.695)}.get(taps, (102.250, 13.712))
    if ratio < 8.0:
        return {12: (106.420, 14.373), 14: (106.737, 14.364)}.get(taps, (107.330, 14.379))
    return 109.490, 14.757


def _gentle_shape(ratio: float) -> tuple[float, float, float]:
    """Working rate (in lower Nyquist frequencies), cut-off and half length of the gentle filter."""
    if ratio < 1.0:
        return 4.0, 1.8177, 3.75
    rate = 2.0 * ratio
    while rate < 4.0:
        rate *= 2.0
    while rate >= 8.0:
        rate /= 2.0
    if 1.5 <= ratio < 2.0:
        taps = 2 * math.ceil(7.77 * rate / 2.077 / 2)
        return rate, 1.8066, taps / rate
    taps = 2 * math.ceil(7.77 * rate / (rate - 1.923) / 2)
    cutoff = 1.8177 + 0.4267 * (rate - 4.0) + {16: 0.0, 14: 0.0005, 12: 0.0022}.get(taps, 0.0)
    return rate, cutoff, taps / rate


def exact_kernel(tau: Float64, ratio: float) -> Float64:
    """The exact filter at times ``tau`` in samples of the lower rate; ``ratio`` = input rate / target rate."""
    half, beta = _steep_shape(ratio)
    if math.log2(ratio).is_integer():
        return kaiser_sinc(tau, _STEEP_CUTOFF, half, beta)
    rate, cutoff, short = _gentle_shape(ratio)
    # Both factors are band-limited, so their convolution is a plain sum at the working rate.
    step = 2.0 / rate
    first = np.ceil((tau - short) / step)
    total = np.zeros_like(tau)
    for k in range(int(2 * short / step) + 2):
        at = (first + k) * step
        total += kaiser_sinc(at, _STEEP_CUTOFF, half, beta) * kaiser_sinc(tau - at, cutoff, short, _GENTLE_BETA)
    return total * step


def exact_half_length(ratio: float) -> float:
    """Half length of the exact filter, in samples of the lower rate."""
    half = _steep_shape(ratio)[0]
    return half if math.log2(ratio).is_integer() else half + _gentle_shape(ratio)[2]


def relaxed_half_length(target: float) -> float:
    """Half length in seconds of the relaxed Kaiser filter (Kaiser's length formula for 126 dB)."""
    return (_RELAXED_DB - 8.0) / (2.285 * 2 * math.pi * (1 - 2 * RELAXED_PASS) * target) / 2.0


def _apply(
    x: Float64, first: int, ratio: Fraction, n_out: int, half: int, kernel: Callable[[Float64], Float64]
) -> Float64:
    """y[i] = sum_k x[k] kernel(i * ratio - k) with kernel(t) = 0 for |t| >= ``half``; ``x[0]`` is input ``first``.

    The kernel is scaled to a mean gain of 1 at DC.
    """
    step, phases = ratio.numerator, ratio.denominator
    reach = np.arange(-half, half)
    i = np.arange(n_out, dtype=np.int64)
    used, row = np.unique((i * step) % phases, return_inverse=True)
    weights = kernel(used[:, None] / phases - reach)
    weights *= 8 / kernel(np.arange(8)[:, None] / 8 - reach).sum()
    base = i * step // phases - half - first
    padded = np.concatenate([np.zeros(max(0, -int(base.min(initial=0)))), x])
    base += len(padded) - len(x)
    padded = np.concatenate([padded, np.zeros(max(0, int(base.max(initial=0)) + 2 * half - len(padded)))])
    y = np.empty(n_out)
    for lo in range(0, n_out, 4096):
        windows = padded[base[lo : lo + 4096, None] + np.arange(2 * half)]
        y[lo : lo + 4096] = np.einsum("ik,ik->i", windows, weights[row[lo : lo + 4096]])
    return y


def _half_band(x: Float64, first: int, order: int) -> tuple[Float64, int]:
    """Every second sample of ``x`` after a half-band filter, with all of its ringing; returns (y, index of y[0])."""
    taps = np.zeros(4 * order - 1)
    taps[2 * order :: 2] = HALF_BAND[order]
    taps[: 2 * order - 1] = taps[: 2 * order - 1 : -1]
    taps[2 * order - 1] = 0.5
    full = np.convolve(x, taps)
    start = first - (2 * order - 1)
    return full[start % 2 :: 2], (start + start % 2) // 2


def mix(pcm: NDArray[np.int16] | NDArray[np.float32]) -> tuple[Float64, int]:
    """Mean of the channels of [N] or [N, C]; int16 / 32768; non-finite samples count and become 0."""
    x = np.asarray(pcm, dtype=np.float64)
    if pcm.dtype == np.int16:
        x = x / 32768.0
    bad = ~np.isfinite(x)
    x = np.where(bad, 0.0, x)
    return (x.mean(axis=1) if x.ndim == 2 else x), int(bad.sum())


def ingest(
    pcm: NDArray[np.int16] | NDArray[np.float32], sr: int, quality: str = "exact", target: int = 22050
) -> Float64:
    """Mono float64 at ``target`` Hz, ``ceil(N * target / sr)`` samples, from [N] or [N, C] PCM at ``sr`` Hz."""
    x, _ = mix(pcm)
    ratio = Fraction(sr, target)
    n_out = -(-len(x) * ratio.denominator // ratio.numerator)
    if ratio == 1 or n_out == 0:
        return x
    if quality == "exact" or sr < 2 * 0.2545 * target:
        scale, factor = float(max(ratio, Fraction(1))), float(ratio)
        half = math.ceil(exact_half_length(factor) * scale) + 1
        return _apply(x, 0, ratio, n_out, half, lambda t: exact_kernel(t / scale, factor))
    first = 0
    while ratio >= 4:
        x, first = _half_band(x, first, 5 if ratio < 8 else 3)
        ratio /= 2
    if ratio == 2:
        y, first = _half_band(x, first, 8)
        return np.concatenate([y[-first:], np.zeros(n_out)])[:n_out]
    rate = float(ratio) * target
    seconds = relaxed_half_length(target)
    half = math.ceil(seconds * rate) + 1
    beta = 0.1102 * (_RELAXED_DB - 8.7)
    return _apply(x, first, ratio, n_out, half, lambda t: kaiser_sinc(t * target / rate, 1.0, seconds * target, beta))
