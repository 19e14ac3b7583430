"""The constant-Q transform for torch tensors, as operator ``chordfast::_cqt``."""

from __future__ import annotations

import dataclasses
import functools
import json

import torch

from .._native import native
from ..errors import UsageError
from ._library import define
from .cqt import native_plan
from .feature_plan import FeaturePlan


@functools.lru_cache(maxsize=64)
def _plan(text: str) -> FeaturePlan:
    return FeaturePlan(**json.loads(text))


def _cpu(x: torch.Tensor, plan: str, threads: int) -> torch.Tensor:
    decoded = _plan(plan)
    x = x.contiguous()
    n = x.shape[-1]
    out = x.new_empty((*x.shape[:-1], decoded.n_frames(n), decoded.n_bins))
    if out.numel():
        native().cqt_forward_cpu(native_plan(decoded), x.data_ptr(), x.numel() // n, n, n, out.data_ptr(), threads)
    return out


def _fake(x: torch.Tensor, plan: str, threads: int) -> torch.Tensor:
    decoded = _plan(plan)
    return x.new_empty((*x.shape[:-1], decoded.n_frames(int(x.shape[-1])), decoded.n_bins))


_cqt = define("_cqt", "(Tensor x, str plan, int threads) -> Tensor", cpu=_cpu, fake=_fake)


def forward(mono: object, plan: FeaturePlan, threads: int) -> torch.Tensor:
    """Check and call; see ``chordfast.ops.cqt``."""
    if not isinstance(mono, torch.Tensor):
        raise UsageError(f"cqt: got {type(mono).__name__}; give a float32 NumPy array or torch tensor")
    if mono.dtype != torch.float32:
        raise UsageError(f"cqt: samples are {mono.dtype}; convert them to float32 (ops.ingest does, from int16 too)")
    if mono.ndim == 0:
        raise UsageError("cqt: a single number has no sample axis; give a tensor [..., N]")
    if mono.device.type not in ("cpu", "meta"):
        raise UsageError(f"cqt: the tensor is on {mono.device}; this version computes on the CPU, call .cpu() first")
    return _cqt(mono.detach(), json.dumps(dataclasses.asdict(plan)), threads)
