"""The constant-Q transform for torch tensors, as operator ``chordfast::_cqt``."""

from __future__ import annotations

import functools
from typing import Any

import torch

from .._native import default_threads, native
from ..errors import UsageError
from ._library import define
from .cqt import native_plan
from .feature_plan import FeaturePlan


@functools.lru_cache(maxsize=64)
def _plan(sample_rate: int, hop: int, n_bins: int, bins_per_octave: int, fmin: float, log: bool) -> FeaturePlan:
    return FeaturePlan(sample_rate, hop, n_bins, bins_per_octave, fmin, "log" if log else "magnitude")


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


_cqt = define(
    "_cqt",
    "(Tensor x, int threads, int sample_rate, int hop, int n_bins, int bins_per_octave, float fmin, bool log)"
    " -> Tensor",
    cpu=_cpu,
    fake=_fake,
)


def forward(mono: object, plan: FeaturePlan, threads: int) -> torch.Tensor:
    """Check and call; see ``chordfast.ops.cqt``."""
    if not isinstance(mono, torch.Tensor):
        raise UsageError(f"cqt: got {type(mono).__name__}; give a float32 NumPy array or torch tensor")
    if mono.dtype != torch.float32:
        raise UsageError(f"cqt: samples are {mono.dtype}; convert them to float32 (as ops.ingest does)")
    if mono.ndim == 0:
        raise UsageError("cqt: a single number has no sample axis; give a tensor [..., N]")
    if mono.device.type not in ("cpu", "meta"):
        raise UsageError(f"cqt: the tensor is on {mono.device}; this version computes on the CPU, call .cpu() first")
    log = plan.output == "log"
    return _cqt(mono.detach(), threads, plan.sample_rate, plan.hop, plan.n_bins, plan.bins_per_octave, plan.fmin, log)
