"""Problems, stored results and comparisons of the distillation loss, for its tests."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import backends
import numpy as np
import pytest
import torch

from chordfast.ops import kd_loss
from chordfast.reference.kd_loss import KDLossTruth

GOLDEN = Path(__file__).parents[1] / "golden" / "kd_loss.npz"
MODULE = importlib.import_module("chordfast.ops.kd_loss")
Tensor = torch.Tensor


def route_to_simt(monkeypatch: pytest.MonkeyPatch) -> None:
    simt = backends.module("simt")

    def scaled(gradient: Tensor, grad_output: Tensor, stats: Tensor) -> Tensor:
        out = torch.empty_like(gradient)
        MODULE._launch_bwd(simt, 0, 0, gradient, grad_output, stats, out)
        return out

    def in_place(gradient: Tensor, grad_output: Tensor, stats: Tensor) -> None:
        MODULE._launch_bwd(simt, 0, 0, gradient, grad_output, stats, gradient)

    monkeypatch.setattr(MODULE, "_fwd", lambda *arguments: MODULE._launch_fwd(simt, 0, 0, *arguments))
    monkeypatch.setattr(MODULE, "_bwd", scaled)
    monkeypatch.setattr(MODULE, "_bwd_in_place", in_place)


def problem(rows: int = 12, classes: int = 25, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    student = (torch.randn(rows, classes, generator=g) * 3).to(dtype)
    teacher = (torch.randn(rows, classes, generator=g) * 5).to(dtype)
    return student, teacher, torch.randint(0, classes, (rows,), generator=g)


def run(backend: str, student: Tensor, *others: Any, scale: float | None = None, **options: Any) -> KDLossTruth:
    """Parts and gradient of one call, on the host."""
    device = backends.device(backend)
    student = student.detach().to(device).requires_grad_()
    moved = [None if x is None else x.to(device) for x in others]
    options = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in options.items()}
    parts = kd_loss(student, *moved, return_parts=True, **options)
    (parts.loss if scale is None else parts.loss * scale).backward()
    assert student.grad is not None
    return KDLossTruth(*(x.detach().cpu() for x in parts), student.grad.cpu())


def assert_same(found: KDLossTruth, wanted: KDLossTruth, dtype: torch.dtype, temperature: float = 3.0) -> None:
    """Numbers to 1e-6 relative in float32, gradients to 2e-6 of the largest, and to the rounding of their type.

    A divergence is a small difference of numbers of about 1, so that float32 leaves an error of 1e-7 T^2 in any case.
    """
    rounding = {torch.float32: 0.0, torch.float64: 0.0, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-10}[dtype]
    step = 1e-12 if dtype == torch.float64 else 1e-6
    for name in ("loss", "kd", "hard"):
        a, b = getattr(found, name).double(), getattr(wanted, name).double()
        assert torch.isclose(a, b, rtol=step, atol=step * max(1.0, 0.2 * temperature**2)), (name, a, b)
    for name in ("dropped", "damped", "rows"):
        assert getattr(found, name).item() == pytest.approx(getattr(wanted, name).item(), rel=1e-6), name
    if wanted.gradient.numel():
        largest = wanted.gradient.abs().max()
        tiny = 2.0**-24 / max(1, int(wanted.rows)) if dtype == torch.float16 else 0.0  # subnormal, before the division
        bound = 2 * step * largest + rounding * wanted.gradient.abs() + tiny
        error = (found.gradient.double() - wanted.gradient).abs()
        assert (error <= bound + 1e-38).all(), (error - bound).max()


def golden_cases(classes: int) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    """Case, arguments (student, teacher, target) and options of every stored loss."""
    stored = np.load(GOLDEN)
    student, teacher, target, weights = (
        torch.from_numpy(stored[f"c{classes}.{name}"]) for name in ("student", "teacher", "targets", "class_weights")
    )
    for key in stored.files:
        if not (key.startswith(f"c{classes}.") and key.endswith(".loss")):
            continue
        name = key.removesuffix(".loss")
        case = name.split(".", 1)[1]
        if case == "ce":
            yield name, [student, None, target], {"gamma": 0.0}
        elif found := re.fullmatch(r"focal_g([\d.]+)(_weighted)?", case):
            options = {"gamma": float(found[1]), "class_weights": weights if found[2] else None}
            yield name, [student, None, target], options
        elif found := re.fullmatch(r"kd_sel(\d)_T(\d)(?:_thr([\d.]+)_([\d.]+))?", case):
            thresholds = (float(found[3] or 0.1), float(found[4] or 0.9)) if found[1] == "1" else None
            yield name, [student, teacher, None], {"temperature": float(found[2]), "selective": thresholds}
        elif found := re.fullmatch(r"mix_a([\d.]+)_sel(\d)_focal(\d)", case):
            options = {"alpha": float(found[1]), "selective": (0.1, 0.9) if found[2] == "1" else None}
            yield name, [student, teacher, target], options | {"gamma": 2.0 * int(found[3])}
        else:
            raise AssertionError(f"unknown case {case}")


def check_golden(backend: str, classes: int, dtype: torch.dtype) -> int:
    stored, count = np.load(GOLDEN), 0
    tolerance = 1e-10 if dtype == torch.float64 else 1e-6
    for name, (student, teacher, target), options in golden_cases(classes):
        found = run(backend, student.to(dtype), None if teacher is None else teacher.to(dtype), target, **options)
        assert found.loss.item() == pytest.approx(stored[f"{name}.loss"].item(), rel=tolerance), name
        if f"{name}.grad" in stored:
            wanted = np.nan_to_num(stored[f"{name}.grad"])  # NaN only where the limit is 0
            error = np.abs(found.gradient.numpy()[stored[f"c{classes}.rows"]] - wanted)
            assert error.max() <= max(tolerance, 1e-7) * np.abs(wanted).max(), name
        count += 1
    return count
