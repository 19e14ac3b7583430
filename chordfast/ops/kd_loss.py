"""Distillation and focal loss, gradient in the same pass: operators ``chordfast::_kd_loss_fwd``, ``_kd_loss_bwd``."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._native import default_threads, native
from ..errors import ChordfastError, UsageError
from ._library import define, stream_of

_DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.float64: 3}
_STATS = 5  # distillation, hard loss, dropped and damped shares, what the gradient has still to be multiplied with

Outputs = tuple[Tensor, Tensor, Tensor, Tensor]  # loss, stats, number of rows, gradient (of no size if not wanted)


class KDLossParts(NamedTuple):
    """The loss and what it is made of, each a tensor of no dimension on the logits' device.

    loss: what ``kd_loss`` returns without ``return_parts``; it alone carries the gradient. kd, hard: the two parts
    before mixing, 0 where absent. dropped, damped: shares (0 ... 1) of the rows whose teacher was too unsure to be
    followed, and so sure that it was followed less. rows: how many rows counted (int64), the divisor of all of these.
    """

    loss: Tensor
    kd: Tensor
    hard: Tensor
    dropped: Tensor
    damped: Tensor
    rows: Tensor


class _Settings(NamedTuple):
    """The operator's arguments after the tensors."""

    ignore_index: int | None
    selective: bool
    temperature: float
    alpha: float
    gamma: float
    low: float
    high: float
    gradient: bool


def _outputs(student: Tensor, gradient: bool) -> Outputs:
    number = torch.promote_types(student.dtype, torch.float32)
    return (
        student.new_empty((), dtype=number),
        student.new_empty((_STATS,), dtype=number),
        student.new_empty((), dtype=torch.int64),
        torch.empty(student.shape if gradient else (0,), dtype=student.dtype, device=student.device),
    )


def _call(
    function: Any, tensors: tuple[Tensor | None, ...], workspace: Tensor | None, rest: Any, *where: int
) -> Outputs:
    """Calls a native function of any module: tensors are student, teacher, target, mask, class_weights."""
    settings = _Settings(*rest)
    dense = [None if x is None else x.contiguous() for x in tensors]
    student = dense[0]
    assert student is not None
    loss, stats, rows, gradient = _outputs(student, settings.gradient)
    pointers = (*dense, gradient if settings.gradient else None, loss, stats, rows, workspace)
    classes = student.shape[-1]
    ignore = settings.ignore_index
    function(
        [0 if x is None else x.data_ptr() for x in pointers],
        (
            student.numel() // classes,
            classes,
            _DTYPES[student.dtype],
            ignore or 0,
            ignore is not None,
            settings.selective,
        ),
        settings[2:7],
        *where,
    )
    return loss, stats, rows, gradient


