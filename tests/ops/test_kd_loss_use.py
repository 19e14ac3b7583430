"""The distillation loss in torch: derivatives, compilation, autocast, graphs, wrong arguments, the module."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import backends
import pytest
import torch
from kd_loss_cases import MODULE, problem

from chordfast import nn, ops
from chordfast.errors import UsageError
from chordfast.ops import kd_loss
from chordfast.reference.kd_loss import kd_loss as truth

Tensor = torch.Tensor


def test_first_derivative_with_graph_and_no_second() -> None:
    student, teacher, target = problem(4, 25, dtype=torch.float64)
    student.requires_grad_()
    (slope,) = torch.autograd.grad(kd_loss(student, teacher, target), student, create_graph=True)
    assert torch.allclose(slope, truth(student.detach(), teacher, target).gradient)
    with pytest.raises(UsageError, match="second derivatives do not exist"):
        slope.square().sum().backward()


def test_gradcheck_in_float64() -> None:
    student, teacher, target = problem(5, 7, dtype=torch.float64)
    mask = torch.tensor([True, True, False, True, True])
    for options in ({}, {"gamma": 0.5, "temperature": 1.7}, {"alpha": 1.0, "selective": None}):
        z = student.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, o=options: kd_loss(x, teacher, target, mask, **o), (z,))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=backends.needs_cuda())])
def test_raw_operators_keep_the_rules(device: str) -> None:
    student, teacher, target = (x.to(device) for x in problem(6, 25))
    mask = torch.ones(6, dtype=torch.bool, device=device)
    raw = torch.ops.chordfast
    for tensors in (
        (student, teacher, target, mask, None),
        (student, None, target, None, torch.ones(25, device=device)),
    ):
        for gradient in (True, False):
            arguments = (*tensors, -100, True, 3.0, 0.3, 2.0, 0.1, 0.9, gradient)
            torch.library.opcheck(raw._kd_loss_fwd.default, arguments)
    _, stats, _, gradient = raw._kd_loss_fwd(
        student, teacher, target, mask, None, -100, True, 3.0, 0.3, 2.0, 0.1, 0.9, True
    )
    for operator in (raw._kd_loss_bwd.default, raw._kd_loss_bwd_.default):
        torch.library.opcheck(operator, (gradient, torch.tensor(2.0, device=device), stats))


@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=backends.needs_cuda())])
def test_compiled_whole(device: str, compiler: str) -> None:
    student, teacher, target = (x.to(device) for x in problem(6, 25))

    def step(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        parts = kd_loss(x * 2, teacher, target, mask, return_parts=True)
        return parts.loss * 3, parts.dropped

    mask = torch.arange(6, device=device) != 1
    compiled = torch.compile(step, fullgraph=True, backend=compiler)
    results = []
    for function in (step, compiled, compiled):
        x = student.clone().requires_grad_()
        loss, dropped = function(x, mask)
        loss.backward()
        results.append((loss.detach(), dropped, x.grad))
    for found in results[1:]:
        for a, b in zip(found, results[0], strict=True):
            assert torch.allclose(a, b, rtol=1e-6, atol=1e-9)


def test_autocast_gives_a_float32_loss_for_bfloat16_logits() -> None:
    layer = torch.nn.Linear(8, 25)
    x, (_, teacher, target) = torch.randn(6, 8), problem(6, 25)
    with torch.autocast("cpu", torch.bfloat16):
        logits = layer(x)
        loss = kd_loss(logits, teacher.bfloat16(), target)
    assert logits.dtype == torch.bfloat16 and loss.dtype == torch.float32
    loss.backward()
    wanted = truth(logits.detach().double(), teacher.bfloat16().double(), target)
    assert loss.item() == pytest.approx(wanted.loss.item(), rel=1e-6)
    assert layer.weight.grad is not None
    assert torch.allclose(layer.weight.grad, (wanted.gradient.T @ x.double()).float(), rtol=2e-2, atol=1e-3)


def test_no_gradient_is_computed_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher, target = problem(6, 25)
    wanted: list[bool] = []
    raw = MODULE._fwd
    monkeypatch.setattr(MODULE, "_fwd", lambda *a: (wanted.append(a[-1]), raw(*a))[1])
    assert not kd_loss(student, teacher, target).requires_grad
    with torch.no_grad():
        assert not kd_loss(student.requires_grad_(), teacher, target).requires_grad
    assert kd_loss(student, teacher.requires_grad_(), target).requires_grad  # the teacher is a constant all the same
    assert wanted == [False, False, True]


STUDENT, TEACHER, TARGET = problem(4, 25)


@pytest.mark.parametrize(
    "arguments,options,message",
    [
        ((None, TEACHER, TARGET), {}, "the student is NoneType; give a torch tensor of logits"),
        ((torch.zeros(4, 0), None, TARGET), {}, r"shape \(4, 0\) have no classes"),
        ((STUDENT.long(), TEACHER, TARGET), {}, "student logits are torch.int64; give float32"),
        ((STUDENT, None, None), {}, "neither teacher nor target"),
        ((STUDENT, TEACHER[:, :24], TARGET), {}, r"teacher has shape \(4, 24\); .* need \(4, 25\)"),
        ((STUDENT, TEACHER.double(), TARGET), {}, "teacher is torch.float64; convert it to torch.float32"),
        ((STUDENT, TEACHER, TARGET[:3]), {}, r"target has shape \(3,\); .* need \(4,\)"),
        ((STUDENT, TEACHER, TARGET.int()), {}, "target is torch.int32; convert it to torch.int64"),
        ((STUDENT, TEACHER, TARGET, TARGET), {}, "mask is torch.int64; convert it to torch.bool"),
        ((STUDENT, TEACHER, TARGET, [True] * 4), {}, "mask is list; give a torch tensor"),
        ((STUDENT, TEACHER.to("meta"), TARGET), {}, "teacher is on meta and student on cpu; move them to one device"),
        ((STUDENT, TEACHER, TARGET), {"class_weights": torch.ones(24)}, r"class_weights has shape \(24,\)"),
        ((STUDENT, TEACHER, TARGET), {"temperature": 0.0}, "temperature is 0.0; give a finite number above 0"),
        ((STUDENT, TEACHER, TARGET), {"temperature": float("nan")}, "temperature is nan"),
        ((STUDENT, TEACHER, TARGET), {"alpha": 1.5}, "alpha is 1.5; give the share of distillation, 0 to 1"),
        ((STUDENT, TEACHER, TARGET), {"gamma": -1.0}, "gamma is -1.0; give a finite number of at least 0"),
        ((STUDENT, TEACHER, TARGET), {"selective": (0.9, 0.1)}, r"selective is \(0.9, 0.1\); give thresholds"),
        ((STUDENT, TEACHER, TARGET), {"selective": 0.5}, "selective is 0.5; give thresholds"),
        ((STUDENT, None, TARGET), {"alpha": 1.0}, "alpha = 1.0 asks for the teacher alone, which was not given"),
        ((STUDENT, TEACHER, None), {"alpha": 0.0}, "alpha = 0.0 asks for the target alone, which was not given"),
    ],
)
def test_arguments_that_do_not_fit(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^kd_loss: .*{message}"):
        kd_loss(*arguments, **options)


def test_module_keeps_the_settings() -> None:
    student, teacher, target = problem(6, 25)
    weights = torch.rand(25) + 0.5
    settings = {"temperature": 2.0, "alpha": 0.6, "gamma": 1.0, "selective": None, "class_weights": weights}
    module = nn.KDLoss(**settings, ignore_index=3)
    assert torch.equal(module(student, teacher, target), kd_loss(student, teacher, target, **settings, ignore_index=3))
    assert not module.state_dict() and module.half().class_weights.dtype == torch.float16
    parts = nn.KDLoss()(student, teacher, target, torch.arange(6) < 4, return_parts=True)
    assert parts.rows == 4 and "alpha=0.3" in repr(nn.KDLoss())


def test_the_name_is_the_function_however_it_was_imported() -> None:
    code = (
        "import sys; from chordfast import ops; assert 'torch' not in sys.modules; import chordfast.nn; "
        "import chordfast.ops.kd_loss; from chordfast.ops import kd_loss; assert kd_loss is ops.kd_loss; "
        "assert chordfast.ops.kd_loss is kd_loss and kd_loss.__name__ == 'kd_loss'"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert ops.kd_loss is kd_loss
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = ops.nothing_such


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=backends.needs_cuda())])
def test_captured_in_a_graph_without_waiting(device: str) -> None:
    student, teacher, target = (x.to(device) for x in problem(300, 170))
    mask = torch.ones(300, dtype=torch.bool, device=device)
    static = student.clone().requires_grad_()
    static.grad = torch.zeros_like(static)

    def step() -> Tensor:
        static.grad.zero_()
        loss = kd_loss(static, teacher, target, mask)
        loss.backward()
        return loss

    torch.cuda.set_sync_debug_mode("error")
    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    with torch.no_grad():
        static.copy_(student * 0.5)
        mask[::4] = False
    graph.replay()
    wanted = truth(student.double() * 0.5, teacher.double(), target, mask)
    assert loss.item() == pytest.approx(wanted.loss.item(), rel=1e-6)
    assert (static.grad - wanted.gradient).abs().max() <= 3e-6 * wanted.gradient.abs().max()
