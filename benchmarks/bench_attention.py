"""Attention of a BTC layer, both directions, against what torch offers, in the same run.

    python -m pytest benchmarks/bench_attention.py

Every provider gets the same q, k, v [2, B, H, T, d], as a projection leaves them in memory, and gives as much:
index 0 sees keys j <= i, index 1 keys j >= i. CPU: one thread, CPU time of this process. CUDA, where there is a GPU:
time between events on the stream, B * H * 2 >= 2 048 heads. The providers run in turn, round after round; the table
gives medians, what chordfast gains, and the largest error against float64 (of the gradients where there are any).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chordfast import ops
from chordfast.reference import attention as reference

Provider = Callable[[Tensor, Tensor, Tensor, float], Tensor]
ROUNDS = 9


def eager(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    allowed = reference.allowed_pairs(q.shape[-2], k.shape[-2], "both", q.device)
    scores = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(~allowed, float("-inf"))
    return F.dropout(scores.softmax(-1), dropout) @ v


def sdpa_mask(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    past = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
    masks = (past, past.T)
    parts = zip(q, k, v, masks, strict=True)
    return torch.stack([F.scaled_dot_product_attention(*x, attn_mask=m, dropout_p=dropout) for *x, m in parts])


def sdpa_flip(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    ahead = F.scaled_dot_product_attention(q[0], k[0], v[0], is_causal=True, dropout_p=dropout)
    turned = [x[1].flip(-2) for x in (q, k, v)]
    back = F.scaled_dot_product_attention(*turned, is_causal=True, dropout_p=dropout).flip(-2)
    return torch.stack((ahead, back))


def flex() -> Provider:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    compiled = torch.compile(flex_attention)
    masks: dict[int, Any] = {}

    def run(q: Tensor, k: Tensor, v: Tensor, _: float) -> Tensor:
        if not masks:
            rules = (lambda b, h, i, j: j <= i, lambda b, h, i, j: j >= i)
            masks.update({n: create_block_mask(rules[n], None, None, q.shape[-2], k.shape[-2]) for n in range(2)})
        return torch.stack([compiled(q[n], k[n], v[n], block_mask=masks[n]) for n in range(2)])

    return run


def providers(device: str, dropout: float) -> dict[str, Provider]:
    """chordfast first."""
    found: dict[str, Provider] = {
        "chordfast": lambda q, k, v, p: ops.attention(q, k, v, "both", p),
        "torch eager": eager,
        "torch SDPA, mask": sdpa_mask,
        "torch SDPA, causal + flip": sdpa_flip,
        "torch.compile of eager": torch.compile(eager),
    }
    if device == "cuda" and not dropout:  # flex_attention has no dropout
        found["flex_attention, compiled"] = flex()
    return found


def inputs(device: str, dtype: torch.dtype, batch: int, heads: int, frames: int, width: int) -> list[Tensor]:
    torch.manual_seed(0)
    shape = (2, batch, frames, heads, width)
    return [torch.randn(shape, device=device).to(dtype).transpose(2, 3) for _ in range(4)]


def seconds(run: Callable[[], object], device: str, repeats: int) -> float:
    if device == "cuda":
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        events[0].record()
        for _ in range(repeats):
            run()
        events[1].record()
        torch.cuda.synchronize()
        return events[0].elapsed_time(events[1]) * 1e-3 / repeats
    started = time.process_time()
    for _ in range(repeats):
        run()
    return (time.process_time() - started) / repeats


def measure(
    device: str, dtype: torch.dtype, train: bool, dropout: float, sizes: tuple[int, ...]
) -> list[dict[str, Any]]:
    """A row a provider: name, median seconds, how many times as long as chordfast, largest error."""
    q, k, v, grad = inputs(device, dtype, *sizes)
    candidates = providers(device, dropout)
    leaves = [x.detach().requires_grad_(train) for x in (q, k, v)]

    def work(provider: Provider, rate: float) -> tuple[Tensor, ...]:
        y = provider(*leaves, rate)
        return torch.autograd.grad(y, leaves, grad) if train else (y,)

    wide = [x.double().requires_grad_(train) for x in (q, k, v)]
    y, _ = reference.attention(*wide, "both")
    wanted = torch.autograd.grad(y, wide, grad.double()) if train else (y,)
    rows: list[dict[str, Any]] = []
    for name, provider in candidates.items():
        found = work(provider, 0.0)
        error = max((a.double() - b).abs().max().item() for a, b in zip(found, wanted, strict=True))
        work(provider, dropout)  # compiled for this rate, too
        rows.append({"provider": name, "error": error, "run": lambda p=provider: work(p, dropout), "times": []})
    del wanted, wide, y
    for _ in range(ROUNDS):
        for row in rows:
            row["times"].append(seconds(row["run"], device, 20 if device == "cuda" else 2))
    for row in rows:
        row["seconds"] = statistics.median(row.pop("times"))
        row["ratio"] = row["seconds"] / rows[0]["seconds"]
        del row["run"]
    return rows


CASES = [
    ("cpu", torch.float32, 8),
    ("cpu", torch.bfloat16, 8),
    ("cuda", torch.bfloat16, 256),
    ("cuda", torch.float32, 256),
]


@pytest.mark.parametrize(("train", "dropout"), [(False, 0.0), (True, 0.0), (True, 0.2)])
@pytest.mark.parametrize(("device", "dtype", "batch"), CASES, ids=[f"{c[0]}-{str(c[1])[6:]}" for c in CASES])
def bench_attention(
    device: str, dtype: torch.dtype, batch: int, train: bool, dropout: float, capsys: pytest.CaptureFixture[str]
) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no usable GPU (torch.cuda.is_available() is false)")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    sizes = (batch, 4, 108, 32)
    try:
        rows = measure(device, dtype, train, dropout, sizes)
    finally:
        torch.set_num_threads(before)
    heads = 2 * sizes[0] * sizes[1]
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU, 1 thread"
    with capsys.disabled():
        what = f"forward + backward, dropout {dropout:g}" if train else "forward"
        print(f"\nattention, {what}: {heads} heads of {sizes[2]} x {sizes[3]}, {str(dtype)[6:]}, {where}")
        print(f"{'provider':28}{'ms':>10}{'us per head':>13}{'chordfast is':>14}{'max error':>11}")
        for row in rows:
            each, ratio = row["seconds"], row["ratio"]
            print(f"{row['provider']:28}{each * 1e3:10.3f}{each / heads * 1e6:13.2f}{ratio:13.2f}x{row['error']:11.1e}")
