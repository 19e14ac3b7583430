"""The kernels on a GPU against what torch and nnAudio offer there, with the peaks of the same card in the same run.

    python benchmarks/gpu_bench.py [--only kd_loss,attention,cqt] [--out DIR] [--deadline S] [--small] [--device cpu]

Device time: calls over several sets of inputs, together at least twice the second-level cache, captured as one CUDA
graph, so that no call finds its data in the cache; medians over replays. What cannot be captured (code that waits for
the GPU) is timed between events in a plain loop, so that the waiting counts, as in use; the row says which it was.
Peaks: a copy of 2 GiB (bytes read and written) and a bfloat16 product of 8192 x 8192 x 8192. Every result is first
compared with a reference in higher precision. --small: chordfast alone at small sizes, checked, not timed (for
compute-sanitizer); with --device cpu the same code runs on the CPU, which tests this file.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bench_attention
import bench_kd_loss
import records
import torch
from torch import Tensor

from chordfast import ops
from chordfast.reference import attention as attention_truth

REPLAYS = 25
OPS = ("kd_loss", "attention", "cqt")


@dataclass
class Case:
    """One shape of one op: how inputs are made, who computes, how a call is run and judged."""

    op: str
    name: str
    mode: str
    make: Callable[[int], Any]  # inputs from a seed
    providers: dict[str, Any]  # chordfast first
    run: Callable[[Any, Any], Any]  # (provider, inputs)
    error: Callable[[Any, Any], float]  # (provider, inputs)
    limit: float
    input_bytes: int
    facts: dict[str, float] = field(default_factory=dict)  # bytes, flops, audio_seconds
    limits: dict[str, float] = field(default_factory=dict)  # of providers that compute something a little different


def kd_loss_cases(device: str, small: bool) -> Iterator[Case]:
    for rows in (70,) if small else (13824, 27648):
        for dtype in (torch.float32, torch.bfloat16):
            traffic = rows * 170 * dtype.itemsize * 3  # both logits in, the gradient out
            yield Case(
                op="kd_loss",
                name=f"{rows} x 170, {str(dtype)[6:]}",
                mode="loss + gradient",
                make=lambda seed, rows=rows, dtype=dtype: bench_kd_loss.inputs(rows, device, dtype, seed),
                providers=bench_kd_loss.providers(),
                run=lambda provider, data: bench_kd_loss.step(provider, *data),
                error=bench_kd_loss.error_of,
                limit=bench_kd_loss.limit_of(dtype),
                input_bytes=traffic,
                facts={"bytes": traffic},
            )


def attention_cases(device: str, small: bool) -> Iterator[Case]:
    sizes = (2, 4, 37, 32) if small else (256, 4, 108, 32)
    batch, heads, frames, width = sizes
    for dtype in (torch.bfloat16, torch.float32):
        for train in (False, True):

            def run(provider: Any, data: list[Tensor], train: bool = train, dropout: float = 0.0) -> tuple[Tensor, ...]:
                q, k, v, grad = data
                leaves = [x.detach().requires_grad_(train) for x in (q, k, v)]
                y = provider(*leaves, dropout)
                return torch.autograd.grad(y, leaves, grad) if train else (y,)

            def error(provider: Any, data: list[Tensor], run: Any = run) -> float:
                wide = [x.double() for x in data]
                wanted = run(lambda q, k, v, _: attention_truth.attention(q, k, v, "both")[0], wide)
                pairs = zip(run(provider, data), wanted, strict=True)
                return max(((a.double() - b).abs().max() / b.abs().max()).item() for a, b in pairs)

            tensors = (9 if train else 4) * 2 * batch * heads * frames * width * dtype.itemsize
            flops = (7 if train else 2) * 2 * batch * heads * frames * (frames + 1) * width
            yield Case(
                op="attention",
                name=f"{2 * batch * heads} heads of {frames} x {width}, {str(dtype)[6:]}",
                mode="forward + backward" if train else "forward",
                make=lambda seed, dtype=dtype: bench_attention.inputs(device, dtype, *sizes),
                providers=bench_attention.providers(device, 0.0),
                run=run,
                error=error,
                limit={torch.float32: 1e-4, torch.bfloat16: 3e-2}[dtype],
                input_bytes=tensors,
                facts={"bytes": tensors, "flops": flops},
            )


def cqt_cases(device: str, small: bool) -> Iterator[Case]:
    songs, seconds = (2, 3) if small else (64, 60)

    def make(seed: int) -> Tensor:
        g = torch.Generator().manual_seed(seed)
        t = torch.arange(seconds * 22050) / 22050
        tones = torch.sin(6.2832 * t * (55 * 2 ** (torch.rand(songs, 12, 1, generator=g) * 5))).mean(1)
        return (tones + 0.05 * torch.randn(songs, len(t), generator=g)).to(device)

    def error(provider: Any, x: Tensor) -> float:
        wanted, found = ops.cqt(x[:1].cpu()), provider(x[:1]).float().cpu()
        return (found[:, : wanted.shape[1]] - wanted).abs().mean().item()

    found: dict[str, Any] = {"chordfast": ops.cqt}
    if not small:
        try:
            from nnAudio.features.cqt import CQT1992v2

            settings = {"sr": 22050, "hop_length": 2048, "n_bins": 144, "bins_per_octave": 24}
            module = CQT1992v2(fmin=ops.BTC.fmin, verbose=False, **settings).to(device)
            found["nnAudio CQT1992v2"] = lambda x: torch.log(module(x).transpose(1, 2) + 1e-6)
        except ImportError as error:
            print(f"no nnAudio: {error}")
    audio = float(songs * seconds)
    yield Case(
        op="cqt",
        name=f"{songs} songs of {seconds} s, float32",
        mode="forward",
        make=make,
        providers=found,
        run=lambda provider, x: provider(x),
        error=error,
        limit=1e-4,
        limits={"nnAudio CQT1992v2": 3.0},  # other filters: librosa's are sparsified
        input_bytes=int(audio * 22050 * 4),
        facts={"bytes": audio * (22050 + 22050 / 2048 * 144) * 4, "audio_seconds": audio},
    )


CASES = {"kd_loss": kd_loss_cases, "attention": attention_cases, "cqt": cqt_cases}


def timed(calls: list[Callable[[], Any]]) -> tuple[float, str]:
    """Median seconds of a call, and how that was found."""
    if not torch.cuda.is_available():
        started = time.perf_counter()
        for call in calls:
            call()
        return (time.perf_counter() - started) / len(calls), "wall clock, CPU"
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for call in calls:
            call()
        torch.cuda.synchronize()
        run, how = captured(calls, stream)
        times = []
        for turn in range(REPLAYS + 3):
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            run()
            after.record()
            torch.cuda.synchronize()
            if turn >= 3:
                times.append(before.elapsed_time(after) * 1e-3 / len(calls))
    return statistics.median(times), how


def captured(calls: list[Callable[[], Any]], stream: Any) -> tuple[Callable[[], Any], str]:
    def plainly() -> None:
        for call in calls:
            call()

    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream):
            plainly()
    except RuntimeError:  # waits for the GPU, which a capture forbids
        torch.cuda.synchronize()
        return plainly, "events, loop"
    return graph.replay, "events, graph"


def peaks(device: str) -> dict[str, float]:
    """Copy bandwidth and bfloat16 rate of this card, measured now."""
    if device != "cuda":
        return {}
    source = torch.empty(2**31, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    copy, _ = timed([lambda: target.copy_(source)])
    a, b = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    product, _ = timed([lambda: a @ b])
    return {"copy_gb_s": 2 * 2**31 / copy / 1e9, "bf16_tflop_s": 2 * 8192**3 / product / 1e12}


def sets_of_inputs(case: Case, device: str) -> list[Any]:
    cache = torch.cuda.get_device_properties(0).L2_cache_size if device == "cuda" else 0
    count = min(16, 2 + 2 * cache // max(1, case.input_bytes))
    return [case.make(seed) for seed in range(count)]


def measure(case: Case, device: str, small: bool) -> list[records.Row]:
    rows = []
    data = [case.make(0)] if small else sets_of_inputs(case, device)
    for name, provider in case.providers.items():
        if small and name != "chordfast":
            continue
        limit = case.limits.get(name, case.limit)
        try:
            error = case.error(provider, data[0])
            calls = [lambda x=x, p=provider: case.run(p, x) for x in data]
            seconds, how = (0.0, "not timed") if small else timed(calls)
        except Exception as problem:  # a baseline that does not run here must not stop the others
            print(f"{case.op}, {case.name}, {case.mode}: {name} failed: {problem}", file=sys.stderr)
            if name == "chordfast":
                traceback.print_exc()
                rows.append(records.row(case.op, case.name, case.mode, name, 0.0, float("nan"), limit, how="failed"))
            continue
        rows.append(records.row(case.op, case.name, case.mode, name, seconds, error, limit, how=how, **case.facts))
        good = "" if rows[-1]["ok"] else f"   WRONG: error above {limit:.1e}"
        ratio = seconds / rows[0]["seconds"] if rows[0]["seconds"] else 0.0
        print(f"  {name:28}{seconds * 1e6:12.1f} us{ratio:9.2f}x   error {error:.1e}   {how}{good}", flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description="chordfast's kernels on a GPU")
    parser.add_argument("--only", default=",".join(OPS), help="ops, comma-separated")
    parser.add_argument("--out", type=Path, default=records.RESULTS)
    parser.add_argument("--deadline", type=float, default=float("inf"), help="seconds after which no case is begun")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu_bench: no CUDA device found (torch.cuda.is_available() is false)", file=sys.stderr)
        return 3
    started, rows, skipped = time.monotonic(), [], []
    ceilings = {} if options.small else peaks(options.device)
    print(f"peaks: {ceilings}")
    for op in options.only.split(","):
        for case in CASES[op](options.device, options.small):
            if time.monotonic() - started > options.deadline:
                skipped.append(f"{case.op}, {case.name}, {case.mode}")
                continue
            print(f"{case.op}, {case.name}, {case.mode}", flush=True)
            rows += measure(case, options.device, options.small)
            if not options.small:  # kept after each case, in case the time runs out
                records.save(rows, options.device, "", options.out, peaks=ceilings, skipped=skipped)
    if not options.small:
        print(f"written to {records.save(rows, options.device, '', options.out, peaks=ceilings, skipped=skipped)}")
    wrong = [r for r in rows if r["provider"] == "chordfast" and not r["ok"]]
    for r in wrong:
        print(f"gpu_bench: {r['op']}, {r['case']}, {r['mode']}: wrong result (error {r['error']})", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
