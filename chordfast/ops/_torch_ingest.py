"""Ingest for batches of torch tensors and for GPUs, as operator ``chordfast::_ingest``."""

from __future__ import annotations

import functools
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import torch

from .._native import native
from ..errors import ChordfastError, UsageError
from ._library import define, stream_of
from .ingest import MAX_CHANNELS, IngestStream, Quality, checked_rates, flat_offsets


def _samples(lengths: list[int], sr: int, target: int) -> list[int]:
    return [-(-n * target // sr) for n in lengths]


def _cpu(pcm: torch.Tensor, lengths: list[int], sr: int, exact: bool, target: int) -> tuple[torch.Tensor, torch.Tensor]:
    block, parts, bad, first = pcm.contiguous().numpy(), [pcm.new_empty(0, dtype=torch.float32)], [], 0
    for n in lengths:
        stream = IngestStream(sr, block.shape[1] if block.ndim == 2 else 1, "exact" if exact else "relaxed", target)
        parts.append(torch.from_numpy(stream._call("whole", block[first : first + n])))
        bad.append(stream.non_finite)
        first += n
    return torch.cat(parts), torch.tensor(bad, dtype=torch.int64)


@functools.lru_cache(maxsize=64)
def _plan(module: ModuleType, sr: int, target: int, exact: bool) -> Any:
    return module.IngestCudaPlan(sr, target, exact)


@functools.lru_cache(maxsize=64)
def _constants(module: ModuleType, sr: int, target: int, exact: bool, device: torch.device) -> torch.Tensor:
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise UsageError("ingest: this filter is not on the GPU yet; call ingest once before capturing it in a graph")
    return torch.from_numpy(_plan(module, sr, target, exact).constants()).to(device)


def launch(
    module: ModuleType,
    device: int,
    stream: int,
    pcm: torch.Tensor,
    lengths: list[int],
    sr: int,
    exact: bool,
    target: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples of all recordings and their counts of non-finite ones by the CUDA kernels of ``module``."""
    pcm = pcm.contiguous()
    sizes = _samples(lengths, sr, target)
    out = torch.empty(sum(sizes), dtype=torch.float32, device=pcm.device)
    bad = torch.zeros(len(lengths), dtype=torch.int64, device=pcm.device)
    if out.numel():
        songs = np.zeros((len(lengths), 3), np.int64)
        songs[1:, 0], songs[:, 1], songs[1:, 2] = np.cumsum(lengths)[:-1], lengths, np.cumsum(sizes)[:-1]
        plan = _plan(module, sr, target, exact)
        constants = _constants(module, sr, target, exact, pcm.device)
        workspace = torch.empty(plan.workspace(songs), dtype=torch.uint8, device=pcm.device)
        module.ingest_forward_cuda(
            plan,
            constants.data_ptr(),
            pcm.data_ptr(),
            pcm.dtype == torch.float32,
            pcm.shape[1] if pcm.ndim == 2 else 1,
            songs,
            out.data_ptr(),
            bad.data_ptr(),
            workspace.data_ptr(),
            device,
            stream,
        )
    return out, bad


def _cuda(
    pcm: torch.Tensor, lengths: list[int], sr: int, exact: bool, target: int
) -> tuple[torch.Tensor, torch.Tensor]:
    module = native()
    if not hasattr(module, "ingest_forward_cuda"):
        raise ChordfastError(
            f"ingest: the tensor is on {pcm.device}, but chordfast._C was built without CUDA; put nvcc on PATH and "
            "build it again with 'pip install -e .', or call .cpu() first"
        )
    return launch(module, *stream_of(pcm), pcm, lengths, sr, exact, target)


def _fake(
    pcm: torch.Tensor, lengths: list[int], sr: int, exact: bool, target: int
) -> tuple[torch.Tensor, torch.Tensor]:
    total = sum(_samples([int(n) for n in lengths], sr, target))
    return pcm.new_empty(total, dtype=torch.float32), pcm.new_empty(len(lengths), dtype=torch.int64)


_ingest = define(
    "_ingest",
    "(Tensor pcm, int[] lengths, int sr, bool exact, int target) -> (Tensor, Tensor)",
    cpu=_cpu,
    cuda=_cuda,
    fake=_fake,
)


def forward(
    pcm: object, offsets: Any, sr: int, quality: Quality, target: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Check and call; see ``chordfast.ops.ingest_flat``."""
    if not isinstance(pcm, torch.Tensor):
        raise UsageError(f"pcm is a {type(pcm).__name__}; pass a NumPy array or a torch tensor")
    if pcm.ndim not in (1, 2) or (pcm.ndim == 2 and not 1 <= pcm.shape[1] <= MAX_CHANNELS):
        raise UsageError(f"pcm has shape {tuple(pcm.shape)}; pass [N] or [N, 1 to {MAX_CHANNELS} channels]")
    if pcm.dtype not in (torch.int16, torch.float32, torch.float64):
        raise UsageError(f"pcm is {pcm.dtype}; int16 or float32 in -1..1 is expected (convert other PCM widths first)")
    if pcm.device.type not in ("cpu", "cuda", "meta"):
        raise UsageError(f"pcm is on {pcm.device}; move it to the CPU or a CUDA device")
    sr, target = checked_rates(sr, target, quality)
    x = pcm.detach().float() if pcm.dtype == torch.float64 else pcm.detach()
    lengths = [b - a for a, b in pairwise(flat_offsets(len(x), offsets))]
    out, bad = _ingest(x, lengths, sr, quality == "exact", target)
    sizes = np.cumsum([0, *_samples(lengths, sr, target)], dtype=np.int64)
    return out, torch.from_numpy(sizes), bad
