"""Layer norm with residual, dropout and ReLU: values, gradients and dropout bits against plain torch in float64."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import backends
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chordfast.reference import layer_norm as reference

op = importlib.import_module("chordfast.ops.layer_norm")

WIDTHS = (3, 16, 17, 72, 128, 144, 576, 1000)
KINDS = (("sample", 1e-6), ("population", 1e-5))
FP32 = 5e-6  # of the largest value, or of 1


def calls(kind: str, epsilon: float, rate: float) -> dict[str, tuple[Callable[..., Any], str]]:
    """Every function, and which of x, y, u, v, gamma, beta, alpha it takes."""
    return {
        "norm": (lambda x, g, b: op.layer_norm(x, g, b, kind, epsilon), "xgb"),
        "residual": (lambda x, y, g, b: op.residual_dropout_norm(x, y, g, b, rate, kind, epsilon), "xygb"),
        "branch": (lambda x, y, g, b, a: op.branch_dropout_norm(x, y, g, b, rate, a, kind, epsilon), "xygba"),
        "usual": (lambda x, y, g, b: op.branch_dropout_norm(x, y, g, b, rate, None, kind, epsilon), "xygb"),
        "relu norm": (lambda x, g, b: op.layer_norm_relu_dropout(x, g, b, rate, kind, epsilon), "xgb"),
        "relu": (lambda x: op.relu_dropout(x, rate), "x"),
        "alone": (lambda x: op.dropout(x, rate), "x"),
        "add": (lambda x, y: op.dropout_add(x, y, rate), "xy"),
        "cat": (lambda x, y, u, v: op.dropout_add_cat((x, y), (u, v), rate), "xyuv"),
    }


NAMES = tuple(calls("sample", 0.0, 0.0))


def inputs(names: str, width: int, rows: tuple[int, ...] = (3, 29)) -> list[Tensor]:
    shapes = {"g": (width,), "b": (width,), "a": (1,)}
    return [torch.randn(shapes.get(name, (*rows, width))) for name in names]


def results(call: Callable[..., Any], leaves: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Outputs and gradients, dropout and output gradients from fixed seeds."""
    copies = [x.to(dtype).requires_grad_() for x in leaves]
    torch.manual_seed(5)
    found = call(*copies)
    outputs = list(found) if isinstance(found, tuple) else [found]
    torch.manual_seed(6)
    grads = [torch.randn(y.shape, dtype=torch.float64).to(dtype) for y in outputs]
    return [y.detach() for y in outputs] + list(torch.autograd.grad(outputs, copies, grads))


def compare(name: str, width: int, kind: str, epsilon: float, rate: float) -> None:
    torch.manual_seed(width)
    call, names = calls(kind, epsilon, rate)[name]
    leaves = inputs(names, width)
    floor = 30.0 if width < 10 else 1.0  # three values can lie close together: the norm enlarges what was rounded
    for mine, true in zip(results(call, leaves, torch.float32), results(call, leaves, torch.float64), strict=True):
        error = (mine.double() - true).abs().max().item()
        size = leaves[0].numel() ** 0.5 if true.shape == (1,) else floor  # alpha's gradient: a sum over all elements
        assert error <= FP32 * max(true.abs().max().item(), size), f"{name} {width}: {error:.1e}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("kind", "epsilon"), KINDS)
def test_values_gradients_and_bits_of_float64(name: str, kind: str, epsilon: float) -> None:
    """Same seed, same values dropped: one bit that differs, or a backward pass with bits of its own, would show."""
    for width in WIDTHS:
        compare(name, width, kind, epsilon, 0.3 if width % 2 else 0.0)
        compare(name, width, kind, epsilon, 0.2)


@pytest.mark.parametrize("level", ["plain", "avx2"])
def test_lower_simd_levels_too(level: str) -> None:
    """The same comparisons in a process of its own, since the level is chosen once."""
    body = """
import sys
sys.path[:0] = sys.argv[1:]
import test_layer_norm as t
assert t.backends.module("cpu").build_info()["simd"] in ("plain", LEVEL)
for name in t.NAMES:
    for width in (3, 17, 72, 128):
        t.compare(name, width, *t.KINDS[width % 2], 0.3)
for dtype in (t.torch.bfloat16, t.torch.float16):
    t.test_half_precision_is_as_good_as_torch(dtype)
"""
    here = Path(__file__).parent
    command = [sys.executable, "-c", body.replace("LEVEL", repr(level)), str(here), str(here.parent)]
    subprocess.run(command, check=True, env=os.environ | {"CHORDFAST_SIMD": level})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_as_good_as_torch(dtype: torch.dtype) -> None:
    """Error at most that of the same formulas by torch's operators on the same 16-bit inputs, and a little."""
    for kind, epsilon in KINDS:
        for name in ("norm", "residual", "branch", "relu norm", "relu", "alone", "add", "cat"):
            torch.manual_seed(1)
            call, names = calls(kind, epsilon, 0.0)[name]
            leaves = [x.to(dtype) for x in inputs(names, 144)]
            true = results(call, leaves, torch.float64)
            mine = results(call, leaves, dtype)
            plain = [x.to(dtype) for x in true]  # what rounding the exact result costs
            for found, best, wanted in zip(mine, plain, true, strict=True):
                error, least = ((x.double() - wanted).abs().max().item() for x in (found, best))
                assert found.dtype == dtype
                assert error <= 4 * least + 1e-6 * wanted.abs().max().item(), f"{name}: {error:.1e}, {least:.1e}"


