"""The raw operators of ``ops.layer_norm``: tensors to the addresses and sizes of csrc/layer_norm, and shapes alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._native import native
from ._library import define

DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
SUM, BRANCH, AFTER = 0, 1, 2  # what is normalised, and where dropout acts: csrc/layer_norm/layer_norm.h
ADD, RELU, RELU_BWD = 0, 1, 2  # dropout without a norm
FEW = 200_000  # elements a thread should have at least


def _address(x: Tensor | None) -> int:
    return 0 if x is None or x.numel() == 0 else x.data_ptr()


def _threads(elements: int) -> int:
    return max(1, min(torch.get_num_threads(), elements // FEW))


def _fwd_cpu(
    x: Tensor,
    y: Tensor | None,
    alpha: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    seed: Tensor | None,
    kind: int,
    place: int,
    epsilon: float,
    dropout: float,
) -> tuple[Tensor, Tensor, Tensor]:
    x, y = x.contiguous(), None if y is None else y.contiguous()
    gamma, beta = gamma.contiguous(), beta.contiguous()
    total, out, stats = _fwd_fake(x, y, alpha, gamma, beta, seed, kind, place, epsilon, dropout)
    if x.numel():
        sizes = (x.numel() // x.shape[-1], x.shape[-1], DTYPES[x.dtype], kind, place)
        places = [_address(t) for t in (x, y, alpha, gamma, beta, total, out, stats)]
        native().layer_norm_fwd_cpu(places, sizes, epsilon, dropout, _address(seed), _threads(x.numel()))
    return total, out, stats


def _fwd_fake(x: Tensor, y: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    place = rest[-3]
    total = x.new_empty(x.shape if place == SUM and y is not None else (0,))
    return total, x.new_empty(x.shape), x.new_empty((*x.shape[:-1], 2), dtype=torch.float32)


def _bwd_cpu(
    grad: Tensor,
    grad_sum: Tensor | None,
    x: Tensor,
    y: Tensor | None,
    alpha: Tensor | None,
    out: Tensor | None,
    gamma: Tensor,
    stats: Tensor,
    seed: Tensor | None,
    kind: int,
    place: int,
    epsilon: float,
    dropout: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    tensors = (grad, grad_sum, x, y, out)
    grad, grad_sum, x, y, out = (None if t is None else t.contiguous() for t in tensors)  # type: ignore[assignment]
    gamma = gamma.contiguous()
    results = _bwd_fake(grad, grad_sum, x, y, alpha, out, gamma)
    sizes = (x.numel() // x.shape[-1], x.shape[-1], DTYPES[x.dtype], kind, place)
    places = [_address(t) for t in (grad, grad_sum, x, y, out, alpha, gamma, stats, *results)]
    native().layer_norm_bwd_cpu(places, sizes, epsilon, dropout, _address(seed), _threads(x.numel()))
    return results


def _bwd_fake(
    grad: Tensor, grad_sum: Tensor | None, x: Tensor, y: Tensor | None, alpha: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    gamma = rest[1]
    dy = x.new_empty((0,) if y is None else x.shape)
    dalpha = gamma.new_empty((0,) if alpha is None else (1,))
    return x.new_empty(x.shape), dy, torch.empty_like(gamma), torch.empty_like(gamma), dalpha


_NUMBERS = "Tensor? seed, int kind, int place, float epsilon, float dropout"
layer_norm_fwd = define(
    "_layer_norm_fwd",
    f"(Tensor x, Tensor? y, Tensor? alpha, Tensor gamma, Tensor beta, {_NUMBERS}) -> (Tensor, Tensor, Tensor)",
    cpu=_fwd_cpu,
    fake=_fwd_fake,
)
layer_norm_bwd = define(
    "_layer_norm_bwd",
    "(Tensor grad, Tensor? grad_sum, Tensor x, Tensor? y, Tensor? alpha, Tensor? out, Tensor gamma, Tensor stats, "
    f"{_NUMBERS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    cpu=_bwd_cpu,
    fake=_bwd_fake,
)


def _call_dropout(
    x: Tensor, y: Tensor | None, out: Tensor, width: int, mode: int, seed: Tensor | None, dropout: float, sequence: int
) -> None:
    """Rows of ``width`` elements, the last axis of tensors that may be parts of wider ones."""
    if x.numel() == 0:
        return
    strides = (t.stride(-2) if t.ndim > 1 else width for t in (x, x if y is None else y, out))
    sizes = (x.numel() // width, width, *strides, DTYPES[x.dtype], mode, sequence)
    places = (x.data_ptr(), _address(y), out.data_ptr(), _address(seed))
    native().dropout_cpu(places, sizes, dropout, _threads(x.numel()))


def _dropout_cpu(x: Tensor, y: Tensor | None, seed: Tensor | None, dropout: float, mode: int) -> Tensor:
    if y is not None and y.stride() != x.stride():
        y = torch.empty_like(x).copy_(y)
    out = torch.empty_like(x)
    if out.stride() != x.stride():
        x = out.copy_(x)
        out = torch.empty_like(x)
        y = None if y is None else torch.empty_like(x).copy_(y)
    # The storage from end to end, in whatever order it holds the elements.
    flat = [None if t is None else t.as_strided((t.numel(),), (1,)) for t in (x, y, out)]
    assert flat[0] is not None and flat[2] is not None
    _call_dropout(flat[0], flat[1], flat[2], max(x.numel(), 1), mode, seed, dropout, 0)
    return out


dropout = define(
    "_dropout",
    "(Tensor x, Tensor? y, Tensor? seed, float dropout, int mode) -> Tensor",
    cpu=_dropout_cpu,
    fake=lambda x, *_: torch.empty_like(x),
)


def _dense_rows(x: Tensor) -> Tensor:
    """[rows, D] whose last axis is dense, without a copy where that can be."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(-1) == 1 else rows.contiguous()


