"""Multi-head attention as modules over ``ops.attention``: one direction, or BTC's two directions at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..ops.attention import attention


def _check_heads(size: int, heads: int) -> None:
    if heads < 1 or size % heads:
        raise UsageError(f"attention: {heads} heads do not divide a width of {size}; give a number that does")


class MultiHeadAttention(nn.Module):
    """Projections, attention and output projection (Vaswani et al., 2017), for at most 256 time steps.

    ``in_projection`` holds the rows of query, key and value one below the other, as ``torch.nn.MultiheadAttention``
    does. size: width, a multiple of ``heads``, at most 64 a head; direction, dropout (in training only): see
    ``ops.attention``.
    """

    def __init__(
        self, size: int, heads: int, direction: str | None = None, dropout: float = 0.0, bias: bool = True
    ) -> None:
        super().__init__()
        _check_heads(size, heads)
        self.heads, self.direction, self.dropout = heads, direction, dropout
        self.in_projection = nn.Linear(size, 3 * size, bias=bias)
        self.out_projection = nn.Linear(size, size, bias=bias)

    def forward(
        self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """x [B, Tq, size], memory [B, Tk, size] (x itself if None), mask bool [B, Tk], True where a key counts
        -> [B, Tq, size], or that and the probabilities [B, heads, Tq, Tk]."""
        size = x.shape[-1]
        if memory is None:
            q, k, v = self.in_projection(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        else:
            weight, bias = self.in_projection.weight, self.in_projection.bias
            parts = (None, None) if bias is None else (bias[:size], bias[size:])
            q = nn.functional.linear(x, weight[:size], parts[0]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            k, v = (
                nn.functional.linear(memory, weight[size:], parts[1])
                .unflatten(-1, (2, self.heads, -1))
                .permute(2, 0, 3, 1, 4)
            )
        rate = self.dropout if self.training else 0.0
        found = attention(q, k, v, self.direction, rate, mask, return_attention=return_attention)
        y, maps = found if isinstance(found, tuple) else (found, None)
        y = self.out_projection(y.transpose(1, 2).flatten(2))
        return y if maps is None else (y, maps)


class BidirectionalAttention(nn.Module):
    """The attention of BTC's two blocks (Park et al., 2019) as two batched products and one launch.

    Each direction has its own weights (index 0 looks back at keys j <= i, 1 ahead at j >= i), no biases, and its own
    input, since each block normalises for itself. size, heads, dropout: as in ``MultiHeadAttention``.
    """

    def __init__(self, size: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        _check_heads(size, heads)
        self.heads, self.dropout = heads, dropout
        self.in_weight = nn.Parameter(torch.empty(2, 3 * size, size))
        self.out_weight = nn.Parameter(torch.empty(2, size, size))
        for weight in (self.in_weight, self.out_weight):
            nn.init.uniform_(weight, -(size**-0.5), size**-0.5)  # as nn.Linear

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [2, B, T, size], mask bool [B, T], True where a frame counts -> [2, B, T, size]."""
        _, batch, frames, size = x.shape
        qkv = torch.bmm(x.flatten(1, 2), self.in_weight.transpose(1, 2))
        q, k, v = qkv.view(2, batch, frames, 3, self.heads, size // self.heads).permute(3, 0, 1, 4, 2, 5)
        y = attention(q, k, v, "both", self.dropout if self.training else 0.0, mask)
        assert isinstance(y, Tensor)
        y = torch.bmm(y.transpose(2, 3).reshape(2, batch * frames, size), self.out_weight.transpose(1, 2))
        return y.view(2, batch, frames, size)
