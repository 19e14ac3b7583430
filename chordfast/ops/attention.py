"""Attention for short sequences, forward and backward: scores never reach memory, dropout bits are not stored.

``chordfast::_attention_fwd`` and ``_attention_bwd`` are the raw operators (CPU and CUDA kernels of csrc/attention);
``attention`` checks, draws the dropout seed and adds the gradient.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .._native import native
from ..errors import UsageError
from ..reference import attention as reference
from ._library import define, stream_of

LONGEST, WIDEST = 256, 64
DIRECTIONS: dict[str | None, int] = {None: 0, "forward": 1, "backward": 2, "both": 3}
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    direction: str | None = None,
    dropout: float = 0.0,
    mask: Tensor | None = None,
    scale: float | None = None,
    generator: torch.Generator | None = None,
    return_attention: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """softmax(scale · q kᵀ) v, exact, without ever storing the scores (Vaswani et al., 2017; BTC's two directions).

    Args:
        q: [B, H, Tq, d] float32, float16 or bfloat16 (tensor cores, float32 sums) or float64 (plain torch); d at most
            64, Tq and Tk at most 256. Any strides; a tensor whose last axis is not dense is copied.
        k, v: [B, H, Tk, d], as q.
        direction: which keys j query i sees: None all, "forward" j <= i, "backward" j >= i. "both" computes the two in
            one launch: q, k and v then have a leading axis of 2, index 0 forward and index 1 backward.
        dropout: probability in [0, 1) that a softmax probability is dropped, rounded to a multiple of 2^-16; what is
            kept is scaled up to keep the expectation. Nothing switches it off in evaluation: pass 0 there.
        mask: bool [B, Tk], True where a key counts (both directions alike). Keys and values elsewhere may hold
            anything, NaN included. A query that sees no key yields zeros and gives no gradient.
        scale: factor of the scores, 1/sqrt(d) if None.
        generator: where the dropout seed is drawn, torch's own if None: reproducible with ``torch.manual_seed``; a
            given seed drops the same probabilities on the CPU and on a GPU.
        return_attention: also return the probabilities [..., B, H, Tq, Tk] before dropout, by plain torch (slow).

    Returns:
        [..., B, H, Tq, d] of q's dtype, or (output, probabilities). Memory order [..., B, Tq, H, d], so that
        ``transpose(-3, -2).flatten(-2)`` costs nothing. Under autocast the inputs are cast as for torch's own
        attention. Deterministic: the same bits from run to run, forward and backward.

    Raises:
        UsageError: shapes, dtypes, devices, direction, dropout or mask that do not fit; one sentence.
    """
    q, k, v = _autocast(q, k, v)
    _check(q, k, v, direction, dropout, mask)
    scale = float(q.shape[-1] ** -0.5 if scale is None else scale)
    seed = None
    if dropout > 0:
        # Drawn on the tensors' device by torch, so that CUDA graphs draw anew at every replay.
        low, high = -(2**63), 2**63 - 1
        seed = torch.randint(low, high, (2,), dtype=torch.int64, device=q.device, generator=generator)
    if return_attention or q.dtype == torch.float64:
        y, probabilities = _plain(q, k, v, mask, seed, direction, dropout, scale)
        return (y, probabilities) if return_attention else y
    numbers = (DIRECTIONS[direction], float(dropout), scale)
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return _Attention.apply(q, k, v, mask, seed, *numbers)
    return _fwd(q, k, v, mask, seed, *numbers)[0]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None, *numbers: Any
    ) -> Tensor:
        out, lse = _fwd(q, k, v, mask, seed, *numbers)
        ctx.save_for_backward(q, k, v, out, lse, mask, seed)
        ctx.numbers = numbers
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse, mask, seed = ctx.saved_tensors
        dq, dk, dv = _bwd(grads[0], q, k, v, out, lse, mask, seed, *ctx.numbers)
        return dq, dk, dv, None, None, None, None, None


def _autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """What torch's autocast does to the inputs of its own attention."""
    first = tensors[0]
    if not isinstance(first, Tensor) or not torch.is_autocast_enabled(first.device.type):
        return tensors
    dtype = torch.get_autocast_dtype(first.device.type)
    return tuple(
        t.to(dtype) if isinstance(t, Tensor) and t.is_floating_point() and t.dtype != torch.float64 else t
        for t in tensors
    )


def _check(q: Tensor, k: Tensor, v: Tensor, direction: str | None, dropout: float, mask: Tensor | None) -> None:
    for name, x in (("q", q), ("k", k), ("v", v), ("mask", q if mask is None else mask)):
        if not isinstance(x, Tensor):
            raise UsageError(f"attention: {name} is {type(x).__name__}; give a torch tensor")
    if direction not in DIRECTIONS:
        raise UsageError(f"attention: direction is {direction!r}; choose None, 'forward', 'backward' or 'both'")
    if not 0 <= dropout < 1:
        raise UsageError(f"attention: dropout is {dropout}; give a probability of at least 0 and below 1")
    _check_shapes(q, k, v, direction)
    if q.dtype != k.dtype or q.dtype != v.dtype or q.dtype not in (*DTYPES, torch.float64):
        raise UsageError(
            f"attention: q, k, v are {q.dtype}, {k.dtype}, {v.dtype}; "
            "give one type of float32, float16, bfloat16, float64"
        )
    if mask is not None and (mask.dtype != torch.bool or mask.shape != (q.shape[-4], k.shape[-2])):
        raise UsageError(
            f"attention: the mask is {mask.dtype} of shape {list(mask.shape)}; "
            f"give booleans of shape {[q.shape[-4], k.shape[-2]]}, True where a key counts"
        )
    if q.device != k.device or q.device != v.device or (mask is not None and mask.device != q.device):
        places = ", ".join(str(x.device) for x in (q, k, v, mask) if x is not None)
        raise UsageError(f"attention: the tensors are on {places}; move them to one device")
    if q.device.type not in ("cpu", "cuda", "meta"):
        raise UsageError(f"attention: the tensors are on {q.device}; the kernels run on the CPU and on CUDA devices")


def _check_shapes(q: Tensor, k: Tensor, v: Tensor, direction: str | None) -> None:
    axes = "[2, B, H, T, d]" if direction == "both" else "[B, H, T, d]"
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim != (5 if direction == "both" else 4) or (direction == "both" and x.shape[0] != 2):
            raise UsageError(f"attention: {name} has shape {list(x.shape)}; direction={direction!r} needs {axes}")
    if k.shape != v.shape or q.shape[:-2] != k.shape[:-2] or q.shape[-1] != k.shape[-1]:
        raise UsageError(
            f"attention: q {list(q.shape)}, k {list(k.shape)} and v {list(v.shape)} do not fit; "
            "only q's number of time steps may differ"
        )
    if not 1 <= q.shape[-1] <= WIDEST:
        raise UsageError(f"attention: heads are {q.shape[-1]} wide; give 1 to {WIDEST}, or use torch's attention")
    if max(q.shape[-2], k.shape[-2]) > LONGEST:
        raise UsageError(
            f"attention: {q.shape[-2]} queries and {k.shape[-2]} keys; give at most {LONGEST}, or use torch's attention"
        )


def _plain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    direction: str | None,
    dropout: float,
    scale: float,
) -> tuple[Tensor, Tensor]:
    keep, rate = None, 1.0
    if seed is not None:
        lead, (queries, keys) = q.shape[:-2], (q.shape[-2], k.shape[-2])
        keep, rate = reference.dropout_keep(seed, lead.numel(), queries, keys, dropout)
        keep = keep.view(*lead, queries, keys)
    return reference.attention(q, k, v, direction, mask, scale, keep, rate)


