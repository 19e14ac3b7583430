"""The gated recurrent unit for torch tensors: the CPU's own code, or cuBLAS and one kernel for the steps on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from .._native import native
from ..errors import UsageError
from ._library import stream_of

MAX_HIDDEN = 128
"""Units of a layer that the CUDA kernel takes."""


def forward(
    x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, lengths: Sequence[int], threads: int | None
) -> Tensor:
    """``ops.gru`` of tensors on one device."""
    from .gru import checked_lengths, gru

    arrays = {"x": x, "kernel": kernel, "recurrent": recurrent, "bias": bias}
    for name, tensor in arrays.items():
        if not isinstance(tensor, Tensor) or tensor.device != x.device or tensor.dtype != torch.float32:
            raise UsageError(f"gru: {name} is no float32 tensor on {x.device}, where x is; move it there")
    if x.device.type == "cpu":
        states, *weights = (tensor.detach().numpy() for tensor in arrays.values())
        return torch.from_numpy(gru(states, weights[0], weights[1], weights[2], lengths, threads))
    if x.device.type != "cuda" or not hasattr(native(), "gru_recurrence_cuda"):
        raise UsageError(f"gru: x is on {x.device}, for which this build has no kernel; move it to the CPU")
    counts = checked_lengths(tuple(x.shape), tuple(kernel.shape), tuple(recurrent.shape), tuple(bias.shape), lengths)
    return launch(native(), *stream_of(x), x, kernel, recurrent, bias, counts)


def launch(
    module: ModuleType,
    device: int,
    stream: int,
    x: Tensor,
    kernel: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    lengths: Sequence[int],
) -> Tensor:
    """Hidden states [N, D·H] by the CUDA kernel of ``module``; the input products are one matrix product before it."""
    directions, hidden = recurrent.shape[:2]
    if hidden > MAX_HIDDEN:
        raise UsageError(f"gru: {hidden} units are more than the {MAX_HIDDEN} of the CUDA kernel; compute on the CPU")
    out = x.new_empty(len(x), directions * hidden)
    if not out.numel():
        return out
    wide = kernel.permute(1, 0, 2).reshape(x.shape[1], -1)
    sums = torch.addmm(bias.reshape(-1), x, wide)
    counts = np.asarray(lengths, np.int64)
    begins = np.cumsum(counts) - counts
    # Longest first, so that no long song is begun last.
    order = np.argsort(-counts, kind="stable")
    spans = torch.from_numpy(np.stack([begins, counts], axis=1)[order]).to(x.device)
    weights = recurrent.contiguous()
    module.gru_recurrence_cuda(
        sums.data_ptr(), weights.data_ptr(), spans.data_ptr(), len(counts), hidden, directions, out.data_ptr(),
        device, stream,
    )  # fmt: skip
    return out
