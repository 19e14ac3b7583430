"""Time of a training step: chordfast's against plain torch modules, same weights, same batch, same run.

    python benchmarks/bench_train.py [--batch 128] [--device cpu] [--threads 1 2] [--precision fp32 bf16] [--compile]

A step is forward, stage 2's loss (selective distillation and focal loss), backward, clipping and AdamW. "eager" is the
network as the papers' code has it: softmax attention with a mask, torch's own convolutions, dropout and a layer norm of
separate operations, the loss in torch functions. Steps of both alternate; the median counts, the quartiles are shown.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import torch
import torch.nn.functional as F
from eager_networks import eager_twin
from torch import Tensor

from chordfast.train import RECIPES, Corpus
from chordfast.train.parallel import Ranks
from chordfast.train.step import Step
from chordfast.train.student import new_student
from chordfast.train.windows import Windows

FRAMES = 108


def corpus(windows: int, teacher: bool = True) -> Corpus:
    """One window a song, posteriors of eight classes."""
    rng = np.random.default_rng(0)
    features = rng.normal(-6, 2.5, (windows, FRAMES, 144)).astype(np.float16)
    targets = rng.integers(0, 170, (windows, FRAMES))
    logits = rng.normal(0, 4, (windows, FRAMES, 170)).astype(np.float16)
    return Corpus.from_arrays(list(features), list(targets), list(logits) if teacher else None)


def eager_loss(z: Tensor, u: Tensor, y: Tensor) -> Tensor:
    """Stage 2's loss from torch's functions: selective distillation 0.1 to 0.9 at τ = 3, focal loss γ = 2."""
    z, u, y = z.flatten(0, 1).float(), u.flatten(0, 1).float(), y.flatten()
    p = F.softmax(z, -1).gather(1, y[:, None]).squeeze(1)
    hard = ((1 - p) ** 2 * F.cross_entropy(z, y, reduction="none")).mean()
    t = F.softmax(u / 3, -1)
    sure = t.max(-1).values
    weight = torch.where(sure > 0.9, (1 - 0.8 * (sure - 0.9) / 0.1).clamp(0, 1), torch.ones_like(sure))
    weight = torch.where(sure < 0.1, torch.zeros_like(weight), weight)
    kd = (weight * F.kl_div(F.log_softmax(z / 3, -1), t, reduction="none").sum(-1)).mean() * 9
    return (0.3 * kd + 0.7 * hard).clamp_min(0)


class EagerStep:
    """The step of a plain training loop."""

    def __init__(self, model: torch.nn.Module, device: torch.device, precision: str) -> None:
        self.model, self.device, self.precision = model.to(device).train(), device, precision
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=1e-5)

    def __call__(self, x: Tensor, u: Tensor, y: Tensor) -> None:
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            z = self.model(x)
        eager_loss(z, u, y).backward()
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                torch.nan_to_num_(parameter.grad, 0.0, 0.0, 0.0)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


def alternate(steps: dict[str, Callable[[], None]], count: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of ``count`` calls of each, in turn, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(count + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if i:
                times[name].append(time.perf_counter() - began)
    return times


def measure(
    architecture: str, precision: str, batch: int, count: int, device: torch.device, compiled: bool = False
) -> None:
    settings = [f"loop.batch={batch}", f"loop.precision={precision}", f"model.architecture={architecture}"]
    recipe = RECIPES["stage2"].with_settings(settings)
    data = corpus(batch)
    model = new_student(recipe, 170)
    model.set_statistics(-6.0, 2.5)
    twin = eager_twin(model)
    ours = Step(recipe, model, data.data, Ranks(), device, partial=False)
    ours.set_rate(1e-5)
    table = Windows(np.arange(batch), data.first, data.frames)
    frames = data.data.window(
        torch.from_numpy(data.first), torch.from_numpy(data.frames), FRAMES, -6.0, 2.5, partial=False
    )
    assert frames.teacher is not None
    x, u, y = (tensor.to(device) for tensor in (frames.features, frames.teacher, frames.target))
    eager = EagerStep(twin, device, precision)
    with torch.no_grad():
        same = (model.eval()(x[:4]) - twin.eval()(x[:4])).abs().max().item()
    model.train(), twin.train()
    steps: dict[str, Callable[[], None]] = {"eager": lambda: eager(x, u, y), "ours": lambda: ours(table, None)}
    if compiled:
        other = EagerStep(torch.compile(eager_twin(model)), device, precision)
        steps["compiled"] = lambda: other(x, u, y)
    times = alternate(steps, count, device)
    found = {name: statistics.median(values) for name, values in times.items()}
    quartiles = {name: np.percentile(values, [25, 75]) for name, values in times.items()}
    spread = ", ".join(f"{name} {1e3 * low:.0f}-{1e3 * high:.0f}" for name, (low, high) in quartiles.items())
    if compiled:
        spread = f"torch.compile {1e3 * found['compiled']:.1f} ms, {found['compiled'] / found['ours']:.2f} x; {spread}"
    hours = batch * FRAMES * 2048 / 22050 / 3600
    print(
        f"{architecture:5} {precision} {torch.get_num_threads()} threads: eager {1e3 * found['eager']:7.1f} ms, ours "
        f"{1e3 * found['ours']:7.1f} ms, {found['eager'] / found['ours']:.2f} x; "
        f"{1e3 * found['ours'] / batch:.1f} ms a window, "
        f"{found['ours'] / hours / 60:.1f} min an hour of audio and epoch; logits differ by {same:.1e} ({spread} ms)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of a training step against eager torch.")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--networks", nargs="+", default=["btc", "2e1d"], choices=["btc", "2e1d"])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="also against torch.compile of the eager network")
    given = parser.parse_args()
    device = torch.device(given.device)
    print(f"batch {given.batch} windows of {FRAMES} frames on {device}, torch {torch.__version__}")
    for threads in given.threads if device.type == "cpu" else given.threads[:1]:
        torch.set_num_threads(threads)
        for architecture in given.networks:
            for precision in given.precision:
                torch.manual_seed(0)
                measure(architecture, precision, given.batch, given.steps, device, given.compile)


if __name__ == "__main__":
    sys.exit(main())