def _fwd_cpu(student: Tensor, teacher: Any, target: Any, mask: Any, class_weights: Any, *rest: Any) -> Outputs:
    threads = max(1, min(default_threads(), torch.get_num_threads(), student.numel() // 100_000))
    tensors = (student, teacher, target, mask, class_weights)
    try:
        return _call(native().kd_loss_fwd_cpu, tensors, None, rest, threads)
    except ValueError as error:
        raise _bad_target(student, target, mask, rest[0]) or error from error


def _bad_target(student: Tensor, target: Tensor, mask: Tensor | None, ignore: int | None) -> Exception | None:
    """What to say of the first target that is no class, if there is one."""
    flat, classes = target.reshape(-1), student.shape[-1]
    bad = (flat < 0) | (flat >= classes)
    if mask is not None:
        bad &= mask.reshape(-1)
    if ignore is not None:
        bad &= flat != ignore
    if not bad.any():
        return None
    row = int(bad.nonzero()[0])
    return UsageError(
        f"kd_loss: the target of row {row} is {int(flat[row])}, which is none of the {classes} classes; mask such rows "
        f"or give them ignore_index ({ignore})"
    )


def _launch_fwd(module: ModuleType, device: int, stream: int, *arguments: Any) -> Outputs:
    """Forward by a module's CUDA function: ``chordfast._C`` on a GPU, ``chordfast._simt`` in tests."""
    student = arguments[0]
    bytes_needed = module.kd_loss_workspace_cuda(student.numel() // student.shape[-1])
    workspace = torch.empty(bytes_needed, dtype=torch.uint8, device=student.device)
    return _call(module.kd_loss_fwd_cuda, arguments[:5], workspace, arguments[5:], device, stream)


def _launch_bwd(module: ModuleType, device: int, stream: int, *tensors: Tensor) -> None:
    """Scales by a module's CUDA function: gradient, grad_output, stats, where the result goes."""
    gradient = tensors[0]
    pointers = (x.data_ptr() for x in tensors)
    module.kd_loss_bwd_cuda(*pointers, gradient.numel(), _DTYPES[gradient.dtype], device, stream)


def _module_for_cuda() -> ModuleType:
    module = native()
    if not hasattr(module, "kd_loss_fwd_cuda"):
        raise ChordfastError(
            "kd_loss: the tensors are on a GPU, but chordfast was built without CUDA; rebuild it with CHORDFAST_CUDA=ON"
        )
    return module


def _fwd_cuda(student: Tensor, *rest: Any) -> Outputs:
    return _launch_fwd(_module_for_cuda(), *stream_of(student), student, *rest)


def _fwd_fake(student: Tensor, *rest: Any) -> Outputs:
    return _outputs(student, rest[-1])


_fwd = define(
    "_kd_loss_fwd",
    "(Tensor student, Tensor? teacher, Tensor? target, Tensor? mask, Tensor? class_weights, int? ignore_index, "
    "bool selective, float temperature, float alpha, float gamma, float low, float high, bool gradient)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    cpu=_fwd_cpu,
    cuda=_fwd_cuda,
    fake=_fwd_fake,
)


def _scale_cpu(gradient: Tensor, *tensors: Tensor) -> None:
    threads = max(1, min(default_threads(), torch.get_num_threads(), gradient.numel() // 1_000_000))
    pointers = (x.data_ptr() for x in (gradient, *tensors))
    native().kd_loss_bwd_cpu(*pointers, gradient.numel(), _DTYPES[gradient.dtype], threads)


def _scale_cuda(gradient: Tensor, *tensors: Tensor) -> None:
    _launch_bwd(_module_for_cuda(), *stream_of(gradient), gradient, *tensors)


def _to_new(scale: Any) -> Any:
    def run(gradient: Tensor, grad_output: Tensor, stats: Tensor) -> Tensor:
        out = torch.empty_like(gradient)
        scale(gradient, grad_output.to(stats.dtype), stats, out)
        return out

    return run


def _in_place(scale: Any) -> Any:
    def run(gradient: Tensor, grad_output: Tensor, stats: Tensor) -> None:
        scale(gradient, grad_output.to(stats.dtype), stats, gradient)

    return run


_bwd = define(
    "_kd_loss_bwd",
    "(Tensor gradient, Tensor grad_output, Tensor stats) -> Tensor",
    cpu=_to_new(_scale_cpu),
    cuda=_to_new(_scale_cuda),
    fake=lambda gradient, grad_output, stats: torch.empty_like(gradient),
)
_bwd_in_place = define(
    "_kd_loss_bwd_",
    "(Tensor(a!) gradient, Tensor grad_output, Tensor stats) -> ()",
    cpu=_in_place(_scale_cpu),
    cuda=_in_place(_scale_cuda),
    fake=lambda gradient, grad_output, stats: None,
)


class _Once(torch.autograd.Function):
    """Passes a gradient on and refuses to be differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise UsageError("kd_loss: second derivatives do not exist; differentiate chordfast.reference.kd_loss instead")


class _KDLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        loss, stats, rows, gradient = _fwd(student, *rest, True)
        ctx.save_for_backward(gradient, stats)
        ctx.mark_non_differentiable(stats, rows)
        return loss, stats, rows

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor, *_: Any) -> Any:  # type: ignore[override]
        gradient, stats = ctx.saved_tensors
        nothing = (None,) * 11
        if torch.compiler.is_compiling():
            return _bwd(gradient, grad_output, stats), *nothing
        if torch.is_grad_enabled():  # create_graph=True
            return _Once.apply(_bwd(gradient, grad_output, stats).requires_grad_()), *nothing
        if not _last_use():
            return _bwd(gradient, grad_output, stats), *nothing
        _bwd_in_place(gradient, grad_output, stats)
        return gradient, *nothing


def _last_use() -> bool:
    """Whether autograd frees the graph after this backward pass, so that the saved gradient may be handed out."""
    kept = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return kept is not None and not kept()


def kd_loss(
    student: Tensor,
    teacher: Tensor | None,
    target: Tensor | None,
    mask: Tensor | None = None,
    temperature: float = 3.0,
    alpha: float = 0.3,
    gamma: float = 2.0,
    selective: tuple[float, float] | None = (0.1, 0.9),
    class_weights: Tensor | None = None,
    ignore_index: int | None = -100,
    return_parts: bool = False,
) -> Any:
    """Knowledge distillation mixed with focal loss or cross-entropy; the gradient comes from the same pass.

    With t = softmax(teacher/T), q = softmax(student/T), p the student's probability of the target, and means over the
    rows that count: kd = T² · mean(w · KL(t ‖ q)), hard = mean(ω · (1 - p)^γ · (-ln p)), loss = max(0, α·kd +
    (1 - α)·hard). w is 1, or with ``selective = (low, high)`` follows c, the largest of t: 0 where c < low, falling
    from 1 to 0.2 from c = high to c = 1, constant in the gradient (arXiv 2602.19778; focal loss Lin et al. 2017,
    distillation Hinton et al. 2015).

    Args:
        student: [..., C] logits, C ≥ 1, any number of rows (also 0), float32, bfloat16, float16, or float64 on the CPU;
            CPU or CUDA, any strides. Computed in float32 (float64 for float64).
        teacher: [..., C] logits of the same shape, dtype and device, a constant (no gradient); None: hard part only.
        target: [...] int64 class indices; None: distillation only.
        mask: [...] bool, False where a row does not exist (padding). Nothing in such a row matters, not even NaN.
        temperature: T > 0.
        alpha: 0 ... 1. At 0 and without teacher there is only the hard part, at 1 and without target only distillation.
        gamma: γ ≥ 0 of the focal loss; 0 is cross-entropy.
        selective: thresholds (low, high) of c, 0 ≤ low ≤ high ≤ 1, or None: every row with weight 1.
        class_weights: [C] ω by target class. The mean divides by M, not by the sum of ω (as
            torch.nn.functional.cross_entropy would).
        ignore_index: rows with this target do not exist either (both parts); None: no such value.
        return_parts: return ``KDLossParts`` instead of the loss alone.

    Returns:
        The loss, float32 (float64 for float64), no dimension; 0 with gradient 0 if no row counts. Gradient for
        ``student`` only, in its dtype; 0 where the mix is cut at 0. Deterministic to the bit for a given device,
        whatever the number of threads. Nothing waits for the GPU: the call can be captured in a CUDA graph.
        Logits: -inf is a probability of 0 (0 ln 0 = 0; the loss is inf where teacher or target wants such a class);
        NaN, +inf or nothing but -inf in a row that counts make the loss NaN. Where p rounds to 1 the focal term is 0.
        Targets outside 0 ... C-1 in rows that count: UsageError on the CPU; on a GPU, which would have to be waited
        for, the loss and that row's gradient are NaN.

    Raises:
        UsageError: shapes, dtypes, devices or numbers that do not fit, a second derivative; one sentence.
    """
    _check_numbers(teacher is not None, target is not None, temperature, alpha, gamma, selective)
    _check_tensors(student, teacher, target, mask, class_weights)
    if class_weights is not None:
        class_weights = class_weights.detach().to(torch.promote_types(student.dtype, torch.float32))
    if teacher is not None:
        teacher = None if alpha == 0 and target is not None else teacher.detach()
    tensors = (student, teacher, target, mask, class_weights)
    low, high = selective or (0.0, 1.0)
    ignore = None if target is None else ignore_index
    numbers = (float(temperature), float(alpha), float(gamma), float(low), float(high))
    if torch.is_grad_enabled() and student.requires_grad:
        loss, stats, rows = _KDLoss.apply(*tensors, ignore, selective is not None, *numbers)
    else:
        loss, stats, rows, _ = _fwd(*tensors, ignore, selective is not None, *numbers, False)
    return KDLossParts(loss, stats[0], stats[1], stats[2], stats[3], rows) if return_parts else loss


def _refuse(text: str) -> None:
    raise UsageError(f"kd_loss: {text}")


def _check_numbers(
    teacher: bool, target: bool, temperature: float, alpha: float, gamma: float, selective: tuple[float, float] | None
) -> None:
    if not teacher and not target:
        _refuse("neither teacher nor target was given; give at least one")
    if not 0 <= alpha <= 1:
        _refuse(f"alpha is {alpha}; give the share of distillation, 0 to 1")
    if (not teacher and alpha == 1) or (not target and alpha == 0):
        _refuse(f"alpha = {alpha} asks for the {'teacher' if alpha else 'target'} alone, which was not given")
    if not (math.isfinite(temperature) and temperature > 0):
        _refuse(f"temperature is {temperature}; give a finite number above 0")
    if not (math.isfinite(gamma) and gamma >= 0):
        _refuse(f"gamma is {gamma}; give a finite number of at least 0")
    if selective is not None and not (
        isinstance(selective, (tuple, list)) and len(selective) == 2 and 0 <= selective[0] <= selective[1] <= 1
    ):
        _refuse(f"selective is {selective!r}; give thresholds (low, high) with 0 <= low <= high <= 1, or None")


def _check_tensors(student: Tensor, *others: Tensor | None) -> None:
    if not isinstance(student, Tensor):
        _refuse(f"the student is {type(student).__name__}; give a torch tensor of logits [..., C]")
    if student.ndim == 0 or student.shape[-1] == 0:
        _refuse(f"student logits of shape {tuple(student.shape)} have no classes; give [..., C]")
    if student.dtype not in _DTYPES:
        _refuse(f"student logits are {student.dtype}; give float32, bfloat16, float16 or (CPU only) float64")
    if student.device.type not in ("cpu", "cuda", "meta"):
        _refuse(f"student logits are on {student.device}; move everything to the CPU or a CUDA device")
    if student.dtype == torch.float64 and student.device.type == "cuda":
        _refuse("float64 logits are for the CPU only; convert them to float32")
    shape = tuple(student.shape)
    wanted = (
        ("teacher", shape, (student.dtype,)),
        ("target", shape[:-1], (torch.int64,)),
        ("mask", shape[:-1], (torch.bool,)),
        ("class_weights", shape[-1:], tuple(_DTYPES)),
    )
    for tensor, (name, needed, dtypes) in zip(others, wanted, strict=True):
        if tensor is None:
            continue
        if not isinstance(tensor, Tensor):
            _refuse(f"{name} is {type(tensor).__name__}; give a torch tensor")
        if tuple(tensor.shape) != needed:
            _refuse(f"{name} has shape {tuple(tensor.shape)}; student logits {shape} need {needed}")
        if tensor.dtype not in dtypes:
            _refuse(f"{name} is {tensor.dtype}; convert it to {dtypes[0]}")
        if tensor.device != student.device:
            _refuse(f"{name} is on {tensor.device} and student on {student.device}; move them to one device")
