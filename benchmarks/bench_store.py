"""The store: bytes an hour, adding a song, sealing, and reading windows of 108 frames at random.

Usage: python benchmarks/bench_store.py [--hours H] [--posteriors topk|full8|full|none] [--folder DIR] [--shard-mb M]

Random features and posteriors of songs of four minutes are written to a new folder below DIR (deleted afterwards),
sealed, verified and read back. Reading is warm: the files are in the page cache, as they are while a training runs
whose store fits in memory. "in place" is a view of the features, "copied" also brings its bytes into a batch. Medians;
on a machine that does other work, compare figures of one run only.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from chordfast.store import POSTERIORS, SongRecord, Store, StoreIdentity, StoreWriter, verify

SECONDS = 240.0
WINDOW = 108
BATCH = 128
THREADS = 8


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--posteriors", choices=POSTERIORS, default="topk")
    parser.add_argument("--folder", type=Path, help="where to write (default: the system's temporary folder)")
    parser.add_argument("--shard-mb", type=float, default=512.0)
    return parser.parse_args()


def record(number: int, identity: StoreIdentity) -> SongRecord:
    random = np.random.default_rng(number)
    frames = identity.plan.n_frames(round(SECONDS * identity.plan.sample_rate))
    features = random.uniform(-13.8, 3, (frames, identity.plan.n_bins)).astype(np.float32)
    logits = random.normal(0, 6, (frames, identity.classes)).astype(np.float32)
    posteriors = np.exp(logits - logits.max(axis=1, keepdims=True))
    posteriors /= posteriors.sum(axis=1, keepdims=True)
    return SongRecord(f"{number:05d}.mp3", f"{number:064x}", "ok", SECONDS, features, posteriors)


def per_call(function: Callable[[int], object], calls: int, repeats: int = 7) -> float:
    """Median seconds of a call."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        for i in range(calls):
            function(i)
        found.append((time.perf_counter() - start) / calls)
    return statistics.median(found)


def write(folder: Path, identity: StoreIdentity, songs: int, shard_bytes: int) -> None:
    adding: list[float] = []
    together: list[float] = []
    with StoreWriter(folder, identity, shard_bytes=shard_bytes) as writer:
        for first in range(0, songs, 2 * THREADS):
            made = [record(number, identity) for number in range(first, min(first + 2 * THREADS, songs))]
            for song in made[:THREADS]:
                start = time.perf_counter()
                writer.add(song)
                adding.append(time.perf_counter() - start)
            start = time.perf_counter()
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(writer.add, made[THREADS:]))
            if len(made) == 2 * THREADS:
                together.append((time.perf_counter() - start) / THREADS)
        start = time.perf_counter()
        shards = writer.seal()
        sealing = time.perf_counter() - start
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    hours = songs * SECONDS / 3600
    print(f"written      {hours:.2f} h in {songs} songs, {len(shards)} shards, {size / 1e6:.1f} MB")
    print(f"size         {size / 1e6 / hours:.2f} MB an hour of audio")
    print(f"add          {1e3 * statistics.median(adding):.2f} ms a song of {SECONDS:.0f} s (flushed to the disk)")
    if together:
        print(f"             {1e3 * statistics.median(together):.2f} ms in {THREADS} threads")
    print(f"seal         {sealing:.2f} s, {size / 1e6 / sealing:.0f} MB/s")


def read(folder: Path) -> None:
    start = time.perf_counter()
    store = Store(folder)
    print(f"open         {1e3 * (time.perf_counter() - start):.2f} ms, {len(store)} songs")
    start = time.perf_counter()
    damage = verify(folder)
    print(f"verify       {time.perf_counter() - start:.2f} s, {len(damage)} damaged")
    count = 20_000
    random = np.random.default_rng(0)
    positions = random.integers(0, len(store), count).tolist()
    starts = [int(random.integers(0, store.rows[p].frames - WINDOW)) for p in positions]
    target = np.empty((WINDOW, store.identity.plan.n_bins), np.float16)

    def view(i: int) -> object:
        return store.features(positions[i], starts[i], starts[i] + WINDOW)

    def copy(i: int) -> None:
        target[:] = store.features(positions[i], starts[i], starts[i] + WINDOW)

    print(f"features     {1e6 * per_call(view, count):.2f} us a random window of {WINDOW} frames, in place")
    print(f"             {1e6 * per_call(copy, count):.2f} us copied")
    if store.identity.posteriors != "none":
        logits = per_call(lambda i: store.teacher_logits(positions[i], starts[i], starts[i] + WINDOW), 500)
        print(f"logits       {1e6 * logits:.2f} us a window, expanded to {store.identity.classes} classes")
    batches = [(positions[i : i + BATCH], starts[i : i + BATCH]) for i in range(0, 50 * BATCH, BATCH)]
    for names in (("features", "target"), ("features", "target", "teacher_logits")):
        if "teacher_logits" in names and store.identity.posteriors == "none":
            continue
        out = store.read_windows(*batches[0], WINDOW, names)
        each = per_call(lambda i, n=names, o=out: store.read_windows(*batches[i], WINDOW, n, o), len(batches), 3)
        print(f"batch        {1e3 * each:.2f} ms for {BATCH} windows of {', '.join(names)}")


def main() -> None:
    given = arguments()
    identity = StoreIdentity(teacher="random", posteriors=given.posteriors)
    folder = Path(tempfile.mkdtemp(prefix="chordfast-store-", dir=given.folder))
    try:
        write(folder, identity, max(1, round(given.hours * 3600 / SECONDS)), round(given.shard_mb * 2**20))
        read(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
