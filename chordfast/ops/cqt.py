"""The constant-Q transform as an operator: whole signals, batches of them, or a stream of blocks."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .._native import default_threads, native
from ..errors import UsageError
from ._cqt_batch import Layout, finished, flat_layout, padded_layout, scaling, silence, starts
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


def native_filters(plan: FeaturePlan) -> _NativeFilters:
    """The plan as the native modules take it."""
    design = filters(plan)
    return _NativeFilters(
        **vars(design), n_bins=plan.n_bins, hop=plan.hop, halvings=plan.halvings, log_output=plan.output == "log"
    )


@functools.lru_cache(maxsize=16)
def native_plan(plan: FeaturePlan) -> Any:
    """The plan's filters as the native kernels hold them; shared by all calls of this process."""
    return native().CqtPlan(native_filters(plan))


@overload
def cqt(
    mono: np.ndarray,
    plan: FeaturePlan = ...,
    threads: int | None = ...,
    *,
    lengths: Any = ...,
    normalise: tuple[float, float] | None = ...,
    half: bool = ...,
) -> np.ndarray: ...
@overload
def cqt(
    mono: torch.Tensor,
    plan: FeaturePlan = ...,
    threads: int | None = ...,
    *,
    lengths: Any = ...,
    normalise: tuple[float, float] | None = ...,
    half: bool = ...,
) -> torch.Tensor: ...
def cqt(
    mono: Any,
    plan: FeaturePlan = BTC,
    threads: int | None = None,
    *,
    lengths: Any = None,
    normalise: tuple[float, float] | None = None,
    half: bool = False,
) -> Any:
    """Constant-Q transform of mono audio at ``plan.sample_rate``, equal to librosa 0.11's within rounding.

    mono: float32 [..., N], NumPy array or torch tensor (CPU or CUDA), full scale ±1, any N (also 0). Returns float32
    [..., T, n_bins] of the same kind, T = ``plan.n_frames(N)``; frame t is centred at sample t·hop, low bins first;
    ln(|C| + 1e-6) or |C| as the plan says. Samples must be finite (``ops.ingest`` sees to it). Not differentiable.
    threads: default ``CHORDFAST_THREADS`` or all processors; the result does not depend on it. Deterministic; on a GPU
    rounding differs from the CPU's, by up to 2e-6 of a magnitude that is itself of order 1.
    lengths: B whole numbers for mono [B, N]: row b is a song of lengths[b] samples, what stands behind them is not
    looked at, and the song's frames have the bits of a call with that song alone. Frames behind its
    ``plan.n_frames(lengths[b])`` hold what silence gives: ln(1e-6), or magnitude 0. A list or CPU tensor is best: a
    tensor on the GPU has to be waited for.
    normalise: (mean, standard deviation), gives (value - mean) / deviation. half: the result in float16.
    On a GPU nothing is waited for; a call can be captured in a CUDA graph after one call with this plan outside it.
    UsageError for other types, a missing sample axis or lengths that do not fit.

    Formula: Brown's constant-Q transform by octaves (Schörkhuber and Klapuri 2010) with the settings of
    ``librosa.cqt``; the last decimation before each octave is folded into its filters (docs/kernels/cqt.md).
    """
    if threads is not None and threads < 1:
        raise UsageError(f"cqt: threads is {threads}; give a positive number")
    if isinstance(mono, np.ndarray):
        mean, factor = scaling(normalise)
        _check_array(mono)
        if lengths is None:
            out = _forward(mono, plan, threads or default_threads())
        else:
            layout = padded_layout(mono.shape, lengths, plan)
            out = _forward_ragged(mono, plan, layout, threads or default_threads())
            out = out.reshape(layout.count, layout.rows, plan.n_bins)
        return finished(out, mean, factor, half)
    return _torch_cqt(mono, plan, threads or 0, lengths, normalise, half)


def cqt_flat(
    samples: Any,
    offsets: Any,
    plan: FeaturePlan = BTC,
    threads: int | None = None,
    *,
    normalise: tuple[float, float] | None = None,
    half: bool = False,
) -> tuple[Any, Any]:
    """``cqt`` of songs that lie one after the other, without padding.

    samples: float32 [N]; song s is samples[offsets[s] : offsets[s + 1]], offsets S + 1 whole numbers from 0 to N.
    Returns (frames [F, n_bins], frame_offsets int64 [S + 1]) of the kind of ``samples``, the offsets always on the CPU:
    frames[frame_offsets[s] : frame_offsets[s + 1]] are song s's, with the bits of a call with that song alone.
    Everything else is as in ``cqt``.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"cqt: threads is {threads}; give a positive number")
    if not isinstance(samples, np.ndarray):
        from ._torch_cqt import forward_flat

        return forward_flat(samples, offsets, plan, threads or 0, normalise, half)
    mean, factor = scaling(normalise)
    _check_array(samples)
    if samples.ndim != 1:
        raise UsageError(f"cqt: flat samples have the shape {samples.shape}; give [N]")
    layout = flat_layout(samples.size, offsets)
    out = _forward_ragged(samples, plan, layout, threads or default_threads())
    return finished(out, mean, factor, half), starts(layout.table(plan)[1])


def _check_array(mono: np.ndarray) -> None:
    if mono.dtype != np.float32:
        raise UsageError(f"cqt: samples are {mono.dtype}; convert them to float32 (as ops.ingest does)")
    if mono.ndim == 0:
        raise UsageError("cqt: a single number has no sample axis; give an array [..., N]")


def _forward_ragged(mono: np.ndarray, plan: FeaturePlan, layout: Layout, threads: int) -> np.ndarray:
    x = np.ascontiguousarray(mono)
    songs, frames = layout.table(plan)
    rows = layout.total_rows(plan)
    out = np.empty((rows, plan.n_bins), np.float32)
    if frames.sum() < rows:
        out.fill(silence(plan, 0.0, 1.0))
    if out.size:
        native().cqt_forward_ragged_cpu(native_plan(plan), x.ctypes.data, songs, out.ctypes.data, threads)
    return out


def _forward(mono: np.ndarray, plan: FeaturePlan, threads: int) -> np.ndarray:
    x = np.ascontiguousarray(mono)
    n = x.shape[-1]
    out = np.empty((*x.shape[:-1], plan.n_frames(n), plan.n_bins), np.float32)
    rows = x.size // n if n else 0
    if out.size:
        native().cqt_forward_cpu(native_plan(plan), x.ctypes.data, rows, n, n, out.ctypes.data, threads)
    return out


def _torch_cqt(mono: Any, plan: FeaturePlan, threads: int, lengths: Any, normalise: Any, half: bool) -> Any:
    from ._torch_cqt import forward

    return forward(mono, plan, threads, lengths, normalise, half)


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
