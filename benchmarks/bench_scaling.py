"""Whole folders: where the CPU time goes, what a second worker brings, what a song costs in Python, devices kept fed.

Usage: python benchmarks/bench_scaling.py [--audio DIR] [--limit-minutes M] [--model crema|btc-random|PATH]
                                          [--repeats R] [--devices N] [--json OUT]

1. overhead: `label_folder` on real music, CPU seconds of all processes; what is not decoding of audio, ingest,
   constant-Q transform or model counts as overhead, start-up of the workers included (goal: at most 10 %).
2. scaling: the same with 1 worker and 1 model thread on one core against 2 and 2 on two, in turn; medians of wall-clock
   times (goal: 1.9). Without a core of their own 1 and 1 would work on two already. On a busy machine it says little.
3. python: 2 000 songs of a second each through a worker with an extractor and a model that do nothing: CPU time of the
   main thread, which schedules and keeps the books, a song (goal: 50 us), and of writing one label file.
4. devices: N simulated devices (they sleep for the time a second of audio would take) on short WAV files, once with a
   speed the decoding can keep up with, once with one it cannot; files and idle share of each device, and what the run
   says about it. Simulated: says something about scheduling, nothing about a GPU.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parent))

from chordfast.features import Song
from chordfast.labelling import Summary, label_folder
from chordfast.labelling.simulated import SimulatedDevice
from chordfast.ops.feature_plan import BTC

AUDIO = (".mp3", ".ogg", ".opus", ".flac", ".wav")
KERNELS = ("decode", "ingest", "cqt", "model")
SHORT = 12  # frames of a song of part 3
SONGS = 2000


class Nothing:
    """A recogniser that hears nothing, at no cost."""

    name, plan, hash, classes, boundary = "nothing", BTC, "0" * 64, 170, 0.0

    def posteriors(self, features: list[np.ndarray]) -> list[np.ndarray]:
        return [np.full((len(song), 170), 1 / 170, np.float32) for song in features]


def extract_nothing(path: str, plan: object, quality: str) -> Song:
    """One second of silence in no time."""
    features = np.zeros((SHORT, BTC.n_bins), np.float32)
    return Song(features, 22050, 1.0, "ok", "", {"decode": 0.0, "ingest": 0.0, "cqt": 0.0}, 0.5, "none")


def choose(folder: Path, minutes: float) -> list[Path]:
    """Files of the folder, suffixes in turn, until ``minutes`` are reached."""
    by_suffix: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO:
            by_suffix.setdefault(path.suffix.lower(), []).append(path)
    queues, chosen, total = list(by_suffix.values()), [], 0.0
    while any(queues) and total < 60 * minutes:
        for queue in filter(None, queues):
            chosen.append(queue.pop(0))
            total += soundfile.info(chosen[-1]).duration
    return chosen


def run(files: list[Path], out: Path, model: Any, **settings: Any) -> Summary:
    shutil.rmtree(out, ignore_errors=True)
    return label_folder(files, out, model, **settings)


def overhead_and_scaling(files: list[Path], out: Path, model: Any, repeats: int) -> dict[str, Any]:
    run(files[:1], out, model, jobs=1, threads=1)
    runs: dict[int, list[Summary]] = {1: [], 2: []}
    cores = os.sched_getaffinity(0)
    for _ in range(repeats):
        for count, found in runs.items():
            os.sched_setaffinity(0, sorted(cores)[:count])  # the workers inherit it
            try:
                found.append(run(files, out, model, jobs=count, threads=count))
            finally:
                os.sched_setaffinity(0, cores)
    shares = [
        1 - sum(summary.cpu.get(stage, 0.0) for stage in KERNELS) / summary.cpu_total
        for summary in (*runs[1], *runs[2])
    ]
    walls = {count: statistics.median(summary.wall for summary in found) for count, found in runs.items()}
    return {
        "hours": runs[1][0].audio / 3600, "overhead": statistics.median(shares), "overheads": shares,
        "shares": runs[1][-1].shares(), "wall": walls, "scaling": walls[1] / walls[2],
        "scalings": [one.wall / two.wall for one, two in zip(runs[1], runs[2], strict=True)],
    }  # fmt: skip


def python_a_song(folder: Path) -> dict[str, float]:
    """Microseconds of CPU a song: main thread ("books"), label file ("labels"), all of this process."""
    songs = folder / "tiny"
    songs.mkdir()
    for i in range(SONGS):
        (songs / f"{i:05d}.wav").touch()
    extract = importlib.import_module("bench_scaling").extract_nothing  # workers cannot import what is in __main__
    began = time.process_time()
    summary = run([songs], folder / "out", Nothing(), jobs=1, threads=1, extract=extract)
    spent = time.process_time() - began
    return {
        "books": 1e6 * summary.cpu["books"] / SONGS, "labels": 1e6 * summary.cpu["labels"] / SONGS,
        "process": 1e6 * spent / SONGS,
    }  # fmt: skip


def simulated(folder: Path, count: int, jobs: int) -> list[dict[str, Any]]:
    """Two runs: every device slower than its share of the decoding, and faster."""
    songs, seconds = folder / "wav", 20.0
    songs.mkdir()
    pcm = (3000 * np.random.default_rng(0).standard_normal(round(8000 * seconds))).astype(np.int16)
    for i in range(40 * count):
        soundfile.write(songs / f"{i:05d}.wav", pcm, 8000, subtype="PCM_16")
    found = []
    for speed in (200.0, 100_000.0):
        devices = [SimulatedDevice(f"device {i}", 1 / speed, ahead=120.0) for i in range(count)]
        summary = run([songs], folder / "out", Nothing(), jobs=jobs, device=devices)
        found.append({
            "speed": speed, "wall": summary.wall, "real_time": summary.speed, "says": summary.starved,
            "files": [use.files for use in summary.devices], "idle": [use.idle for use in summary.devices],
        })  # fmt: skip
    return found


def load(name: str, folder: Path) -> Any:
    if name != "btc-random":
        return name
    import torch

    from chordfast import models

    torch.manual_seed(0)
    path = folder / "btc-random.safetensors"
    models.save_checkpoint(path, models.BTC())
    return str(path)


def report(result: dict[str, Any]) -> None:
    if whole := result.get("whole"):
        print(f"music     {whole['hours']:.2f} h, model {result['model']}, {result['cores']} cores")
        print("shares    " + ", ".join(f"{name} {share:.1%}" for name, share in whole["shares"].items()))
        spread = f"{min(whole['overheads']):.1%} to {max(whole['overheads']):.1%}"
        print(f"overhead  {whole['overhead']:.1%} of the CPU time ({spread}); goal 10 %")
        spread = f"{min(whole['scalings']):.2f} to {max(whole['scalings']):.2f}"
        print(f"scaling   2 workers on 2 cores {whole['scaling']:.2f} x 1 on one ({spread}); goal 1.9")
    cost = result["python"]
    print(
        f"python    {cost['books']:.0f} us a song in the main thread (goal 50), "
        f"{cost['labels']:.0f} us for decoding and a label file"
    )
    for sim in result["simulated"]:
        idle = sim["idle"]
        print(
            f"devices   {len(idle)} simulated at {sim['speed']:.0f} x real time: {sim['real_time']:.0f} x in all, idle "
            f"{min(idle):.0%} to {max(idle):.0%}, files {min(sim['files'])} to {max(sim['files'])}; "
            f"{sim['says'] or 'all of them fed'}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--limit-minutes", type=float, default=60.0)
    parser.add_argument("--model", default="crema")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    result: dict[str, Any] = {"model": args.model, "cores": cores}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.audio:
            files = choose(args.audio, args.limit_minutes)
            result["whole"] = overhead_and_scaling(files, folder / "out", load(args.model, folder), args.repeats)
        result["python"] = python_a_song(folder)
        result["simulated"] = simulated(folder, args.devices, cores)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
    report(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
