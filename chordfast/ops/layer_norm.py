"""Layer norm fused with the residual, dropout and ReLU around it, and those without a norm: one pass forward, one back.

``chordfast::_layer_norm_fwd``, ``_layer_norm_bwd``, ``_dropout``, ``_dropout_cat`` and ``_dropout_split`` are the raw
operators (CPU kernels of csrc/layer_norm); the functions here check, draw the dropout seed and add the gradient.
Dropout's bits are computed again in the backward pass, or read off the result's sign behind a ReLU, never stored.

The kernels take float32, float16 and bfloat16 (arithmetic and statistics in float32) on the CPU. float64, tensors on
other devices and ``plain=True`` take the same formulas in torch's own operators. float64 on the CPU drops the same
values as the kernels do.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UsageError
from ..reference import layer_norm as reference
from ._layer_norm_raw import ADD as _ADD
from ._layer_norm_raw import AFTER, BRANCH, DTYPES, SUM
from ._layer_norm_raw import RELU as _RELU
from ._layer_norm_raw import RELU_BWD as _RELU_BWD
from ._layer_norm_raw import dropout as _dropout
from ._layer_norm_raw import dropout_cat as _dropout_cat
from ._layer_norm_raw import dropout_split as _dropout_split
from ._layer_norm_raw import layer_norm_bwd as _bwd
from ._layer_norm_raw import layer_norm_fwd as _fwd

KINDS = {kind: number for number, kind in enumerate(reference.KINDS)}


def layer_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, kind: str = "sample", epsilon: float = 1e-6, plain: bool = False
) -> Tensor:
    """γ·(x − μ)/s + β over the last axis.

    Args:
        x: [..., D], any floating-point type and strides.
        gamma, beta: [D].
        kind: "sample": s = σ + ε with divisor D − 1, D ≥ 2 (BTC, Park et al., ISMIR 2019); "population": s =
            sqrt(σ² + ε) with divisor D (Ba et al., 2016, as ``torch.nn.functional.layer_norm``).
        epsilon: ε ≥ 0.
        plain: torch's own operators only, for export.

    Returns [..., D] of x's dtype. The gradient of a row without any spread is that of a constant s. Deterministic, also
    forward and backward of the functions below, whatever the number of threads.

    Raises UsageError for shapes, types, devices or numbers that do not fit; one sentence.
    """
    _check("layer_norm", x, None, gamma, beta, kind, epsilon, 0.0)
    if plain or not _fast(x):
        return _plain_norm(x, gamma, beta, kind, epsilon)
    return _norm(x, None, None, gamma, beta, None, KINDS[kind], SUM, epsilon, 0.0)[1]


def layer_norm_relu_dropout(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    dropout: float,
    kind: str = "population",
    epsilon: float = 1e-5,
    plain: bool = False,
) -> Tensor:
    """dropout(relu(layer_norm(x))); see ``layer_norm`` and, for dropout, ``residual_dropout_norm``."""
    _check("layer_norm_relu_dropout", x, None, gamma, beta, kind, epsilon, dropout)
    if plain or not _fast(x):
        return _plain_dropout(F.relu(_plain_norm(x, gamma, beta, kind, epsilon)), dropout)
    return _norm(x, None, None, gamma, beta, _draw(x, dropout), KINDS[kind], AFTER, epsilon, dropout)[1]


def residual_dropout_norm(
    x: Tensor,
    y: Tensor,
    gamma: Tensor,
    beta: Tensor,
    dropout: float,
    kind: str = "sample",
    epsilon: float = 1e-6,
    plain: bool = False,
) -> tuple[Tensor, Tensor]:
    """s = dropout(x + y) and layer_norm(s), each [..., D]: BTC's residual, whose dropout acts on the sum.

    x, y: [..., D] of one shape; of two types the wider one counts. dropout: probability in [0, 1) that a value is
    dropped, rounded to a multiple of 2^-16; what is kept is scaled up to keep the expectation. Nothing switches it off
    in evaluation: pass 0 there. Drawn from torch's generator. The rest as in ``layer_norm``.
    """
    x, y = _one_type(x, y)
    _check("residual_dropout_norm", x, y, gamma, beta, kind, epsilon, dropout)
    if plain or not _fast(x):
        total = _plain_dropout(x + y, dropout)
        return total, _plain_norm(total, gamma, beta, kind, epsilon)
    return _norm(x, y, None, gamma, beta, _draw(x, dropout), KINDS[kind], SUM, epsilon, dropout)


def branch_dropout_norm(
    x: Tensor,
    y: Tensor,
    gamma: Tensor,
    beta: Tensor,
    dropout: float,
    alpha: Tensor | None = None,
    kind: str = "population",
    epsilon: float = 1e-5,
    plain: bool = False,
) -> Tensor:
    """layer_norm(x + α·dropout(y)), [..., D]: the usual residual with the norm behind it.

    alpha: a learned number, any shape of one element (ReZero, Bachlechner et al., 2021), or None for 1. The rest as in
    ``residual_dropout_norm``.
    """
    x, y = _one_type(x, y)
    _check("branch_dropout_norm", x, y, gamma, beta, kind, epsilon, dropout)
    if alpha is not None and (not isinstance(alpha, Tensor) or alpha.numel() != 1 or alpha.device != x.device):
        raise UsageError("branch_dropout_norm: alpha is not a tensor of one number on x's device; give one, or None")
    if plain or not _fast(x):
        branch = _plain_dropout(y, dropout)
        return _plain_norm(x + (branch if alpha is None else alpha * branch), gamma, beta, kind, epsilon).to(x.dtype)
    return _norm(x, y, alpha, gamma, beta, _draw(x, dropout), KINDS[kind], BRANCH, epsilon, dropout)[1]


def relu_dropout(x: Tensor, dropout: float, plain: bool = False) -> Tensor:
    """dropout(relu(x)), x [...] of any strides; dropout as in ``residual_dropout_norm``."""
    _check_dropout("relu_dropout", dropout, x)
    if plain or dropout == 0 or not _fast(x):
        return _plain_dropout(F.relu(x), dropout)
    if torch.is_grad_enabled() and x.requires_grad:
        return _ReluDropout.apply(x, _draw(x, dropout), dropout)
    return _dropout(x, None, _draw(x, dropout), dropout, _RELU)


def dropout(x: Tensor, rate: float, plain: bool = False) -> Tensor:
    """Dropout of x [...] of any strides, as in ``residual_dropout_norm``; several times as fast as torch's on a CPU."""
    _check_dropout("dropout", rate, x)
    if plain or rate == 0 or not _fast(x):
        return _plain_dropout(x, rate)
    if torch.is_grad_enabled() and x.requires_grad:
        return _Dropout.apply(x, None, _draw(x, rate), rate)
    return _dropout(x, None, _draw(x, rate), rate, _ADD)


