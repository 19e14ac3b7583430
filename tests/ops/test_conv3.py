"""The width-3 convolution against its definition in float64, at every SIMD level, and where torch takes over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import backends
import pytest
import torch
import torch.nn.functional as F

from chordfast import ops
from chordfast.errors import UsageError
from chordfast.reference import conv3 as reference

SHAPES = [(1, 1, 16, 16), (3, 2, 16, 32), (2, 5, 48, 64), (1, 27, 32, 80), (3, 108, 128, 128), (2, 259, 64, 144)]


def inputs(batch: int, frames: int, width: int, outputs: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(batch * frames + width)
    return torch.randn(batch, frames, width), torch.randn(outputs, width, 3) / (3 * width) ** 0.5, torch.randn(outputs)


def compare(shape: tuple[int, int, int, int]) -> None:
    x, weight, bias = inputs(*shape)
    for b, relu in ((bias, True), (bias, False), (None, True), (None, False)):
        true = reference.conv3(x.double(), weight.double(), None if b is None else b.double(), relu)
        y = ops.conv3(x, weight, b, relu)
        assert y.dtype == torch.float32 and y.is_contiguous()
        assert (y - true).abs().max() < 1.2e-5
        assert (y - true).pow(2).mean().sqrt() < 8e-7  # results are of variance 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_the_definition_in_float64(shape: tuple[int, int, int, int]) -> None:
    compare(shape)


@pytest.mark.parametrize("level", ["plain", "avx2"])
def test_lower_simd_levels_match_it_too(level: str) -> None:
    """In a process of its own, since the level is chosen once."""
    body = "import sys; sys.path[:0] = sys.argv[1:]\nimport test_conv3 as t\nfor shape in t.SHAPES: t.compare(shape)"
    here = Path(__file__).parent
    command = [sys.executable, "-c", body, str(here), str(here.parent)]
    subprocess.run(command, check=True, env=os.environ | {"CHORDFAST_SIMD": level})


def test_the_references_agree_in_float64() -> None:
    for shape in SHAPES[:4]:
        x, weight, bias = (t.double() for t in inputs(*shape))
        direct = reference.conv3(x, weight, bias, True)
        assert torch.allclose(reference.winograd(x, weight, bias, True), direct, atol=1e-12)
        torchs = F.relu(F.conv1d(x.transpose(1, 2), weight, bias, padding=1)).transpose(1, 2)
        assert torch.allclose(direct, torchs, atol=1e-12)


def test_bits_depend_on_the_window_alone() -> None:
    x, weight, bias = inputs(40, 108, 32, 48)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        y = ops.conv3(x, weight, bias)
        assert all(
            backends.bits([y[i]]) == backends.bits([ops.conv3(x[i : i + 1], weight, bias)[0]]) for i in range(40)
        )
        torch.set_num_threads(3)
        assert backends.bits([y]) == backends.bits([ops.conv3(x, weight, bias)])
    finally:
        torch.set_num_threads(before)


def test_strided_and_empty_input() -> None:
    x, weight, bias = inputs(2, 12, 32, 16)
    wide = torch.stack((x, x), dim=-1)[..., 0]
    assert not wide.is_contiguous()
    assert torch.equal(ops.conv3(wide, weight, bias), ops.conv3(x, weight, bias))
    other = weight.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert torch.equal(ops.conv3(x, other, bias), ops.conv3(x, weight, bias))
    assert ops.conv3(x[:0], weight, bias).shape == (0, 12, 16)
    assert ops.conv3(x[:, :0], weight, bias).shape == (2, 0, 16)


def test_what_is_not_finite_stays_near() -> None:
    x, weight, bias = inputs(1, 40, 16, 16)
    clean = ops.conv3(x, weight, bias, relu=True)
    for value in (float("nan"), float("inf")):
        x[0, 17, 3] = value
        y = ops.conv3(x, weight, bias, relu=True)
        wrong = (~y.isfinite() | (y != clean)).any(dim=2)[0].nonzero().flatten().tolist()
        assert {16, 17, 18} <= set(wrong) <= set(range(12, 23))
        assert y[0, 17].isnan().any() or y[0, 17].isinf().any()


@pytest.mark.parametrize(
    ("width", "outputs", "dtype"), [(24, 16, torch.float32), (16, 10, torch.float32), (16, 16, torch.float64)], ids=str
)
def test_other_sizes_and_types_run_in_torch(width: int, outputs: int, dtype: torch.dtype) -> None:
    x, weight, bias = (t.to(dtype) for t in inputs(2, 9, width, outputs))
    y = ops.conv3(x, weight, bias, relu=True)
    true = reference.conv3(x.double(), weight.double(), bias.double(), True)
    assert y.dtype == dtype and (y - true).abs().max() < (1e-12 if dtype == torch.float64 else 2e-6)


def test_gradients_and_autocast_are_torchs() -> None:
    x, weight, bias = (t.double().requires_grad_() for t in inputs(2, 5, 16, 16))
    assert torch.autograd.gradcheck(lambda *t: ops.conv3(*t, relu=True), (x, weight, bias))
    x, weight, bias = inputs(2, 5, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert ops.conv3(x, weight, bias).dtype == torch.bfloat16
    y = ops.conv3(x, weight.requires_grad_(), bias)
    assert y.requires_grad
    with torch.no_grad():
        assert torch.allclose(ops.conv3(x, weight, bias), y, atol=1e-5)
        assert torch.equal(ops.conv3(x, weight, bias, direct=True), y)


def test_passes_opcheck_and_compiles() -> None:
    x, weight, bias = inputs(2, 9, 16, 32)
    for b in (bias, None):
        torch.library.opcheck(torch.ops.chordfast._conv3.default, (x, weight, b, True))
    compiled = torch.compile(ops.conv3, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, weight, bias, True), ops.conv3(x, weight, bias, True))


def test_errors_are_one_sentence() -> None:
    x, weight, bias = inputs(2, 9, 16, 32)
    for arguments, text in (
        ((x.numpy(), weight, bias), "x is ndarray; give a torch tensor"),
        ((x[0], weight, bias), r"x \[9, 16\], weight \[32, 16, 3\]; give x \[B, T, C\]"),
        ((x, weight[:, :8], bias), r"weight \[32, 8, 3\]"),
        ((x, weight, bias[:4]), r"bias \[4\] for weight \[32, 16, 3\]; give one number an output"),
        ((x.double(), weight, bias), "torch.float64 on cpu, torch.float32 on cpu"),
        ((x.int(), weight.int(), bias.int()), "give one floating-point type on one device"),
    ):
        with pytest.raises(UsageError, match=text):
            ops.conv3(*arguments)
    native = backends.module("cpu")
    with pytest.raises(Exception, match="17 inputs and 16 outputs; both have to be multiples of 16"):
        native.conv3_cpu([1, 1, 1, 1], [1, 1, 17, 16], False, 1)