def test_the_formulas() -> None:
    """The reference against the definitions, its gradient against the closed form of BTC's norm."""
    torch.manual_seed(0)
    x, grad = torch.randn(2, 5, 24, dtype=torch.float64)
    gamma, beta = torch.randn(2, 24, dtype=torch.float64)
    wanted = gamma * (x - x.mean(-1, True)) / (x.std(-1, keepdim=True) + 0.1) + beta
    assert torch.allclose(reference.layer_norm(x, gamma, beta, "sample", 0.1), wanted, atol=1e-14)
    found = reference.layer_norm(x, gamma, beta, "population", 1e-5)
    assert torch.allclose(found, F.layer_norm(x, (24,), gamma, beta, 1e-5), atol=1e-12)
    leaf = x.clone().requires_grad_()
    reference.layer_norm(leaf, gamma, beta, "sample", 0.1).backward(grad)
    c, sigma = x - x.mean(-1, True), x.std(-1, keepdim=True)
    s, g = sigma + 0.1, grad * gamma
    closed = (g - g.mean(-1, True)) / s - c * (g * c).sum(-1, keepdim=True) / (s**2 * sigma * 23)
    assert torch.allclose(leaf.grad, closed, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("kind", "epsilon"), KINDS)
def test_rows_without_spread(kind: str, epsilon: float, dtype: torch.dtype) -> None:
    """The result is beta, the gradient that of a constant s."""
    x = torch.full((4, 32), 3.0, dtype=dtype, requires_grad=True)
    gamma, beta = torch.ones(32, dtype=dtype), torch.arange(32.0).to(dtype)
    y = op.layer_norm(x, gamma, beta, kind, epsilon)
    assert torch.equal(y, beta.expand(4, 32))
    y[:, 0].sum().backward()
    factor = 1 / epsilon if kind == "sample" else epsilon**-0.5
    wanted = torch.full((4, 32), -factor / 32, dtype=torch.float64)
    wanted[:, 0] += factor
    torch.testing.assert_close(x.grad.double(), wanted, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=0)


@pytest.mark.parametrize("rate", [0.001, 0.2, 0.5, 0.9])
def test_dropout_keeps_the_right_share_independently(rate: float) -> None:
    torch.manual_seed(11)
    seed = torch.randint(-(2**63), 2**63 - 1, (2,))
    keep, kept = reference.dropout_keep(seed, torch.Size((2000, 300)), rate)
    assert abs(kept - (1 - rate)) <= 2**-17
    other = reference.dropout_keep(seed, keep.shape, rate, sequence=1)[0]
    count = keep.numel()
    assert abs(keep.double().mean().item() - kept) < 5 * (kept * (1 - kept) / count) ** 0.5
    agree = kept**2 + (1 - kept) ** 2
    pairs = [(keep[:, n:], keep[:, :-n]) for n in (1, 2, 3, 4, 32)]
    for first, second in (*pairs, (keep[1:], keep[:-1]), (keep, other)):
        found = (first == second).double().mean().item()
        assert abs(found - agree) < 5 * (agree * (1 - agree) / first.numel()) ** 0.5 + 1e-9


def test_the_bits_go_on_beyond_32_bit_counters() -> None:
    """Two-level Philox by hand for one element."""
    seed = torch.tensor([-3, 5 << 33])
    key, high, _, _ = reference.philox4x32(
        tuple(torch.tensor(n) for n in (7, 0, 0, 10)), (torch.tensor(0xFFFFFFFD), torch.tensor(0xFFFFFFFF))
    )
    first, second = reference.philox2x32((torch.tensor(2), high), key)
    keep, _ = reference.dropout_keep(seed, torch.Size((12,)), 0.5, sequence=7)
    words = [first & 0xFFFF, first >> 16, second & 0xFFFF, second >> 16]
    assert keep[8:].tolist() == [bool(word < 32768) for word in words]


@pytest.mark.parametrize("name", ["residual", "branch", "relu norm", "relu", "alone", "add", "cat"])
def test_dropout_follows_torchs_generator(name: str) -> None:
    call, names = calls("population", 1e-5, 0.4)[name]
    leaves = inputs(names, 64)

    def draw(seed: int | None) -> Any:
        if seed is not None:
            torch.manual_seed(seed)
        return backends.bits(call(*leaves))

    first = draw(1)
    assert first == draw(1) != draw(2)
    assert draw(None) != draw(None)


def test_both_halves_of_cat_have_bits_of_their_own() -> None:
    ones = torch.ones(4, 64)
    y = op.dropout_add_cat((ones, ones), (ones, ones), 0.5)
    assert set(y.unique().tolist()) == {0.0, 4.0}
    assert not torch.equal(y[:, :64], y[:, 64:])


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_threads_does_not_matter(name: str) -> None:
    call, names = calls("sample", 1e-6, 0.2)[name]
    leaves = inputs(names, 144, (4700,))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(backends.bits(results(call, leaves, torch.float32)))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]
