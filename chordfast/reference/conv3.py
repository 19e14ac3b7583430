"""The width-3 convolution over time by its definition, and by Winograd's F(4, 3), in plain torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Lavin and Gray, CVPR 2016: y = Aᵀ[(G w) ∘ (Bᵀ x)] for six frames x, three weights w and four results y, from the
# polynomial's values at 0, 1, −1, 2, −2 and ∞.
BT = (
    *((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0)),
    *((0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1)),
)
G = (
    *((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6)),
    *((1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1)),
)
AT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def conv3(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """y[b, t] = bias + Σ_i weight[:, :, i] x[b, t + i − 1] with zeros outside.

    x [B, T, C], weight [O, C, 3], bias [O] -> [B, T, O].
    """
    frames = x.shape[1]
    padded = F.pad(x, (0, 0, 1, 1))
    y = sum(padded[:, i : i + frames] @ weight[:, :, i].T for i in range(3))
    assert isinstance(y, Tensor)
    y = y if bias is None else y + bias
    return y.clamp_min(0) if relu else y


def winograd(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """The same by F(4, 3), with the roundings of x's type."""
    batch, frames = x.shape[:2]
    tiles = -(-frames // 4)
    bt, g, at = (torch.tensor(table, dtype=x.dtype, device=x.device) for table in (BT, G, AT))
    spread = F.pad(x, (0, 0, 1, 4 * tiles + 1 - frames)).unfold(1, 6, 4)  # [B, tiles, C, 6]
    products = torch.einsum("btcl,kl,ocj,kj->btok", spread, bt, weight, g)
    y = (products @ at.T).transpose(2, 3).reshape(batch, 4 * tiles, -1)[:, :frames]
    y = y if bias is None else y + bias
    return y.clamp_min(0) if relu else y
