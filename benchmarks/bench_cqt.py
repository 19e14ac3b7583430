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
