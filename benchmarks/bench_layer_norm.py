"""Layer norm, residual, dropout and ReLU of a training step, forward and backward, against torch's operators.

    python -m pytest benchmarks/bench_layer_norm.py

Sizes of 32 windows of 108 frames: BTC's width 128, 2E1D's 144 and its hidden 576, one thread. The baseline is what one
would write: F.dropout, F.relu, var_mean with arithmetic for BTC's norm, F.layer_norm for the usual one. Both run in
turn, round after round; medians of CPU time of this process, all inputs needing a gradient. The error is that without
dropout, against the same formulas in float64. With CHORDFAST_RESULTS=benchmarks/results the numbers are kept for
benchmarks/report.py.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import records
import torch
import torch.nn.functional as F
from torch import Tensor

from chordfast import ops
from chordfast._native import native

ROUNDS, ROWS, RATE = 9, 3456, 0.2


def btc_norm(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    wide = x.float() if x.dtype == torch.bfloat16 else x
    variance, mean = torch.var_mean(wide, dim=-1, correction=1, keepdim=True)
    return (gamma * ((wide - mean) / (variance.sqrt() + 1e-6)) + beta).to(x.dtype)


def eager_residual(x: Tensor, y: Tensor, g: Tensor, b: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    total = F.dropout(x + y, rate)
    return total, btc_norm(total, g, b)


def eager_branch(x: Tensor, y: Tensor, g: Tensor, b: Tensor, rate: float) -> Tensor:
    return F.layer_norm(x + F.dropout(y, rate), x.shape[-1:], g, b, 1e-5)


def eager_hidden(x: Tensor, g: Tensor, b: Tensor, rate: float) -> Tensor:
    return F.dropout(F.relu(F.layer_norm(x, x.shape[-1:], g, b, 1e-5)), rate)


Call = Callable[..., Any]
# name: width, inputs [rows, width], whether gamma and beta follow, ours, theirs, tensors of the size read and written
CASES: dict[str, tuple[int, int, bool, Call, Call, int]] = {
    "BTC norm": (128, 1, True, lambda x, g, b, _: ops.layer_norm(x, g, b), lambda x, g, b, _: btc_norm(x, g, b), 5),
    "BTC residual, dropout, norm": (128, 2, True, ops.residual_dropout_norm, eager_residual, 8),
    "ReLU, dropout": (128, 1, False, ops.relu_dropout, lambda x, rate: F.dropout(F.relu(x), rate), 5),
    "residual, dropout": (128, 2, False, ops.dropout_add, lambda x, y, rate: F.dropout(x + y, rate), 5),
    "2E1D branch, dropout, norm": (144, 2, True, ops.branch_dropout_norm, eager_branch, 8),
    "2E1D norm, ReLU, dropout": (576, 1, True, ops.layer_norm_relu_dropout, eager_hidden, 6),
}


def gradients(call: Call, leaves: list[Tensor], rate: float, grads: list[Tensor]) -> list[Tensor]:
    found = call(*leaves, rate)
    outputs = list(found) if isinstance(found, tuple) else [found]
    return [*outputs, *torch.autograd.grad(outputs, leaves, grads[: len(outputs)])]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def bench_layer_norm(name: str, dtype: torch.dtype, capsys: pytest.CaptureFixture[str]) -> None:
    width, inputs, normed, ours, theirs, moved = CASES[name]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        leaves = [torch.randn(ROWS, width).to(dtype).requires_grad_() for _ in range(inputs)]
        leaves += [torch.randn(width).requires_grad_() for _ in range(2 * normed)]
        grads = [torch.randn(ROWS, width).to(dtype) for _ in range(2)]
        wide = [x.detach().double().requires_grad_() for x in leaves]
        true = gradients(theirs, wide, 0.0, [g.double() for g in grads])
        providers = {"chordfast": ours, "torch eager": theirs}
        errors, limit = {}, 2e-5 if dtype == torch.float32 else 0.02
        for provider, call in providers.items():  # and a warm-up
            pairs = zip(gradients(call, leaves, 0.0, grads), true, strict=True)
            errors[provider] = max(((a.double() - b).abs().max() / b.abs().max()).item() for a, b in pairs)
        times: dict[str, list[float]] = {provider: [] for provider in providers}
        for _ in range(ROUNDS):
            for provider, call in providers.items():
                started = time.process_time()
                for _ in range(5):
                    gradients(call, leaves, RATE, grads)
                times[provider].append((time.process_time() - started) / 5)
        size = ROWS * width * leaves[0].element_size()
        found = [
            records.row("layer_norm", f"{name}, {ROWS} x {width}, {str(dtype)[6:]}", "forward + backward", provider,
                        statistics.median(values), errors[provider], limit, how="CPU time, 1 thread",
                        bytes=moved * size)
            for provider, values in times.items()
        ]  # fmt: skip
        with capsys.disabled():
            own, other = (each["seconds"] for each in found)
            kind = str(dtype)[6:]
            print(f"\n{name}, {ROWS} x {width}, {kind}, 1 thread, {native().build_info()['simd']}: "
                  f"{own * 1e3:.3f} ms ({moved * size / own / 1e9:.1f} GB/s), torch {other * 1e3:.3f} ms, "
                  f"{other / own:.1f} times; errors {found[0]['error']:.1e}, {found[1]['error']:.1e}")  # fmt: skip
            slug = name.lower().replace(", ", "-").replace(" ", "-")
            records.save_if_asked(found, "cpu", f"layer_norm-{slug}-{kind}")
    finally:
        torch.set_num_threads(before)
