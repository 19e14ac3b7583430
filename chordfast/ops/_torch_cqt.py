"""The constant-Q transform for torch tensors: operator ``chordfast::_cqt`` for whole tensors on the CPU, and
``chordfast::_cqt_songs`` for songs of different lengths and for GPUs."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import torch

from .._native import default_threads, native
from ..errors import ChordfastError, UsageError
from ._cqt_batch import Layout, finished, flat_layout, padded_layout, scaling, silence, starts
from ._library import define, stream_of
from .cqt import native_filters, native_plan
from .feature_plan import FeaturePlan


@functools.lru_cache(maxsize=64)
def _plan(sample_rate: int, hop: int, n_bins: int, bins_per_octave: int, fmin: float, log: bool) -> FeaturePlan:
    return FeaturePlan(sample_rate, hop, n_bins, bins_per_octave, fmin, "log" if log else "magnitude")


def _numbers(plan: FeaturePlan) -> tuple[Any, ...]:
    return plan.sample_rate, plan.hop, plan.n_bins, plan.bins_per_octave, plan.fmin, plan.output == "log"


def _cpu(x: torch.Tensor, threads: int, *numbers: Any) -> torch.Tensor:
    plan = _plan(*numbers)
    x = x.contiguous()
    n = x.shape[-1]
    out = x.new_empty((*x.shape[:-1], plan.n_frames(n), plan.n_bins))
    count = threads or default_threads()  # asked for here, where torch.compile does not look
    if out.numel():
        native().cqt_forward_cpu(native_plan(plan), x.data_ptr(), x.numel() // n, n, n, out.data_ptr(), count)
    return out


def _fake(x: torch.Tensor, threads: int, *numbers: Any) -> torch.Tensor:
    plan = _plan(*numbers)
    return x.new_empty((*x.shape[:-1], plan.n_frames(int(x.shape[-1])), plan.n_bins))


_PLAN = "int sample_rate, int hop, int n_bins, int bins_per_octave, float fmin, bool log"
_cqt = define("_cqt", f"(Tensor x, int threads, {_PLAN}) -> Tensor", cpu=_cpu, fake=_fake)


def _result(x: torch.Tensor, plan: FeaturePlan, rows: int, frames: int, mean: float, factor: float, half: bool) -> Any:
    """Room for the frames; where no song will write, silence."""
    dtype = torch.float16 if half else torch.float32
    if frames < rows:
        return x.new_full((rows, plan.n_bins), silence(plan, mean, factor), dtype=dtype)
    return x.new_empty((rows, plan.n_bins), dtype=dtype)


def _songs_cpu(
    x: torch.Tensor,
    lengths: list[int],
    count: int,
    stride: int,
    rows: int,
    threads: int,
    mean: float,
    factor: float,
    half: bool,
    *numbers: Any,
) -> torch.Tensor:
    plan, layout = _plan(*numbers), Layout(tuple(lengths), count, stride, rows)
    songs, frames = layout.table(plan)
    out = _result(x, plan, layout.total_rows(plan), int(frames.sum()), 0.0, 1.0, False)
    if frames.any():
        x = x.contiguous()
        native().cqt_forward_ragged_cpu(
            native_plan(plan), x.data_ptr(), songs, out.data_ptr(), threads or default_threads()
        )
    return finished(out, mean, factor, half)


@functools.lru_cache(maxsize=16)
def cuda_plan(module: ModuleType, plan: FeaturePlan) -> Any:
    """The plan for the CUDA kernels of a native module."""
    return module.CqtCudaPlan(native_filters(plan))


@functools.lru_cache(maxsize=64)
def _constants(module: ModuleType, plan: FeaturePlan, device: torch.device) -> torch.Tensor:
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise UsageError("cqt: the plan's filters are not on the GPU yet; call cqt once before capturing it in a graph")
    return torch.from_numpy(cuda_plan(module, plan).constants()).to(device)


def launch(
    module: ModuleType,
    device: int,
    stream: int,
    x: torch.Tensor,
    layout: Layout,
    plan: FeaturePlan,
    mean: float = 0.0,
    factor: float = 1.0,
    half: bool = False,
) -> torch.Tensor:
    """Frames [rows, n_bins] of the songs in ``x`` by the CUDA kernels of ``module``, asynchronously on ``stream``."""
    songs, frames = layout.table(plan)
    out = _result(x, plan, layout.total_rows(plan), int(frames.sum()), mean, factor, half)
    if frames.any():
        x = x.contiguous()
        kernel = cuda_plan(module, plan)
        constants = _constants(module, plan, x.device)
        workspace = torch.empty(kernel.workspace(songs), dtype=torch.uint8, device=x.device)
        module.cqt_forward_cuda(
            kernel,
            constants.data_ptr(),
            x.data_ptr(),
            songs,
            out.data_ptr(),
            half,
            mean,
            factor,
            workspace.data_ptr(),
            device,
            stream,
        )
    return out


def _songs_cuda(
    x: torch.Tensor,
    lengths: list[int],
    count: int,
    stride: int,
    rows: int,
    threads: int,
    mean: float,
    factor: float,
    half: bool,
    *numbers: Any,
) -> torch.Tensor:
    module = native()
    if not hasattr(module, "cqt_forward_cuda"):
        raise ChordfastError(
            f"cqt: the tensor is on {x.device}, but chordfast._C was built without CUDA; put nvcc on PATH and build it "
            "again with 'pip install -e .', or call .cpu() first"
        )
    layout = Layout(tuple(lengths), count, stride, rows)
    return launch(module, *stream_of(x), x, layout, _plan(*numbers), mean, factor, half)


def _songs_fake(
    x: torch.Tensor,
    lengths: list[int],
    count: int,
    stride: int,
    rows: int,
    threads: int,
    mean: float,
    factor: float,
    half: bool,
    *numbers: Any,
) -> torch.Tensor:
    plan = _plan(*numbers)
    total = Layout(tuple(int(n) for n in lengths), int(count), int(stride), int(rows)).total_rows(plan)
    return x.new_empty((total, plan.n_bins), dtype=torch.float16 if half else torch.float32)


_cqt_songs = define(
    "_cqt_songs",
    "(Tensor x, int[] lengths, int count, int stride, int rows, int threads, float mean, float factor, bool half, "
    f"{_PLAN}) -> Tensor",
    cpu=_songs_cpu,
    cuda=_songs_cuda,
    fake=_songs_fake,
)


def _check(mono: object) -> torch.Tensor:
    if not isinstance(mono, torch.Tensor):
        raise UsageError(f"cqt: got {type(mono).__name__}; give a float32 NumPy array or torch tensor")
    if mono.dtype != torch.float32:
        raise UsageError(f"cqt: samples are {mono.dtype}; convert them to float32 (as ops.ingest does)")
    if mono.ndim == 0:
        raise UsageError("cqt: a single number has no sample axis; give a tensor [..., N]")
    if mono.device.type not in ("cpu", "cuda", "meta"):
        raise UsageError(f"cqt: the tensor is on {mono.device}; move it to the CPU or a CUDA device")
    return mono.detach()


def _songs(x: torch.Tensor, layout: Layout, plan: FeaturePlan, threads: int, scale: Any, half: bool) -> torch.Tensor:
    lengths, rest = list(layout.lengths), (layout.count, layout.stride, layout.rows)
    return _cqt_songs(x, lengths, *rest, threads, *scale, half, *_numbers(plan))


def forward(mono: object, plan: FeaturePlan, threads: int, lengths: Any, normalise: Any, half: bool) -> torch.Tensor:
    """Check and call; see ``chordfast.ops.cqt``."""
    x, scale = _check(mono), scaling(normalise)
    if lengths is None and x.device.type != "cuda" and scale == (0.0, 1.0) and not half:
        return _cqt(x, threads, *_numbers(plan))
    layout = padded_layout(tuple(x.shape), lengths, plan)
    out = _songs(x.contiguous(), layout, plan, threads, scale, half)
    return out.reshape(*x.shape[:-1], layout.rows, plan.n_bins)


def forward_flat(
    samples: object, offsets: Any, plan: FeaturePlan, threads: int, normalise: Any, half: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Check and call; see ``chordfast.ops.cqt_flat``."""
    x, scale = _check(samples), scaling(normalise)
    if x.ndim != 1:
        raise UsageError(f"cqt: flat samples have the shape {tuple(x.shape)}; give [N]")
    layout = flat_layout(x.numel(), offsets)
    frames = torch.from_numpy(starts(layout.table(plan)[1]))
    return _songs(x.contiguous(), layout, plan, threads, scale, half), frames
