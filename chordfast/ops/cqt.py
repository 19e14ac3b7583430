"""The constant-Q transform as an operator: whole signals, batches of them, or a stream of blocks."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .._native import default_threads, native
from ..errors import UsageError
from .feature_plan import BTC, FeaturePlan, filters

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _NativeFilters:
    composite: np.ndarray
    direct: np.ndarray
    octave: np.ndarray
    scale: np.ndarray
    decimation: np.ndarray
    half_band: np.ndarray
    n_fft: int
    n_bins: int
    hop: int
    halvings: int
    log_output: bool


@functools.lru_cache(maxsize=16)
def native_plan(plan: FeaturePlan) -> Any:
    """The plan's filters as the native kernels hold them; shared by all calls of this process."""
    design = filters(plan)
    return native().CqtPlan(
        _NativeFilters(
            **vars(design), n_bins=plan.n_bins, hop=plan.hop, halvings=plan.halvings, log_output=plan.output == "log"
        )
    )


@overload
def cqt(mono: np.ndarray, plan: FeaturePlan = ..., threads: int | None = ...) -> np.ndarray: ...
@overload
def cqt(mono: torch.Tensor, plan: FeaturePlan = ..., threads: int | None = ...) -> torch.Tensor: ...
def cqt(mono: Any, plan: FeaturePlan = BTC, threads: int | None = None) -> Any:
    """Constant-Q transform of mono audio at ``plan.sample_rate``, equal to librosa 0.11's within rounding.

    mono: float32 [..., N], NumPy array or CPU torch tensor, full scale ±1, any N (also 0). Returns float32
    [..., T, n_bins] of the same kind, T = ``plan.n_frames(N)``; frame t is centred at sample t·hop, low bins first;
    ln(|C| + 1e-6) or |C| as the plan says. Samples must be finite (``ops.ingest`` sees to it). Not differentiable.
    threads: default ``CHORDFAST_THREADS`` or all processors; the result does not depend on it. Deterministic.
    UsageError for other types or a missing sample axis.

    Formula: Brown's constant-Q transform by octaves (Schörkhuber and Klapuri 2010) with the settings of
    ``librosa.cqt``; the last decimation before each octave is folded into its filters (docs/kernels/cqt.md).
    """
    if threads is not None and threads < 1:
        raise UsageError(f"cqt: threads is {threads}; give a positive number")
    if isinstance(mono, np.ndarray):
        if mono.dtype != np.float32:
            raise UsageError(f"cqt: samples are {mono.dtype}; convert them to float32 (as ops.ingest does)")
        return _forward(mono, plan, threads or default_threads())
    return _torch_cqt(mono, plan, threads or 0)


def _forward(mono: np.ndarray, plan: FeaturePlan, threads: int) -> np.ndarray:
    if mono.ndim == 0:
        raise UsageError("cqt: a single number has no sample axis; give an array [..., N]")
    x = np.ascontiguousarray(mono)
    n = x.shape[-1]
    out = np.empty((*x.shape[:-1], plan.n_frames(n), plan.n_bins), np.float32)
    rows = x.size // n if n else 0
    if out.size:
        native().cqt_forward_cpu(native_plan(plan), x.ctypes.data, rows, n, n, out.ctypes.data, threads)
    return out


def _torch_cqt(mono: Any, plan: FeaturePlan, threads: int) -> Any:
    from ._torch_cqt import forward

    return forward(mono, plan, threads)


class CqtStream:
    """The transform of one signal that arrives in blocks; memory is bounded by the filters, not the signal.

    ``push(x)`` takes float32 [n] and returns the frames that became complete, float32 [t, n_bins] (possibly none);
    ``finish()`` returns the rest. Together they equal ``cqt`` of the whole signal bit by bit.
    """

    def __init__(self, plan: FeaturePlan = BTC) -> None:
        self.plan = plan
        self._stream = native().CqtStream(native_plan(plan))
        self._finished = False

    def push(self, x: np.ndarray) -> np.ndarray:
        """Frames completed by these samples; UsageError after ``finish`` or for another type."""
        if self._finished:
            raise UsageError("cqt stream: samples pushed after finish(); make a new stream for a new signal")
        if x.dtype != np.float32 or x.ndim != 1:
            raise UsageError(f"cqt stream: got {x.dtype} with {x.ndim} axes; push float32 [n]")
        return self._stream.push(np.ascontiguousarray(x))

    def finish(self) -> np.ndarray:
        """The remaining frames; none on a second call."""
        self._finished = True
        return self._stream.finish()
