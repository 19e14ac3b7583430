"""The distillation loss on every backend against stored results of the published code and the float64 reference."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import backends
import numpy as np
import pytest
import torch
from kd_loss_cases import MODULE, assert_same, check_golden, problem, route_to_simt, run

from chordfast._native import native
from chordfast.errors import UsageError
from chordfast.ops import kd_loss
from chordfast.reference.kd_loss import KDLossTruth
from chordfast.reference.kd_loss import kd_loss as truth

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture(params=backends.params())
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its name; for ``simt`` the public function then runs the CUDA source on the host."""
    if request.param == "simt":
        route_to_simt(monkeypatch)
    return request.param


@pytest.mark.parametrize("classes,cases", [(25, 35), (170, 35)])
def test_losses_and_gradients_of_the_published_code(backend: str, classes: int, cases: int) -> None:
    assert check_golden(backend, classes, torch.float32) == cases


@pytest.mark.parametrize("classes", [25, 170])
def test_published_code_in_float64(classes: int) -> None:
    check_golden("cpu", classes, torch.float64)


@pytest.mark.parametrize("level", ["plain", "avx2"])
def test_every_simd_level(level: str) -> None:
    code = (
        "import sys, torch; sys.path[:0] = sys.argv[1:]; import test_kd_loss as t; "
        "[t.check_golden('cpu', c, torch.float32) for c in (25, 170)]; "
        "[t.test_any_options_agree_with_the_reference('cpu', seed) for seed in range(12)]; "
        "print(t.native().build_info()['simd'])"
    )
    folders = [str(Path(__file__).parent), str(Path(backends.__file__).parent)]
    result = subprocess.run(
        [sys.executable, "-c", code, *folders],
        env={"CHORDFAST_SIMD": level},
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == level or native().build_info()["simd"] == "plain"


@pytest.mark.parametrize("seed", range(24))
def test_any_options_agree_with_the_reference(backend: str, seed: int) -> None:
    r = np.random.default_rng(seed)
    torch.manual_seed(seed)

    def pick(*values: Any) -> Any:
        return values[r.integers(len(values))]

    classes, rows = (1, 2, 25, 170, 171, 1000, 172, 301)[seed % 8], pick(0, 1, 2, 7, 33, 70)
    dtype = pick(*FLOATS, torch.float64 if backend == "cpu" else torch.float32)
    shape = pick((rows,), (1, rows), (rows, 1))
    student, teacher = (torch.randn(*shape, classes, dtype=torch.float64) * pick(0.1, 3, 8) for _ in range(2))
    student, teacher = student.to(dtype), teacher.to(dtype)
    if pick(True, False):  # every second class of a wider tensor
        wide = torch.full((*shape, 2 * classes), torch.nan, dtype=dtype)
        wide[..., ::2] = teacher
        teacher = wide[..., ::2]
    target = torch.randint(0, classes, shape)
    ignore = pick(-100, classes + 3, None)
    if ignore is not None:
        target[torch.rand(shape) < 0.2] = ignore
    options = {
        "mask": pick(None, torch.rand(shape) < 0.7, torch.ones(shape, dtype=torch.bool)),
        "temperature": pick(1.0, 2.0, 3.0, 4.0, 5.0, 0.7, 2.5),
        "alpha": pick(0.0, 0.3, 0.9, 1.0),
        "gamma": pick(0.0, 0.5, 1.0, 2.0, 3.7),
        "selective": pick(None, (0.1, 0.9), (0.3, 0.7), (0.0, 1.0)),
        "class_weights": pick(None, torch.rand(classes) + 0.5),
        "ignore_index": ignore,
    }
    found = run(backend, student, teacher, target, **options)
    assert_same(found, truth(student.double(), teacher.double(), target, **options), dtype, options["temperature"])


def test_the_reference_gradient_is_its_own_derivative() -> None:
    student, teacher, target = problem(9, 7, dtype=torch.float64)
    for options in ({}, {"gamma": 0.5, "alpha": 0.7}, {"selective": None, "temperature": 1.5}, {"gamma": 0.0}):
        z = student.clone().requires_grad_()
        result = truth(z, teacher, target, **options)
        (slope,) = torch.autograd.grad(result.loss, z)
        assert torch.allclose(slope, result.gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("classes", [1, 25, 32, 100, 170, 171, 256, 300, 301, 304, 512, 515])
def test_threads_and_blocks_in_any_order(classes: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each width of loads and number of loads has its kernel; all must not care which thread comes first."""
    if reason := backends.why_no_simt():
        pytest.skip(reason)
    route_to_simt(monkeypatch)
    student, teacher, target = problem(37, classes, dtype=dtype)
    mask = torch.rand(37) < 0.8
    found = backends.same_under_all_schedules(lambda: tuple(run("simt", student, teacher, target, mask=mask)))
    assert_same(KDLossTruth(*found), truth(student.double(), teacher.double(), target, mask), dtype)


def test_many_blocks_and_counts_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := backends.why_no_simt():
        pytest.skip(reason)
    route_to_simt(monkeypatch)
    student, teacher, target = problem(2100, 2)
    target[::3] = -100
    found = backends.same_under_all_schedules(lambda: tuple(run("simt", student, teacher, target)))
    assert_same(KDLossTruth(*found), truth(student.double(), teacher.double(), target), torch.float32)


def test_result_does_not_depend_on_threads_or_the_run(backend: str) -> None:
    student, teacher, target = problem(700, 170)
    first = run(backend, student, teacher, target)
    assert backends.bits(list(run(backend, student, teacher, target))) == backends.bits(list(first))
    if backend != "cpu":
        return
    rest = (-100, True, 3.0, 0.3, 2.0, 0.1, 0.9, True)
    results = [
        MODULE._call(native().kd_loss_fwd_cpu, (student, teacher, target, None, None), None, rest, threads)
        for threads in (1, 2, 3, 16)
    ]
    assert all(backends.bits(list(r)) == backends.bits(list(results[0])) for r in results)


def test_rows_that_do_not_exist_do_not_matter(backend: str) -> None:
    student, teacher, target = problem(40, 170)
    mask = torch.arange(40) % 3 != 1
    dirty_student, dirty_teacher, dirty_target = student.clone(), teacher.clone(), target.clone()
    dirty_student[~mask] = torch.nan
    dirty_teacher[~mask] = torch.inf
    dirty_target[~mask] = 12345
    found = run(backend, dirty_student, dirty_teacher, dirty_target, mask=mask)
    assert_same(found, truth(student.double(), teacher.double(), target, mask), torch.float32)
    assert (found.gradient[~mask] == 0).all()
    kept = run(backend, student[mask], teacher[mask], target[mask])
    assert torch.allclose(found.gradient[mask], kept.gradient, rtol=1e-5) and int(found.rows) == int(kept.rows) == 27
    by_index = torch.where(mask, target, -1)
    other = run(backend, dirty_student, dirty_teacher, by_index, ignore_index=-1)
    assert backends.bits(list(other)) == backends.bits(list(found))


@pytest.mark.parametrize("rows", [0, 5])
def test_nothing_to_count_gives_zero(backend: str, rows: int) -> None:
    student, teacher, target = problem(rows, 25)
    found = run(backend, student, teacher, target, mask=torch.zeros(rows, dtype=torch.bool))
    assert [x.item() for x in found[:6]] == [0] * 6
    assert found.gradient.shape == student.shape and (found.gradient == 0).all()


def test_minus_infinity_is_a_probability_of_zero(backend: str) -> None:
    student, teacher, target = problem(6, 25)
    student[:, 3] = teacher[:, 3] = -torch.inf
    teacher[1, 4] = -torch.inf
    target[:] = 7
    found = run(backend, student, teacher, target)
    assert_same(found, truth(student.double(), teacher.double(), target), torch.float32)
    assert torch.isfinite(found.loss) and (found.gradient[:, 3] == 0).all()
    for wanted_by in ("teacher", "target"):
        impossible = student.clone()
        impossible[2, 5 if wanted_by == "teacher" else 7] = -torch.inf
        found = run(backend, impossible, teacher, target, selective=None)
        assert found.loss.item() == torch.inf and torch.isfinite(found.gradient).all()
    dropped = run(backend, impossible, teacher, None, selective=(1.0, 1.0))  # no teacher is that sure
    assert dropped.loss.item() == 0 and dropped.dropped.item() == 1 and (dropped.gradient == 0).all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", ["student", "teacher", "student at the target"])
def test_what_is_not_finite_shows_in_the_loss(backend: str, value: float, place: str) -> None:
    student, teacher, target = problem(6, 170)
    (teacher if place == "teacher" else student)[2, target[2] if "target" in place else 160] = value
    assert run(backend, student, teacher, target).loss.isnan()
    alone = run(backend, student, teacher, target, mask=torch.arange(6) != 2)
    assert torch.isfinite(alone.loss) and torch.isfinite(alone.gradient).all()


def test_certain_rows_have_no_focal_gradient_left(backend: str) -> None:
    student, _, target = problem(4, 25)
    student[0, target[0]] = 500.0
    for gamma in (0.5, 1.0, 2.0):
        found = run(backend, student, None, target, gamma=gamma)
        assert torch.isfinite(found.loss) and (found.gradient[0] == 0).all() and found.gradient[1].abs().max() > 0
    nearly = torch.tensor([[18.0, 0.0, 0.0]], dtype=torch.float32)  # 1 - p = 3e-8, below float32's step at 1
    found = run(backend, nearly, None, torch.tensor([0]), gamma=0.0)
    assert found.loss.item() == pytest.approx(np.log1p(2 * np.exp(-18.0)), rel=1e-6)


def test_a_target_that_is_no_class(backend: str) -> None:
    student, teacher, target = problem(5, 25)
    target[3] = 25
    if backend == "cpu":
        with pytest.raises(
            UsageError, match=r"target of row 3 is 25, .* none of the 25 classes; mask such rows or give"
        ):
            kd_loss(student, teacher, target)
        return
    found = run(backend, student, teacher, target)
    assert found.loss.isnan() and found.gradient[3].isnan().all() and torch.isfinite(found.gradient[:3]).all()


def test_a_negative_mix_is_cut_at_zero(backend: str) -> None:
    student, teacher, target = problem(8, 25)
    options = {"class_weights": -torch.ones(25), "gamma": 0.0}
    found = run(backend, student, teacher, target, **options)
    assert found.loss.item() == 0 and found.hard.item() < 0 < found.kd.item() and (found.gradient == 0).all()
    alone = run(backend, student, None, target, **options)
    assert alone.loss.item() == alone.hard.item() < 0 and alone.gradient.abs().max() > 0


@pytest.mark.parametrize("dtype", FLOATS)
def test_gradient_follows_what_comes_from_above(backend: str, dtype: torch.dtype) -> None:
    student, teacher, target = problem(33, 171, dtype=dtype)
    wanted = truth(student.double(), teacher.double(), target)
    found = run(backend, student, teacher, target, scale=1024.0)
    assert_same(found._replace(gradient=found.gradient.double() / 1024), wanted, dtype)


def test_float16_keeps_small_gradients_under_a_loss_scale() -> None:
    student, teacher, target = problem(4096, 170, dtype=torch.float16)
    found = run("cpu", student, teacher, target, scale=65536.0)
    wanted = truth(student.double(), teacher.double(), target).gradient * 65536
    small = (wanted.abs() > 1e-4) & (wanted.abs() < 1e-2)  # below 2^-24 once divided by 65536
    assert small.sum() > 1000
    assert (
        (found.gradient.double() - wanted).abs()[small] <= wanted.abs()[small] * 2e-3 + 65536 / 4096 * 2.0**-24
    ).all()


def test_graph_used_twice_and_added_up(backend: str) -> None:
    device = backends.device(backend)
    student, teacher, target = (x.to(device) for x in problem(6, 25))
    student.requires_grad_()
    loss = kd_loss(student, teacher, target)
    (first,) = torch.autograd.grad(loss, student, retain_graph=True)
    (second,) = torch.autograd.grad(loss, student, torch.tensor(3.0, device=device), retain_graph=True)
    (third,) = torch.autograd.grad(loss, student)
    assert torch.equal(first, third) and torch.allclose(second, 3 * first)
    third.zero_()
    assert first.abs().max() > 0