def _rows(x: Tensor) -> Tensor:
    """The tensor with a dense last axis."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def _place(x: Tensor) -> tuple[int, ...]:
    """Address and strides of the axes (direction, batch, head, time)."""
    return (x.data_ptr(), *((0,) * (5 - x.ndim)), *x.stride()[:-1])


def _sizes(q: Tensor, k: Tensor, direction: int) -> tuple[int, ...]:
    directions = q.shape[0] if q.ndim == 5 else 1
    return (directions, *q.shape[-4:-1], k.shape[-2], q.shape[-1], direction, DTYPES[q.dtype])


def _time_first(x: Tensor) -> Tensor:
    """Empty, of the shape of x [..., H, T, d] but laid out [..., T, H, d]."""
    *lead, heads, time, width = x.shape
    return x.new_empty((*lead, time, heads, width)).transpose(-3, -2)


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def launch_fwd(
    call: Any,
    where: tuple[int, ...],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    direction: int,
    dropout: float,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Allocate and launch; ``call`` is a module's attention_fwd_cpu or _cuda, ``where`` threads or (device, stream)."""
    q, k, v = _rows(q), _rows(k), _rows(v)
    out, lse = _time_first(q), q.new_empty(q.shape[:-1], dtype=torch.float32)
    mask = None if mask is None else mask.contiguous()
    if out.numel():
        places = (_place(x) for x in (q, k, v, out))
        call(_sizes(q, k, direction), scale, dropout, *places, lse.data_ptr(), _address(mask), _address(seed), *where)
    return out, lse


