"""The feature plan: every parameter of a constant-Q transform, its filters, and one hash over all of it."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from ..errors import UsageError
from ..reference import cqt as reference

C1 = 32.70319566257483
"""Frequency of C1 in Hz for A4 = 440 Hz."""

_ALGORITHM = "composite-1"
# Equiripple half-band filter, 35 taps, flat to an eighth of the input rate within 3e-8, -152 dB from three eighths:
# the nine distinct odd taps (the centre is 1/2, the even ones are 0).
_HALF_BAND = (
    0.31227020981773984,
    -0.08922116086972413,
    0.039139264642940985,
    -0.017250171921545626,
    0.006858683400361034,
    -0.0023043697299768395,
    0.0006095852543985822,
    -0.0001132244124820781,
    1.119590858171947e-05,
)


@dataclass(frozen=True)
class FeaturePlan:
    """What is computed from mono audio, so that two results can be compared or must not be mixed.

    sample_rate in Hz; hop in samples (one frame each); n_bins from fmin (Hz) upwards, bins_per_octave to the octave;
    output "log": ln(|C| + 1e-6), or "magnitude": |C|. Values follow ``librosa.cqt`` 0.11 with its defaults.
    UsageError when the combination cannot be computed.
    """

    sample_rate: int = 22050
    hop: int = 2048
    n_bins: int = 144
    bins_per_octave: int = 24
    fmin: float = C1
    output: Literal["log", "magnitude"] = "log"

    def __post_init__(self) -> None:
        for name in ("sample_rate", "hop", "n_bins", "bins_per_octave"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"feature plan: {name} is {value!r}; give a positive whole number")
        if not (math.isfinite(self.fmin) and self.fmin > 0):
            raise UsageError(f"feature plan: fmin is {self.fmin!r}; give a positive frequency in Hz")
        if self.output not in ("log", "magnitude"):
            raise UsageError(f"feature plan: output is {self.output!r}; give 'log' or 'magnitude'")
        if self.hop % (1 << (self.n_octaves - 1)):
            raise UsageError(
                f"feature plan: hop {self.hop} cannot be halved {self.n_octaves - 1} times for {self.n_octaves} "
                f"octaves; give a multiple of {1 << (self.n_octaves - 1)}"
            )
        if self.fmin * 2.0 ** ((self.n_bins - 1) / self.bins_per_octave) * 1.05 > self.sample_rate / 2:
            raise UsageError(
                f"feature plan: {self.n_bins} bins from {self.fmin:g} Hz reach beyond half the sample rate "
                f"{self.sample_rate}; give fewer bins or a higher rate"
            )
        if self.sample_rate / (reference.relative_bandwidth(self.bins_per_octave) * self.fmin) > 1 << 20:
            raise UsageError(
                f"feature plan: filters at {self.fmin:g} Hz would be longer than a million samples; raise fmin "
                "or lower bins_per_octave"
            )

    @property
    def n_octaves(self) -> int:
        return math.ceil(self.n_bins / self.bins_per_octave)

    @property
    def frame_period(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop / self.sample_rate

    @property
    def halvings(self) -> int:
        """How often the rate is halved before the top octave."""
        return reference.early_halvings(self.sample_rate, self.hop, self.fmin, self.n_bins, self.bins_per_octave)

    def n_frames(self, n_samples: int) -> int:
        """Frames of a signal of ``n_samples``; 0 for fewer than two samples.

        Every halving keeps ceil(n/2) samples, so the shortest octave decides, not n // hop.
        """
        if n_samples < 2:
            return 0
        hop, frames = self.hop, []
        for level in range(self.halvings + self.n_octaves):
            if level >= self.halvings:
                frames.append(1 + n_samples // hop)
            n_samples, hop = (n_samples + 1) // 2, hop // 2
        return min(frames)

    @property
    def hash(self) -> str:
        """SHA-256 over the parameters, the algorithm's version and the filters, 16 hexadecimal digits."""
        return _hash(self)


BTC = FeaturePlan()
"""BTC's and ChordMini's features: 144 bins, 24 per octave from C1, natural logarithm."""
CREMA_H1 = FeaturePlan(n_bins=216, bins_per_octave=36, output="magnitude")
"""crema's first harmonic: 216 bins, 36 per octave from C1."""
CREMA_H2 = FeaturePlan(n_bins=216, bins_per_octave=36, fmin=2 * C1, output="magnitude")
"""crema's second harmonic: 216 bins, 36 per octave from C2."""
CREMA = FeaturePlan(n_bins=252, bins_per_octave=36, output="magnitude")
"""Both at once: bins 0 ... 215 are CREMA_H1, bins 36 ... 251 are CREMA_H2, because each octave is computed alike."""


