"""Fused layer norm and dropout as operators: autograd, autocast, torch.compile, odd input, errors."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import backends
import pytest
import torch
import torch.nn.functional as F
from test_layer_norm import NAMES, calls, inputs, op, results

from chordfast.errors import UsageError


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["sample", "population"])
def test_gradcheck_in_float64(name: str, kind: str) -> None:
    torch.manual_seed(0)
    call, names = calls(kind, 0.01, 0.3)[name]
    leaves = [x.double().requires_grad_() for x in inputs(names, 6, (2, 3))]

    def seeded(*arguments: Any) -> Any:
        torch.manual_seed(1)
        return call(*arguments)

    assert torch.autograd.gradcheck(seeded, leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_raw_operators_pass_opcheck(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    raw, check = torch.ops.chordfast, torch.library.opcheck
    x, y, grad = torch.randn(3, 2, 5, 24).to(dtype)
    gamma, beta, alpha, seed = torch.randn(24), torch.randn(24), torch.tensor([0.5]), torch.tensor([1, 2])
    for place, other, number in (
        (op.SUM, y, None),
        (op.SUM, None, None),
        (op.BRANCH, y, alpha),
        (op.AFTER, None, None),
    ):
        numbers = (seed, 0, place, 1e-6, 0.2) if place != op.SUM or other is not None else (None, 0, place, 1e-6, 0.0)
        check(raw._layer_norm_fwd.default, (x, other, number, gamma, beta, *numbers))
        total, out, stats = op._fwd(x, other, number, gamma, beta, *numbers)
        kept = total if total.numel() else x
        branch = y if place == op.BRANCH else None
        after = out if place == op.AFTER else None
        check(raw._layer_norm_bwd.default, (grad, None, kept, branch, number, after, gamma, stats, *numbers))
    for mode, other, bits in ((0, y, seed), (1, None, seed), (2, y, None)):
        check(raw._dropout.default, (x, other, bits, 0.2, mode))
    check(raw._dropout_cat.default, (x, y, y, x, seed, 0.2))
    check(raw._dropout_split.default, (grad, seed, 0.2))


@pytest.mark.parametrize("name", NAMES)
def test_compiles_without_graph_breaks(name: str) -> None:
    torch.manual_seed(0)
    call, names = calls("sample", 1e-6, 0.0)[name]
    leaves = inputs(names, 24)
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    for mine, theirs in zip(
        results(compiled, leaves, torch.float32), results(call, leaves, torch.float32), strict=True
    ):
        assert torch.allclose(mine, theirs, atol=1e-6)
    dropping = torch.compile(calls("sample", 1e-6, 0.5)[name][0], fullgraph=True, backend="aot_eager")
    if name != "norm":
        assert backends.bits(dropping(*leaves)) != backends.bits(dropping(*leaves))


def test_two_types_meet_in_the_wider_one() -> None:
    x, y = torch.randn(2, 4, 16)
    gamma, beta = torch.ones(16), torch.zeros(16)
    total, normed = op.residual_dropout_norm(x, y.bfloat16(), gamma, beta, 0.0)
    assert total.dtype == normed.dtype == torch.float32
    assert torch.equal(total, x + y.bfloat16().float())
    half = op.layer_norm(x.half(), gamma, beta)
    assert half.dtype == torch.float16
    leaf = gamma.clone().requires_grad_()
    op.layer_norm(x.bfloat16(), leaf, beta).sum().backward()
    assert leaf.grad.dtype == torch.float32
    narrow = gamma.bfloat16().requires_grad_()
    op.layer_norm(x.bfloat16(), narrow, beta.bfloat16()).sum().backward()
    assert narrow.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("name", NAMES)
def test_strides_do_not_matter(name: str) -> None:
    torch.manual_seed(0)
    call, names = calls("sample", 1e-6, 0.0)[name]
    leaves = inputs(names, 24, (3, 10))
    views = [
        torch.randn(3, 26, 11).transpose(1, 2)[:, :10, 1:25].copy_(x) if x.ndim == 3 else x.repeat(2)[: len(x)]
        for x in leaves
    ]
    assert backends.bits(results(call, views, torch.float32)) == backends.bits(results(call, leaves, torch.float32))


def test_relu_dropout_of_another_memory_order() -> None:
    """What a convolution over time gives: [B, T, C] in the order [B, C, T], which the result keeps."""
    torch.manual_seed(0)
    x = torch.randn(3, 24, 10).transpose(1, 2).requires_grad_()
    y = op.relu_dropout(x, 0.25)
    assert y.stride() == x.stride()
    y.backward(torch.ones_like(y))
    scale = 4 / 3
    assert torch.allclose(x.grad, (y > 0) * scale)
    dropped = (y == 0) & (x > 0)
    assert torch.allclose(y, F.relu(x).masked_fill(dropped, 0.0) * scale)
    assert 0.1 < dropped.sum() / (x > 0).sum() < 0.4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [(0,), (2, 0)])
def test_nothing_in_nothing_out(name: str, rows: tuple[int, ...]) -> None:
    call, names = calls("population", 1e-5, 0.2)[name]
    leaves = [x.requires_grad_() for x in inputs(names, 24, rows)]
    found = call(*leaves)
    outputs = found if isinstance(found, tuple) else (found,)
    assert all(y.numel() == 0 and y.shape[:-1] == rows for y in outputs)
    grads = torch.autograd.grad(outputs, leaves, [torch.zeros_like(y) for y in outputs])
    assert all(g.shape == x.shape and (g == 0).all() for g, x in zip(grads, leaves, strict=True))


@pytest.mark.parametrize("name", ["norm", "residual", "branch", "relu norm"])
def test_not_a_number_stays_in_its_row(name: str) -> None:
    call, names = calls("sample", 1e-6, 0.0)[name]
    leaves = inputs(names, 24, (5,))
    leaves[0][2, 3] = float("nan")
    leaves[0].requires_grad_()
    found = call(*leaves)
    y = found[-1] if isinstance(found, tuple) else found
    assert y[2].isnan().any() and y[[0, 1, 3, 4]].isfinite().all()
    y[[0, 1, 3, 4]].sum().backward()
    assert leaves[0].grad[[0, 1, 3, 4]].isfinite().all()


def test_only_one_of_two_results_is_used() -> None:
    torch.manual_seed(0)
    call, names = calls("sample", 1e-6, 0.0)["residual"]
    for used in (0, 1):
        grads = []
        for dtype in (torch.float32, torch.float64):
            torch.manual_seed(3)
            leaves = [x.to(dtype).requires_grad_() for x in inputs(names, 24)]
            call(*leaves)[used].square().sum().backward()
            grads.append([torch.zeros_like(x) if x.grad is None else x.grad for x in leaves])
        for mine, true in zip(*grads, strict=True):
            assert torch.allclose(mine.double(), true, atol=1e-4)


def test_a_graph_only_where_a_gradient_is_wanted_and_only_once() -> None:
    call, names = calls("sample", 1e-6, 0.2)["norm"]
    leaves = inputs(names, 24)
    assert call(*leaves).grad_fn is None
    leaves[1].requires_grad_()
    with torch.no_grad():
        assert call(*leaves).grad_fn is None
    gradient = torch.autograd.grad(call(*leaves).square().sum(), leaves[1], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_plain_uses_no_operator_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.randn(2, 4, 16)
    vectors = torch.ones(16), torch.zeros(16)
    wanted = op.residual_dropout_norm(x, y, *vectors, 0.0)
    for name in ("_fwd", "_dropout", "_dropout_cat"):
        monkeypatch.setattr(op, name, None)
    for mine, theirs in zip(op.residual_dropout_norm(x, y, *vectors, 0.0, plain=True), wanted, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)
    assert op.layer_norm(x, *vectors, plain=True).shape == x.shape
    assert op.layer_norm_relu_dropout(x, *vectors, 0.2, plain=True).min() >= 0
    assert op.branch_dropout_norm(x, y, *vectors, 0.2, plain=True).shape == x.shape
    assert op.relu_dropout(x, 0.2, plain=True).min() >= 0
    assert op.dropout(x, 0.2, plain=True).shape == x.shape
    assert op.dropout_add(x, y, 0.2, plain=True).shape == x.shape
    assert op.dropout_add_cat((x, y), (x, y), 0.2, plain=True).shape == (4, 32)


X, G = torch.zeros(2, 8), torch.ones(8)
BAD: list[tuple[str, Any, str]] = [
    ("layer_norm", ([1.0], G, G), "an input is list; give torch tensors"),
    ("layer_norm", (X.long(), G, G), "an input is torch.int64; give floating-point tensors"),
    ("layer_norm", (X, G[:7], G), "gamma is [7] on cpu; give a tensor of shape [8] on cpu"),
    ("layer_norm", (X, G, 1.0), "beta is float; give a tensor of shape [8]"),
    ("layer_norm", (X, G, G, "both"), "kind is 'both'; choose 'sample' or 'population'"),
    ("layer_norm", (X, G, G, "sample", -1.0), "epsilon is -1.0; give a number of at least 0"),
    ("layer_norm", (X[:, :1], G[:1], G[:1]), "x has shape [2, 1]; give [..., D] with D of at least 2"),
    ("layer_norm", (X.to("meta"), G, G), "gamma is [8] on cpu; give a tensor of shape [8] on meta"),
    ("residual_dropout_norm", (X, X[:1], G, G, 0.1), "the inputs are [2, 8] on cpu and [1, 8] on cpu; give"),
    ("residual_dropout_norm", (X, X, G, G, 1.0), "dropout is 1.0; give a probability of at least 0 and below 1"),
    ("branch_dropout_norm", (X, X, G, G, 0.1, 0.5), "alpha is not a tensor of one number"),
    ("branch_dropout_norm", (X, X, G, G, 0.1, G), "alpha is not a tensor of one number"),
    ("layer_norm_relu_dropout", (X, G, G, float("nan")), "dropout is nan"),
    ("relu_dropout", (X, -0.1), "dropout is -0.1"),
    ("dropout", (X, 1.5), "dropout is 1.5"),
    ("dropout_add", (X, None, 0.1), "an input is NoneType"),
    ("dropout_add_cat", ((X, X), (X, X[:, :4]), 0.1), "the inputs are [2, 8] on cpu and [2, 8] on cpu and"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), BAD, ids=[f"{n}-{m[:20]}" for n, _, m in BAD])
def test_bad_input_is_named_in_one_sentence(name: str, arguments: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        getattr(op, name)(*arguments)
    assert str(caught.value).startswith(f"{name}: ") and ". " not in str(caught.value)


@pytest.mark.parametrize("statement", ["from chordfast.ops import dropout", "import chordfast.ops.layer_norm"])
def test_the_names_are_functions_however_they_are_imported(statement: str) -> None:
    check = "assert ops.layer_norm.__name__ == 'layer_norm' and ops.dropout_add_cat.__name__ == 'dropout_add_cat'"
    code = f"{statement}\nfrom chordfast import ops\nimport chordfast.ops.layer_norm\n{check}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_native_calls_refuse_what_would_overrun() -> None:
    module = backends.module("cpu")
    for sizes, message in (
        ((1, 1, 0, 0, 0), "rows of width 1"),
        ((-1, 8, 0, 0, 0), "-1 rows"),
        ((1, 8, 3, 0, 0), "dtype 3"),
        ((1, 8, 0, 2, 0), "kind 2"),
        ((1, 8, 0, 0, 3), "place 3"),
        ((1, 8, 0, 0, 0), "a pointer is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            module.layer_norm_fwd_cpu([0] * 8, sizes, 1e-6, 0.0, 0, 1)
        with pytest.raises(ValueError, match=message):
            module.layer_norm_bwd_cpu([0] * 13, sizes, 1e-6, 0.0, 0, 1)
    with pytest.raises(ValueError, match="without a seed"):
        module.layer_norm_fwd_cpu([0] * 8, (1, 8, 0, 0, 0), 1e-6, 0.5, 0, 1)
    for sizes, rate, message in (
        ((1, 8, 8, 8, 8, 0, 3, 0), 0.0, "mode 3"),
        ((1, -8, 8, 8, 8, 0, 0, 0), 0.0, "rows of width -8"),
        ((1, 8, 8, 8, 8, 0, 0, 0), 0.5, "no seed"),
        ((1, 8, 8, 8, 8, 0, 0, 0), 0.0, "a pointer is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            module.dropout_cpu([0] * 4, sizes, rate, 1)