def launch_bwd(
    call: Any,
    where: tuple[int, ...],
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    direction: int,
    dropout: float,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``launch_fwd``, for the gradients of q, k and v."""
    grad, q, k, v, out = _rows(grad), _rows(q), _rows(k), _rows(v), _rows(out)
    lse, mask = lse.contiguous(), None if mask is None else mask.contiguous()
    dq, dk, dv = _time_first(q), _time_first(k), _time_first(v)
    if q.numel() or k.numel():
        places = (_place(x) for x in (grad, q, k, v, out, dq, dk, dv))
        call(_sizes(q, k, direction), scale, dropout, *places, lse.data_ptr(), _address(mask), _address(seed), *where)
    return dq, dk, dv


def _fwd_cpu(q: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return launch_fwd(native().attention_fwd_cpu, (torch.get_num_threads(),), q, *rest)


def _bwd_cpu(grad: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return launch_bwd(native().attention_bwd_cpu, (torch.get_num_threads(),), grad, *rest)


def _cuda_kernels() -> ModuleType:
    module = native()
    if not hasattr(module, "attention_fwd_cuda"):
        raise UsageError(
            "attention: chordfast was built without CUDA; rebuild it where nvcc is found, or use CPU tensors"
        )
    return module


def _fwd_cuda(q: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return launch_fwd(_cuda_kernels().attention_fwd_cuda, stream_of(q), q, *rest)


def _bwd_cuda(grad: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return launch_bwd(_cuda_kernels().attention_bwd_cuda, stream_of(grad), grad, *rest)


def _fwd_fake(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return _time_first(q), q.new_empty(q.shape[:-1], dtype=torch.float32)


def _bwd_fake(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _time_first(q), _time_first(k), _time_first(v)


_NUMBERS = "Tensor? mask, Tensor? seed, int direction, float dropout, float scale"
_fwd = define(
    "_attention_fwd",
    f"(Tensor q, Tensor k, Tensor v, {_NUMBERS}) -> (Tensor, Tensor)",
    cpu=_fwd_cpu,
    cuda=_fwd_cuda,
    fake=_fwd_fake,
)
_bwd = define(
    "_attention_bwd",
    f"(Tensor grad, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, {_NUMBERS}) -> (Tensor, Tensor, Tensor)",
    cpu=_bwd_cpu,
    cuda=_bwd_cuda,
    fake=_bwd_fake,
)