def dropout_add(x: Tensor, y: Tensor, dropout: float, plain: bool = False) -> Tensor:
    """dropout(x + y), both [...] of one shape; dropout as in ``residual_dropout_norm``."""
    x, y = _one_type(x, y)
    _check_dropout("dropout_add", dropout, x, y)
    if plain or dropout == 0 or not _fast(x):
        return _plain_dropout(x + y, dropout)
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        return _Dropout.apply(x, y, _draw(x, dropout), dropout)
    return _dropout(x, y, _draw(x, dropout), dropout, _ADD)


def dropout_add_cat(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], dropout: float, plain: bool = False
) -> Tensor:
    """The concatenation [..., 2D] of dropout(x + y) for two pairs (x, y) of tensors [..., D] of one shape."""
    x, y, u, v = _one_type(*first, *second)
    _check_dropout("dropout_add_cat", dropout, x, y, u, v)
    if plain or not _fast(x):
        seed = _draw(x, dropout) if _same_bits(x) else None
        sums = (x + y, u + v)
        return torch.cat([_plain_dropout(s, dropout, seed, number) for number, s in enumerate(sums)], dim=-1)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, y, u, v)):
        return _DropoutAddCat.apply(x, y, u, v, _draw(x, dropout), dropout)
    return _dropout_cat(x, y, u, v, _draw(x, dropout), dropout)


