"""Attention in plain torch: what every kernel must compute, and where its dropout bits come from."""

from __future__ import annotations

import torch
from torch import Tensor

MASK32 = 0xFFFFFFFF


def allowed_pairs(queries: int, keys: int, direction: str | None, device: torch.device | str | None = None) -> Tensor:
    """Which key each query may see, bool [queries, keys]; for "both" [2, 1, 1, queries, keys]."""
    i = torch.arange(queries, device=device)[:, None]
    j = torch.arange(keys, device=device)[None, :]
    if direction == "both":
        return torch.stack((j <= i, j >= i))[:, None, None]
    return {None: (i >= 0) & (j >= 0), "forward": j <= i, "backward": j >= i}[direction]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    direction: str | None = None,
    mask: Tensor | None = None,
    scale: float | None = None,
    keep: Tensor | None = None,
    keep_rate: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """softmax(scale · q kᵀ) v -> (output [..., B, H, Tq, d], probabilities [..., B, H, Tq, Tk] before dropout).

    q [..., B, H, Tq, d], k and v [..., B, H, Tk, d]; for direction "both" a leading axis of 2. ``mask`` bool [B, Tk]
    is True where a key counts. A query with no key left yields zeros. ``keep`` bool, of the probabilities' shape, is
    the dropout mask; kept probabilities are divided by ``keep_rate``. Vaswani et al., 2017; Park et al., 2019 for the
    two directions.
    """
    allowed = allowed_pairs(q.shape[-2], k.shape[-2], direction, q.device)
    if mask is not None:
        allowed = allowed & mask[:, None, None, :]
        k, v = (x.masked_fill(~mask[:, None, :, None], 0.0) for x in (k, v))
    scores = (q @ k.transpose(-1, -2)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    # A row with nothing allowed would be 0/0: fill such rows with anything finite, and with zeros afterwards.
    some = allowed.any(-1, keepdim=True)
    scores = scores.masked_fill(~allowed & some, float("-inf")).masked_fill(~some, 0.0)
    probabilities = scores.softmax(-1).masked_fill(~(allowed & some), 0.0)
    used = probabilities if keep is None else probabilities.masked_fill(~keep, 0.0) / keep_rate
    return used @ v, probabilities


def dropout_keep(seed: Tensor, sequences: int, queries: int, keys: int, rate: float) -> tuple[Tensor, float]:
    """The dropout mask, bool [sequences, queries, keys], True where a probability is kept, and the rate of keeping.

    ``seed`` holds two int64 (seed, offset). Philox (Salmon et al., 2011): 4x32-10 under the seed makes a key for every
    sequence; 2x32-10 under that key makes 16 bits for each of four scores, those of queries {r, r + 8} and keys
    {c, c + 8} of a block of 16 x 16 (r, c < 8). Kept where the bits are below round((1 - rate) · 65536).
    """
    threshold = max(round((1.0 - rate) * 65536), 1)
    device = seed.device
    s = torch.arange(sequences, device=device)
    zero = torch.zeros_like(s)
    # The second words hold the upper 32 bits; a negative number's are those of its two's complement.
    key = (seed[0] & MASK32, (seed[0] >> 32) & MASK32)
    counter = (s & MASK32, (s >> 32) & MASK32, zero + (seed[1] & MASK32), zero + ((seed[1] >> 32) & MASK32))
    key2, high, _, _ = philox4x32(counter, key)
    i, j = torch.arange(queries, device=device)[:, None], torch.arange(keys, device=device)[None, :]
    group = (((i // 16) * 16 + j // 16) * 8 + i % 8) * 8 + j % 8
    group, key2, high = torch.broadcast_tensors(group[None], key2[:, None, None], high[:, None, None])
    first, second = philox2x32((group, high), key2)
    word = torch.where(i % 16 < 8, first, second)
    bits = torch.where(j % 16 < 8, word & 0xFFFF, word >> 16)
    return bits < threshold, min(threshold, 65536) / 65536


def _multiply_wide(a: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Upper and lower 32 bits of a product of two 32-bit numbers; int64 wraps, which keeps all 64 bits."""
    product = a * factor
    return (product >> 32) & MASK32, product & MASK32


def philox4x32(counter: tuple[Tensor, ...], key: tuple[Tensor | int, Tensor | int]) -> tuple[Tensor, ...]:
    """Philox4x32-10 on 32-bit numbers held in int64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _multiply_wide(c0, 0xD2511F53)
        high1, low1 = _multiply_wide(c2, 0xCD9E8D57)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
    return c0, c1, c2, c3


def philox2x32(counter: tuple[Tensor, Tensor], key: Tensor | int) -> tuple[Tensor, Tensor]:
    """Philox2x32-10 on 32-bit numbers held in int64."""
    x0, x1 = counter
    for _ in range(10):
        high, low = _multiply_wide(x0, 0xD256D193)
        x0, x1 = high ^ key ^ x1, low
        key = (key + 0x9E3779B9) & MASK32
    return x0, x1
