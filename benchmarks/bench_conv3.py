"""BTC's convolution over time with bias and ReLU, without gradients, against torch's convolution.

    python -m pytest benchmarks/bench_conv3.py

128 channels, windows of 108 frames, one thread, float32. Both run in turn, round after round; medians of CPU time of
this process. The baseline is F.conv2d on one line with the channels last (torch's fastest here) and F.relu. The error
is against the definition in float64. With CHORDFAST_RESULTS=benchmarks/results the numbers are kept for
benchmarks/report.py.
"""

from __future__ import annotations

import statistics
import time

import pytest
import records
import torch
import torch.nn.functional as F
from torch import Tensor

from chordfast import ops
from chordfast._native import native
from chordfast.reference import conv3 as reference

ROUNDS, FRAMES, WIDTH = 15, 108, 128


def eager(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    y = F.conv2d(x[:, None].permute(0, 3, 1, 2), weight[:, :, None], bias, padding=(0, 1))
    return F.relu(y).permute(0, 2, 3, 1)[:, 0]


@pytest.mark.parametrize("windows", [1, 8, 32])
def bench_conv3(windows: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        x, bias = torch.randn(windows, FRAMES, WIDTH), torch.randn(WIDTH)
        weight = torch.randn(WIDTH, WIDTH, 3) / (3 * WIDTH) ** 0.5
        providers = {
            "chordfast": lambda: ops.conv3(x, weight, bias, relu=True),
            "torch": lambda: eager(x, weight, bias),
        }
        true = reference.conv3(x.double(), weight.double(), bias.double(), relu=True)
        errors = {name: (call() - true).abs().max().item() for name, call in providers.items()}
        times: dict[str, list[float]] = {name: [] for name in providers}
        repeats = max(2, 64 // windows)
        with torch.inference_mode():
            for _ in range(ROUNDS):
                for name, call in providers.items():
                    started = time.process_time()
                    for _ in range(repeats):
                        call()
                    times[name].append((time.process_time() - started) / repeats)
        flops = 2 * 3 * windows * FRAMES * WIDTH * WIDTH
        found = [
            records.row("conv3", f"{windows} windows of {FRAMES} frames, {WIDTH} channels", "forward", name,
                        statistics.median(values), errors[name], 2e-5, how="CPU time, 1 thread", flops=flops)
            for name, values in times.items()
        ]  # fmt: skip
        with capsys.disabled():
            own, other = (each["seconds"] for each in found)
            print(f"\n{windows} windows, 1 thread, {native().build_info()['simd']}: {own * 1e3:.3f} ms "
                  f"({flops / own / 1e9:.0f} GFLOP/s of the definition's), torch {other * 1e3:.3f} ms, "
                  f"{other / own:.2f} times; errors {errors['chordfast']:.1e}, {errors['torch']:.1e}")  # fmt: skip
            records.save_if_asked(found, "cpu", f"conv3-{windows}")
    finally:
        torch.set_num_threads(before)