def _one_type(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the widest of their types."""
    if not all(isinstance(t, Tensor) for t in tensors) or len({t.dtype for t in tensors}) == 1:
        return tensors
    dtype = tensors[0].dtype
    for t in tensors[1:]:
        dtype = torch.promote_types(dtype, t.dtype)
    return tuple(t.to(dtype) for t in tensors)


def _fast(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in DTYPES


def _draw(x: Tensor, dropout: float) -> Tensor | None:
    if dropout == 0:
        return None
    return torch.randint(-(2**63), 2**63 - 1, (2,), dtype=torch.int64, device=x.device)


def _plain_norm(x: Tensor, gamma: Tensor, beta: Tensor, kind: str, epsilon: float) -> Tensor:
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    if kind == "population":  # torch has this one in one piece
        return F.layer_norm(wide, x.shape[-1:], gamma.to(wide.dtype), beta.to(wide.dtype), epsilon).to(x.dtype)
    return reference.layer_norm(wide, gamma, beta, kind, epsilon).to(x.dtype)


def _same_bits(x: Tensor) -> bool:
    """Whether plain torch drops what the kernels would: they are checked against it."""
    return x.device.type == "cpu" and x.dtype == torch.float64


def _plain_dropout(x: Tensor, dropout: float, seed: Tensor | None = None, sequence: int = 0) -> Tensor:
    if dropout == 0:
        return x
    if not _same_bits(x):
        return F.dropout(x, dropout)
    return reference.dropout(x, _draw(x, dropout) if seed is None else seed, dropout, sequence)


def _norm(
    x: Tensor, y: Tensor | None, alpha: Tensor | None, gamma: Tensor, beta: Tensor, seed: Tensor | None, *numbers: Any
) -> tuple[Tensor, Tensor]:
    """(sum, result); the parameters in float32 from here on, their gradients in their own type."""
    gamma, beta = gamma.float(), beta.float()
    alpha = None if alpha is None else alpha.float()
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, y, alpha, gamma, beta)):
        return _LayerNorm.apply(x, y, alpha, gamma, beta, seed, *numbers)
    total, out, _ = _fwd(x, y, alpha, gamma, beta, seed, *numbers)
    return total, out


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor | None,
        alpha: Tensor | None,
        gamma: Tensor,
        beta: Tensor,
        seed: Tensor | None,
        *numbers: Any,
    ) -> tuple[Tensor, Tensor]:
        total, out, stats = _fwd(x, y, alpha, gamma, beta, seed, *numbers)
        place = numbers[1]
        ctx.numbers, ctx.both = numbers, y is not None
        kept = total if place == SUM and y is not None else x
        ctx.save_for_backward(
            kept, y if place == BRANCH else None, alpha, out if place == AFTER else None, gamma, stats, seed
        )
        ctx.set_materialize_grads(False)
        if place != SUM or y is None:
            ctx.mark_non_differentiable(total)
        return total, out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, y, alpha, out, gamma, stats, seed = ctx.saved_tensors
        grad_sum, grad = grads
        if grad is None:
            if grad_sum is None:
                return (None,) * 10
            grad = torch.zeros_like(grad_sum)
        dx, dy, dgamma, dbeta, dalpha = _bwd(grad, grad_sum, x, y, alpha, out, gamma, stats, seed, *ctx.numbers)
        if ctx.both and y is None:
            dy = dx
        given = dy if ctx.both else None
        return dx, given, None if alpha is None else dalpha.view(alpha.shape), dgamma, dbeta, *(None,) * 5


class _ReluDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, seed: Tensor, dropout: float) -> Tensor:
        out = _dropout(x, None, seed, dropout, _RELU)
        ctx.save_for_backward(out)
        ctx.dropout = dropout
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (out,) = ctx.saved_tensors
        return _dropout(grads[0], out, None, ctx.dropout, _RELU_BWD), None, None


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor | None, seed: Tensor, dropout: float) -> Tensor:
        # Bits are counted in memory order, which has to be the gradient's too.
        x, y = x.contiguous(), None if y is None else y.contiguous()
        ctx.save_for_backward(seed)
        ctx.both, ctx.dropout = y is not None, dropout
        return _dropout(x, y, seed, dropout, _ADD)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (seed,) = ctx.saved_tensors
        both = _dropout(grads[0].contiguous(), None, seed, ctx.dropout, _ADD)
        return both, both if ctx.both else None, None, None


class _DropoutAddCat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, u: Tensor, v: Tensor, seed: Tensor | None, dropout: float) -> Tensor:
        ctx.save_for_backward(seed)
        ctx.dropout = dropout
        return _dropout_cat(x, y, u, v, seed, dropout)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (seed,) = ctx.saved_tensors
        first, second = _dropout_split(grads[0], seed, ctx.dropout)
        return first, first, second, second, None, None


def _check(
    name: str, x: Tensor, y: Tensor | None, gamma: Tensor, beta: Tensor, kind: str, epsilon: float, dropout: float
) -> None:
    _check_dropout(name, dropout, x, *(() if y is None else (y,)))
    if kind not in KINDS:
        raise UsageError(f"{name}: kind is {kind!r}; choose 'sample' or 'population'")
    if not epsilon >= 0:
        raise UsageError(f"{name}: epsilon is {epsilon}; give a number of at least 0")
    if x.ndim == 0 or x.shape[-1] < (2 if kind == "sample" else 1):
        raise UsageError(f"{name}: x has shape {list(x.shape)}; give [..., D] with D of at least 2")
    for label, vector in (("gamma", gamma), ("beta", beta)):
        if not isinstance(vector, Tensor) or vector.shape != x.shape[-1:] or vector.device != x.device:
            what = f"{list(vector.shape)} on {vector.device}" if isinstance(vector, Tensor) else type(vector).__name__
            raise UsageError(f"{name}: {label} is {what}; give a tensor of shape {[x.shape[-1]]} on {x.device}")


def _check_dropout(name: str, dropout: float, *tensors: Tensor) -> None:
    for t in tensors:
        if not isinstance(t, Tensor):
            raise UsageError(f"{name}: an input is {type(t).__name__}; give torch tensors")
        if not t.is_floating_point():
            raise UsageError(f"{name}: an input is {t.dtype}; give floating-point tensors")
    if any(t.shape != tensors[0].shape or t.device != tensors[0].device for t in tensors[1:]):
        shapes = " and ".join(f"{list(t.shape)} on {t.device}" for t in tensors)
        raise UsageError(f"{name}: the inputs are {shapes}; give tensors of one shape on one device")
    if not 0 <= dropout < 1:
        raise UsageError(f"{name}: dropout is {dropout}; give a probability of at least 0 and below 1")