def _dropout_cat_cpu(x: Tensor, y: Tensor, u: Tensor, v: Tensor, seed: Tensor | None, dropout: float) -> Tensor:
    out, width = _dropout_cat_fake(x), x.shape[-1]
    for sequence, (a, b) in enumerate(((x, y), (u, v))):
        part = out.view(-1, 2 * width)[:, sequence * width : (sequence + 1) * width]
        _call_dropout(_dense_rows(a), _dense_rows(b), part, width, ADD, seed, dropout, sequence)
    return out


def _dropout_cat_fake(x: Tensor, *_: Any) -> Tensor:
    return x.new_empty((*x.shape[:-1], 2 * x.shape[-1]))


dropout_cat = define(
    "_dropout_cat",
    "(Tensor x, Tensor y, Tensor u, Tensor v, Tensor? seed, float dropout) -> Tensor",
    cpu=_dropout_cat_cpu,
    fake=_dropout_cat_fake,
)


def _dropout_split_cpu(grad: Tensor, seed: Tensor | None, dropout: float) -> tuple[Tensor, Tensor]:
    results, width = _dropout_split_fake(grad), grad.shape[-1] // 2
    rows = grad.contiguous().view(-1, 2 * width)
    for sequence, out in enumerate(results):
        part = rows[:, sequence * width : (sequence + 1) * width]
        _call_dropout(part, None, out.view(-1, width), width, ADD, seed, dropout, sequence)
    return results


def _dropout_split_fake(grad: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    shape = (*grad.shape[:-1], grad.shape[-1] // 2)
    return grad.new_empty(shape), grad.new_empty(shape)


dropout_split = define(
    "_dropout_split",
    "(Tensor grad, Tensor? seed, float dropout) -> (Tensor, Tensor)",
    cpu=_dropout_split_cpu,
    fake=_dropout_split_fake,
)
