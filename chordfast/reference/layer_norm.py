"""Layer norm with residual, dropout and ReLU in plain torch, and where the dropout bits of its kernels come from."""

from __future__ import annotations

import torch
from torch import Tensor

from .attention import MASK32, philox2x32, philox4x32

KINDS = ("sample", "population")


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, kind: str = "sample", epsilon: float = 1e-6) -> Tensor:
    """γ·(x − μ)/s + β over the last axis of x [..., D].

    s is σ + ε with the sample standard deviation (divisor D − 1, BTC: Park et al., ISMIR 2019) for ``kind``
    "sample", and sqrt(σ² + ε) with divisor D (Ba et al., 2016) for "population". The gradient of a row without any
    spread is that of a constant s.
    """
    variance, mean = torch.var_mean(x, dim=-1, correction=int(kind == "sample"), keepdim=True)
    if kind == "sample":
        # The clamp keeps the root's slope finite at 0.
        scale = variance.clamp_min(torch.finfo(x.dtype).tiny).sqrt() + epsilon
    else:
        scale = (variance + epsilon).sqrt()
    return gamma * ((x - mean) / scale) + beta


def dropout_keep(seed: Tensor, shape: torch.Size, rate: float, sequence: int = 0) -> tuple[Tensor, float]:
    """The dropout mask, bool of this shape, True where a value is kept, and the rate of keeping.

    ``seed`` holds two int64 (seed, offset). Philox (Salmon et al., 2011): 4x32-10 under the seed makes a key of offset
    and ``sequence``; 2x32-10 under that key makes 16 bits for each of the elements 4n ... 4n + 3, counted in memory
    order. Kept where the bits are below round((1 - rate) · 65536).
    """
    threshold = max(round((1.0 - rate) * 65536), 1)
    count = shape.numel()
    low, high = (seed[0] & MASK32, seed[1] & MASK32), ((seed[0] >> 32) & MASK32, (seed[1] >> 32) & MASK32)
    number = torch.tensor(sequence, device=seed.device)
    key, upper, _, _ = philox4x32((number & MASK32, number >> 32, low[1], high[1]), (low[0], high[0]))
    counter = torch.arange((count + 3) // 4, device=seed.device)
    first, second = philox2x32((counter & MASK32, (counter >> 32) ^ upper), key)
    bits = torch.stack((first & 0xFFFF, first >> 16, second & 0xFFFF, second >> 16), dim=-1).flatten()[:count]
    return (bits < threshold).view(shape), min(threshold, 65536) / 65536


def dropout(x: Tensor, seed: Tensor | None, rate: float, sequence: int = 0) -> Tensor:
    """x [...] with the values that ``dropout_keep`` drops set to 0 and the others divided by the rate of keeping."""
    if seed is None or rate == 0:
        return x
    keep, kept = dropout_keep(seed, x.shape, rate, sequence)
    return x.masked_fill(~keep, 0.0) / kept
