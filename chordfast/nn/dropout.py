"""Dropout whose mask costs little on a CPU: eight random bits an element out of 64-bit draws, not one draw each."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 256
_SMALL = 4096  # elements below which there is nothing to gain


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, drop: int) -> Tensor:
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= drop
        factor = kept.to(x.dtype).mul_(LEVELS / (LEVELS - drop))
        ctx.save_for_backward(factor)
        return x * factor

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0] * ctx.saved_tensors[0], None


def dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """Zero elements of ``x`` with probability ``rate`` and scale the others up to keep the expectation.

    On a CPU the rate is rounded to a multiple of 1/256 (0.2 becomes 0.1992), what is kept is scaled accordingly, and
    torch's generator is drawn from an eighth as often; elsewhere this is ``torch.nn.functional.dropout``.
    """
    drop = round(rate * LEVELS)
    if not training or drop == 0 or x.device.type != "cpu" or x.numel() < _SMALL or torch.compiler.is_compiling():
        return F.dropout(x, rate, training)
    return _Dropout.apply(x, drop)
