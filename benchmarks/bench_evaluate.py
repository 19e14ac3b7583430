"""Speed of the chord scores against mir_eval's, on frame-wise and on segment-wise songs.

Usage: python benchmarks/bench_evaluate.py [--minutes 4] [--repeats 5]

Frame-wise input has one interval a frame of 2048 / 22050 s on both sides, as evaluation code that works on frames
hands it over; segment-wise input has the runs of the same frames. Prints milliseconds a song and the ratio; the scores
of both are compared first.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
import warnings
from collections.abc import Callable

import mir_eval
import numpy as np

from chordfast.annotations import FRAME_PERIOD, Annotation
from chordfast.evaluate import score
from chordfast.vocabulary import class_labels


def frames(count: int, seed: int) -> np.ndarray:
    """Classes that change every two seconds or so."""
    generator = np.random.default_rng(seed)
    runs = generator.geometric(FRAME_PERIOD / 2, size=count)
    return np.repeat(generator.integers(0, 170, size=count), runs)[:count]


def framewise(classes: np.ndarray) -> Annotation:
    names, times = class_labels(), np.arange(len(classes) + 1) * FRAME_PERIOD
    return Annotation(times[:-1], times[1:], [names[c] for c in classes])


def segmentwise(classes: np.ndarray) -> Annotation:
    names, first = class_labels(), np.flatnonzero(np.diff(classes, prepend=-1))
    starts = first * FRAME_PERIOD
    return Annotation(starts, np.append(starts[1:], len(classes) * FRAME_PERIOD), [names[c] for c in classes[first]])


def theirs(reference: Annotation, estimate: Annotation) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mir_eval.chord.evaluate(
            reference.intervals, list(reference.labels), estimate.intervals, list(estimate.labels)
        )


def best(call: Callable[[], object], repeats: int) -> float:
    """Shortest of several runs, in seconds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    count = round(args.minutes * 60 / FRAME_PERIOD)
    truth = frames(count, 1)
    found = np.where(np.random.default_rng(3).random(count) < 0.2, frames(count, 2), truth)
    print(f"{args.minutes:g} minutes, {count} frames; mir_eval {mir_eval.__version__}")
    print(f"{'input':14s}{'intervals':>18s}{'mir_eval ms':>13s}{'chordfast ms':>14s}{'ratio':>8s}")
    for name, make in (("frame-wise", framewise), ("segment-wise", segmentwise)):
        reference, estimate = make(truth), make(found)
        expected, ours = theirs(reference, estimate), score(reference, estimate)
        worst = max(abs(expected[measure] - ours[measure]) for measure in expected)
        assert worst < 1e-9, f"scores differ by {worst}"
        slow = best(lambda a=reference, b=estimate: theirs(a, b), max(1, args.repeats // 2))
        fast = best(lambda a=reference, b=estimate: score(a, b), args.repeats)
        size = f"{len(reference)} x {len(estimate)}"
        print(f"{name:14s}{size:>18s}{slow * 1e3:13.1f}{fast * 1e3:14.2f}{slow / fast:8.0f}")


if __name__ == "__main__":
    main()
