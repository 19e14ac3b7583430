"""Distillation plus focal loss with its gradient, one thread, against what one would otherwise write, in the same run.

    python -m pytest benchmarks/bench_kd_loss.py

170 classes, temperature 3, alpha 0.3, gamma 2, thresholds 0.1 and 0.9; the student's logits need a gradient, a call is
the loss and its gradient. "eager" is the training code as it is usually written (boolean indexing, ``if high.any()``),
"eager, no waiting" the same with torch.where, which a GPU need not be waited for and torch.compile takes whole. The
providers run in turn, round after round; medians of CPU time of this process. benchmarks/gpu_bench.py measures a GPU.
With CHORDFAST_RESULTS=benchmarks/results the numbers are kept for benchmarks/report.py.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import records
import torch
import torch.nn.functional as F
from torch import Tensor

from chordfast import ops
from chordfast._native import native
from chordfast.reference.kd_loss import kd_loss as truth

Provider = Callable[[Tensor, Tensor, Tensor], Tensor]
TEMPERATURE, ALPHA, GAMMA, LOW, HIGH = 3.0, 0.3, 2.0, 0.1, 0.9
ROUNDS = 9


def chordfast(student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
    return ops.kd_loss(student, teacher, target, None, TEMPERATURE, ALPHA, GAMMA, (LOW, HIGH))


def _mixed(student: Tensor, divergence: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    distilled = (weight * divergence).mean() * TEMPERATURE**2
    log_p = F.log_softmax(student, -1).gather(-1, target[:, None])[:, 0]
    focal = ((1 - log_p.exp()) ** GAMMA * -log_p).mean()
    return torch.clamp(ALPHA * distilled + (1 - ALPHA) * focal, min=0)


def eager(student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
    log_soft = F.log_softmax(student.float() / TEMPERATURE, -1)
    soft = F.softmax(teacher.float() / TEMPERATURE, -1)
    confidence = soft.max(-1).values
    weight = torch.ones_like(confidence)
    weight[confidence < LOW] = 0
    high = confidence > HIGH
    if high.any():
        weight[high] = torch.clamp(1 - 0.8 * (confidence[high] - HIGH) / (1 - HIGH + 1e-8), 0, 1)
    return _mixed(student.float(), F.kl_div(log_soft, soft, reduction="none").sum(-1), weight, target)


def eager_without_waiting(student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
    log_soft = F.log_softmax(student.float() / TEMPERATURE, -1)
    log_teach = F.log_softmax(teacher.float() / TEMPERATURE, -1)
    soft = log_teach.exp()
    confidence = soft.amax(-1)
    damped = torch.clamp(1 - 0.8 * (confidence - HIGH) / (1 - HIGH + 1e-8), 0, 1)
    weight = torch.where(confidence > HIGH, damped, torch.where(confidence < LOW, 0.0, 1.0))
    return _mixed(student.float(), (soft * (log_teach - log_soft)).sum(-1), weight, target)


def providers() -> dict[str, Provider]:
    """chordfast first."""
    return {
        "chordfast": chordfast,
        "torch eager": eager,
        "torch eager, no waiting": eager_without_waiting,
        "torch.compile of that": torch.compile(eager_without_waiting, fullgraph=True, dynamic=False),
    }


def inputs(rows: int, device: str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    logits = [(torch.randn(rows, 170, generator=g) * spread).to(device, dtype) for spread in (3, 5)]
    return logits[0].requires_grad_(), logits[1], torch.randint(0, 170, (rows,), generator=g).to(device)


def step(provider: Provider, student: Tensor, teacher: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    loss = provider(student, teacher, target)
    (gradient,) = torch.autograd.grad(loss, student)
    return loss.detach(), gradient


def error_of(provider: Provider, data: tuple[Tensor, ...]) -> float:
    """The larger of the loss's relative error and the gradient's largest one, relative to its largest value."""
    student, teacher, target = data
    wanted = truth(student.detach().double(), teacher.double(), target, None, TEMPERATURE, ALPHA, GAMMA, (LOW, HIGH))
    loss, gradient = step(provider, *data)
    error = (gradient.double() - wanted.gradient).abs().max() / wanted.gradient.abs().max()
    return max((loss.double() / wanted.loss - 1).abs().item(), error.item())


def limit_of(dtype: torch.dtype) -> float:
    """What a right result may differ by: half a step of the gradient's type and float32's rounding."""
    return 1e-5 + {torch.float32: 0.0, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}[dtype]


@pytest.mark.parametrize("rows", [3456, 13824])
def bench_kd_loss(rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        data, candidates = inputs(rows), providers()
        errors = {name: error_of(provider, data) for name, provider in candidates.items()}  # and a warm-up
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(ROUNDS):
            for name, provider in candidates.items():
                repeats = 10 if name == "chordfast" else 2
                started = time.process_time()
                for _ in range(repeats):
                    step(provider, *data)
                times[name].append((time.process_time() - started) / repeats)
        case, limit = f"{rows} x 170, float32", limit_of(torch.float32)
        found = [
            records.row("kd_loss", case, "loss + gradient", name, statistics.median(values), errors[name], limit,
                        how="CPU time, 1 thread", bytes=rows * 170 * 12)
            for name, values in times.items()
        ]  # fmt: skip
        with capsys.disabled():
            print(f"\nkd_loss and its gradient, {case}, 1 thread, {native().build_info()['simd']}")
            print(f"{'provider':26}{'ms':>9}{'ns a row':>10}{'chordfast is':>14}{'error':>10}")
            for each in found:
                ratio = each["seconds"] / found[0]["seconds"]
                own = f"{each['seconds'] * 1e3:9.3f}{each['seconds'] / rows * 1e9:10.1f}"
                print(f"{each['provider']:26}{own}{ratio:13.2f}x{each['error']:10.1e}")
            records.save_if_asked(found, "cpu", f"kd_loss-{rows}")
    finally:
        torch.set_num_threads(before)