@dataclass(frozen=True)
class Filters:
    """What the native kernel needs; all arrays float32, C-contiguous, real and imaginary part interleaved.

    composite [taps, bins, 2]: octave filters with the decimation before them folded in, taps mirrored about one sample
    after the frame's centre at twice the octave's rate; direct [taps, bins, 2]: the same without decimation, mirrored
    about half a sample (only used by a top octave at the full rate); octave [n_fft, bins, 2]: the plain octave
    filters; scale [n_octaves, bins], top octave first; decimation [HALF_TAPS + 1] from the centre outwards;
    half_band [9], the odd taps from the centre outwards.
    """

    composite: np.ndarray
    direct: np.ndarray
    octave: np.ndarray
    scale: np.ndarray
    decimation: np.ndarray
    half_band: np.ndarray
    n_fft: int


def _interleave(values: np.ndarray) -> np.ndarray:
    """complex [taps, bins] -> float32 [taps, bins, 2]."""
    return np.ascontiguousarray(np.stack([values.real, values.imag], axis=-1), np.float32)


@functools.lru_cache(maxsize=16)
def filters(plan: FeaturePlan) -> Filters:
    """Design the filters of a plan in float64 (a few tens of milliseconds, once)."""
    per_octave = min(plan.bins_per_octave, plan.n_bins)
    top_rate = plan.sample_rate / 2**plan.halvings
    frequencies = plan.fmin * 2.0 ** (np.arange(plan.n_bins - per_octave, plan.n_bins) / plan.bins_per_octave)
    bank = reference.filter_bank(frequencies, top_rate, plan.bins_per_octave)
    g = bank.time_taps()  # [bins, n_fft], index n_fft/2 at the frame's centre
    half = bank.n_fft // 2

    # Only magnitudes are kept, so each filter may be turned until it is conjugate-symmetric about half a sample.
    upper, lower = g[:, half + 1 :], g[:, half:1:-1]
    phase = np.exp(-0.5j * np.angle((upper * lower).sum(axis=1)))[:, None]
    g, upper, lower = g * phase, upper * phase, lower * phase
    skew = np.abs(upper - lower.conj()).max() / np.abs(g).max()
    if skew > 1e-5:
        raise UsageError(f"feature plan: filters are not symmetric ({skew:.1e}); move fmin by a fraction of a cent")

    # The two samples without a mirror image are left out here and added one by one in the kernel.
    inner = g.copy()
    inner[:, :2] = 0
    taps = reference.decimation_taps()
    reach = bank.n_fft + 96  # beyond, only the decimator's last ripples: below 1e-7 of the peak
    wide = np.zeros((per_octave, 2 * bank.n_fft), complex)
    wide[:, ::2] = inner
    composite = np.stack([np.convolve(row, taps) for row in wide])
    centre = bank.n_fft + reference.HALF_TAPS + 1  # index of u = 1
    folded = composite[:, centre : centre + reach + 1].T.copy()
    folded[0] /= 2  # the kernel adds a sample to itself there
    octaves = np.arange(plan.n_octaves)[:, None]
    scale = math.sqrt(2.0) ** (plan.halvings + octaves) / np.sqrt(bank.lengths)
    return Filters(
        composite=_interleave(folded),
        direct=_interleave(inner[:, half + 1 :].T),
        octave=_interleave(g.T),
        scale=np.ascontiguousarray(scale, np.float32),
        decimation=np.ascontiguousarray(taps[reference.HALF_TAPS :], np.float32),
        half_band=np.array(_HALF_BAND, np.float32),
        n_fft=bank.n_fft,
    )


@functools.lru_cache(maxsize=64)
def _hash(plan: FeaturePlan) -> str:
    design = filters(plan)
    digest = hashlib.sha256(json.dumps([_ALGORITHM, asdict(plan)], sort_keys=True).encode())
    for array in (design.composite, design.direct, design.octave, design.scale, design.decimation, design.half_band):
        # Coarser than float32, so that the last bit of another machine's exp() does not make another plan.
        step = max(float(np.abs(array).max()), 1e-30) * 1e-5
        digest.update(np.round(array / step).astype(np.int32).tobytes())
    return digest.hexdigest()[:16]
