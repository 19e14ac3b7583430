"""Constant-Q transform with log-magnitude, one thread, against librosa, nnAudio and fastchroma in the same run.

    python -m pytest benchmarks/bench_cqt.py

Signals: the bundled recording repeated to 160 s ("song") and its first 10 s ("excerpt"). Every provider gets the same
float32 mono samples at 22 050 Hz; float32 features [T, 144] come out; decoding is not included. The providers run in
turn, round after round, in CPU time of this process; the table gives medians and the ratio to chordfast.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import statistics
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from chordfast import ops
from chordfast._native import native
from chordfast.ops import BTC

Provider = Callable[[np.ndarray], np.ndarray]


def signal() -> np.ndarray:
    pcm, rate = sf.read(str(files("chordfast") / "data" / "demo.ogg"), dtype="float32", always_2d=True)
    return np.resize(ops.ingest(pcm, rate), 160 * 22050)


def providers() -> dict[str, Provider]:
    """Every provider that can be imported, chordfast first."""
    found: dict[str, Provider] = {"chordfast": lambda y: ops.cqt(y, threads=1)}
    settings = {"sr": 22050, "hop_length": 2048, "n_bins": 144, "bins_per_octave": 24}
    try:
        import librosa

        found["librosa 0.11"] = lambda y: np.log(np.abs(librosa.cqt(y, fmin=BTC.fmin, tuning=0, **settings)).T + 1e-6)
    except ImportError:
        pass
    try:
        import fastchroma

        transform = fastchroma.CQT(**settings)
        found["fastchroma 0.1.0"] = lambda y: np.log(transform(y).T + 1e-6)
    except ImportError:
        pass
    try:
        import torch
        from nnAudio.features.cqt import CQT1992v2

        torch.set_num_threads(1)
        module = CQT1992v2(fmin=BTC.fmin, verbose=False, **settings)

        def nnaudio(y: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return torch.log(module(torch.from_numpy(y))[0].T + 1e-6).numpy()

        found["nnAudio 0.3.4 CQT1992v2"] = nnaudio
    except ImportError:
        pass
    return found


def seconds(run: Callable[[], object], repeats: int) -> float:
    started = time.process_time()
    for _ in range(repeats):
        run()
    return (time.process_time() - started) / repeats


@pytest.mark.parametrize(("case", "length", "repeats"), [("song", 160, 1), ("excerpt", 10, 8)])
def bench_cqt(case: str, length: int, repeats: int, capsys: pytest.CaptureFixture[str]) -> None:
    y = signal()[: length * 22050]
    candidates = providers()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    wanted = candidates.get("librosa 0.11", candidates["chordfast"])(y)
    error = {name: float(np.abs(run(y)[: len(wanted)] - wanted).mean()) for name, run in candidates.items()}  # warm-up
    for _ in range(7):
        for name, run in candidates.items():
            times[name].append(seconds(lambda run=run: run(y), repeats))
    own = statistics.median(times["chordfast"])
    with capsys.disabled():
        print(
            f"\nCQT of {case} ({length} s), 1 thread, float32, {native().build_info()['simd']}, decoding not included"
        )
        columns = (("us per s", 10), ("x real time", 13), ("chordfast is", 14), ("mean |d log| to librosa", 25))
        print(f"{'provider':26}" + "".join(f"{title:>{width}}" for title, width in columns))
        for name, values in times.items():
            each = statistics.median(values)
            print(f"{name:26}{each / length * 1e6:10.1f}{length / each:13.0f}{each / own:13.2f}x{error[name]:25.1e}")


# --- On a GPU: nothing below runs, or imports torch, without one ------------------------------------------------------


def gpu_providers() -> dict[str, Callable[[Any], Any]]:
    """Functions from float32 CUDA tensors [B, N] to log-magnitudes [B, T, 144] there, chordfast first."""
    import torch

    found: dict[str, Callable[[Any], Any]] = {"chordfast": ops.cqt}
    try:
        from nnAudio.features.cqt import CQT1992v2
    except ImportError:
        return found
    module = CQT1992v2(
        sr=22050, hop_length=2048, n_bins=144, bins_per_octave=24, fmin=BTC.fmin, verbose=False, trainable=False
    ).cuda()

    def nnaudio(x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return torch.log(module(x).transpose(1, 2) + 1e-6)

    found["nnAudio CQT1992v2"] = nnaudio
    return found


def gpu_work(seconds_of_audio: float) -> dict[str, float]:
    """What the transform has to do: FLOPs as the plan counts them, and bytes between the chip and its memory."""
    return {"flops": 4.5e6 * seconds_of_audio, "bytes": 355e3 * seconds_of_audio}


def gpu_seconds(run: Callable[[Any], Any], x: Any, rounds: int = 20) -> list[float]:
    """Device time of each of ``rounds`` calls, replayed from a CUDA graph so that launching does not count."""
    import torch

    for _ in range(3):
        run(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run(x)
    times = []
    for _ in range(rounds + 3):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return times[3:]


@pytest.mark.parametrize(("batch", "length"), [(1, 160), (64, 160), (512, 10)])
def bench_cqt_gpu(batch: int, length: int, capsys: pytest.CaptureFixture[str]) -> None:
    if not native().cuda_devices():
        pytest.skip("no usable GPU")
    import torch

    y = np.resize(signal(), (batch, length * 22050)).astype(np.float32)
    x, wanted = torch.from_numpy(y).cuda(), ops.cqt(y[0])
    rows = []
    for name, run in gpu_providers().items():
        error = float(np.abs(run(x)[0].cpu().numpy()[: len(wanted)] - wanted).mean())
        rows.append((name, statistics.median(gpu_seconds(run, x)), error))
    audio, own = batch * length, rows[0][1]
    with capsys.disabled():
        print(f"\nCQT of {batch} x {length} s on {torch.cuda.get_device_name()}, float32, device time, data on the GPU")
        print(f"{'provider':26}{'ns per s':>10}{'x real time':>13}{'chordfast is':>14}{'mean |d log| to the CPU':>25}")
        for name, each, error in rows:
            print(f"{name:26}{each / audio * 1e9:10.1f}{audio / each:13.0f}{each / own:13.2f}x{error:25.1e}")
        work = gpu_work(audio)
        print(f"chordfast: {work['flops'] / own / 1e12:.1f} TFLOP/s, {work['bytes'] / own / 1e9:.0f} GB/s")
    assert rows[0][2] < 1e-4, "the result on the GPU differs from the CPU's; its time means nothing"
