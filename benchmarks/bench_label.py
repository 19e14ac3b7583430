"""From audio files to label files, chordfast against librosa and the same model, one core each, in one run.

Usage: python benchmarks/bench_label.py --audio DIR [--limit-minutes M] [--model crema|btc-random|PATH]
                                        [--repeats R] [--batch B] [--quality relaxed|exact] [--precision fp32|bf16]
                                        [--chunks] [--json OUT]

chordfast: extract_song (decode, ingest, CQT), posteriors of B songs at a time, decode, write.
librosa:   librosa.load taken apart into its own steps (decode, to_mono, resample), one librosa.cqt with the model's
           parameters (crema's two harmonics come out of one transform there too), then the same network, one song at a
           time (a BTC or 2E1D as plain eager torch modules, fp32, on the same windows), the same decoding and writing.

Both sides do the same files in the same process, pinned to one core with every thread pool at 1, taking turns, after
a warm-up on one file. "total" is wall-clock time, the stages and "cpu", their sum, CPU time (the two part where other
programs use the core); medians over the repeats are printed. Then comes for how much of the time both sides give the
same label: below 97 % no ratio is given. "btc-random" is BTC's large network with random weights: right for speed,
worthless as labels, so agreement is not asked of it.
"""

from __future__ import annotations

import os

# Thread pools read these once, when their library is first imported.
for _name in ("OMP", "MKL", "OPENBLAS", "NUMBA", "VECLIB_MAXIMUM", "CHORDFAST"):
    os.environ[f"{_name}_NUM_THREADS"] = "1"

import argparse
import copy
import json
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch
from eager_networks import eager_twin

import chordfast
from chordfast import annotations, decoding, features, models, teachers
from chordfast.annotations import Annotation
from chordfast.ops.feature_plan import FeaturePlan
from chordfast.teachers import Recogniser

Run = tuple[dict[str, float], list[Annotation]]
AUDIO = (".mp3", ".ogg", ".opus", ".flac", ".wav")
STAGES = ("decode", "ingest", "cqt", "model", "rest")
ENOUGH = 0.97
MINIMUM = 5.0  # seconds; shorter files measure start-up


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--limit-minutes", type=float, default=60.0)
    parser.add_argument("--model", default="crema")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8, help="songs the model sees at once on chordfast's side")
    parser.add_argument("--quality", choices=("relaxed", "exact"), default="relaxed")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of chordfast's network")
    parser.add_argument("--chunks", action="store_true", help="librosa.cqt of 10 s at a time, as BTC's own script")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def choose(folder: Path, minutes: float) -> list[tuple[Path, float]]:
    """Files and their seconds, formats and folders in turn, until ``minutes`` are reached."""
    groups: dict[tuple[str, Path], list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO:
            groups[path.suffix.lower(), path.parent].append(path)
    queues, chosen, total = list(groups.values()), [], 0.0
    while any(queues) and total < 60 * minutes:
        for queue in queues:
            if queue and total < 60 * minutes:
                path = queue.pop(0)
                seconds = soundfile.info(path).duration
                if seconds >= MINIMUM:
                    chosen.append((path, seconds))
                    total += seconds
    return chosen


class Clock:
    """CPU seconds of every stage, and wall-clock seconds since it was made."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.began = time.perf_counter()
        self.last = time.process_time()

    def lap(self, stage: str) -> None:
        now = time.process_time()
        self.seconds[stage] += now - self.last
        self.last = now

    def totals(self) -> dict[str, float]:
        wall = time.perf_counter() - self.began
        return {**self.seconds, "cpu": sum(self.seconds.values()), "total": wall}


def finish(posteriors: np.ndarray, duration: float, recogniser: Recogniser, target: Path) -> Annotation:
    """Decode and write, alike for both sides."""
    found = decoding.decode(posteriors, duration, decoding.DecodingOptions(), recogniser.plan.frame_period)
    annotations.write(found, target)
    return found


def run_chordfast(paths: list[Path], recogniser: Recogniser, args: argparse.Namespace, out: Path) -> Run:
    clock, found = Clock(), []
    for start in range(0, len(paths), args.batch):
        songs = []
        for path in paths[start : start + args.batch]:
            song = features.extract_song(path, recogniser.plan, args.quality)
            clock.lap("rest")
            for stage, spent in song.seconds.items():
                clock.seconds[stage] += spent
                clock.seconds["rest"] -= spent
            songs.append(song)
        posteriors = recogniser.posteriors([song.features for song in songs])
        clock.lap("model")
        for i, (song, one) in enumerate(zip(songs, posteriors, strict=True)):
            found.append(finish(one, song.duration, recogniser, out / f"{start + i}.lab"))
        clock.lap("rest")
    return clock.totals(), found


def librosa_features(mono: np.ndarray, plan: FeaturePlan, chunk: int | None = None) -> np.ndarray:
    """The plan's features by librosa, of ``chunk`` samples at a time (None: all at once): float32 [T, n_bins]."""
    if chunk is not None:
        pieces = [mono[start : start + chunk] for start in range(0, len(mono), chunk)]
        return np.concatenate([librosa_features(piece, plan) for piece in pieces if len(piece) > plan.hop])
    complex_cqt = librosa.cqt(
        mono,
        sr=plan.sample_rate,
        hop_length=plan.hop,
        fmin=plan.fmin,
        n_bins=plan.n_bins,
        bins_per_octave=plan.bins_per_octave,
    )
    magnitude = np.ascontiguousarray(np.abs(complex_cqt).T, np.float32)
    return np.log(magnitude + 1e-6) if plan.output == "log" else magnitude


def run_librosa(paths: list[Path], recogniser: Recogniser, args: argparse.Namespace, out: Path) -> Run:
    clock, found = Clock(), []
    for i, path in enumerate(paths):
        samples, rate = librosa.load(path, sr=None, mono=False)
        clock.lap("decode")
        mono = librosa.resample(librosa.to_mono(samples), orig_sr=rate, target_sr=recogniser.plan.sample_rate)
        clock.lap("ingest")
        matrix = librosa_features(mono, recogniser.plan, 10 * recogniser.plan.sample_rate if args.chunks else None)
        clock.lap("cqt")
        (posteriors,) = recogniser.posteriors([matrix])
        clock.lap("model")
        found.append(finish(posteriors, samples.shape[-1] / rate, recogniser, out / f"{i}.lab"))
        clock.lap("rest")
    return clock.totals(), found


SIDES = {"chordfast": run_chordfast, "librosa": run_librosa}


def agreement(ours: list[Annotation], theirs: list[Annotation]) -> float:
    """Share of the time, in [0, 1], for which both sides give the same label."""
    same = total = 0.0
    for a, b in zip(ours, theirs, strict=True):
        edges = np.unique(np.concatenate([a.starts, a.ends, b.starts, b.ends]))
        edges = edges[edges <= min(a.ends[-1], b.ends[-1])]
        middle, length = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
        left = np.array(a.labels)[np.searchsorted(a.ends, middle)]
        right = np.array(b.labels)[np.searchsorted(b.ends, middle)]
        same += float(length[left == right].sum())
        total += float(length.sum())
    return same / total


def load(name: str, folder: Path) -> Recogniser:
    """A model by name or path; "btc-random" is made up here, with a fixed seed."""
    if name != "btc-random":
        return teachers.load(name)
    torch.manual_seed(0)
    path = folder / "btc-random.safetensors"
    models.save_checkpoint(path, models.BTC())
    return teachers.load(path)


class Eager:
    """A recogniser's network in plain torch modules, behind what the recogniser asks of one."""

    def __init__(self, model: models.ChordModel) -> None:
        self.normalise, self.compat, self._twin = model.normalise, model.compat, eager_twin(model).eval()

    def __call__(self, x: torch.Tensor, _: torch.Tensor | None) -> torch.Tensor:
        return self._twin(x)


def eager(recogniser: Recogniser) -> Recogniser:
    """The other side's recogniser: itself where its network is no `torch.nn.Module` of ours."""
    if not isinstance(getattr(recogniser, "model", None), models.ChordModel):
        return recogniser
    other = copy.copy(recogniser)
    other.model = Eager(recogniser.model)
    return other


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def pin() -> int | None:
    """Tie this process to one core; its number, or None where the system cannot."""
    torch.set_num_threads(1)
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def measure(args: argparse.Namespace, folder: Path) -> dict:
    """All repeats; times in seconds."""
    core = pin()
    files = choose(args.audio, args.limit_minutes)
    if not files:
        sys.exit(f"no audio of at least {MINIMUM:g} s under {args.audio}")
    paths, seconds = [path for path, _ in files], sum(length for _, length in files)
    recogniser = load(args.model, folder)
    networks = {"librosa": eager(recogniser), "chordfast": recogniser}
    if args.precision != "fp32":
        networks["chordfast"] = recogniser.on("cpu", args.precision)
    for name, side in SIDES.items():
        side(paths[:1], networks[name], args, folder)
    times: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
    found: dict[str, list[Annotation]] = {}
    for repeat in range(args.repeats):
        order = list(SIDES) if repeat % 2 == 0 else list(SIDES)[::-1]
        for name in order:
            spent, found[name] = SIDES[name](paths, networks[name], args, folder)
            times[name].append(spent)
            print(f"repeat {repeat + 1} of {args.repeats}: {name} {spent['total']:.1f} s", file=sys.stderr)
    return {
        "chordfast": chordfast.__version__,
        "librosa": librosa.__version__,
        "torch": torch.__version__,
        "processor": processor(),
        "core": core,
        "threads": 1,
        "precision": {"chordfast": args.precision, "librosa": "fp32"},
        "batch": {"chordfast": args.batch, "librosa": 1},
        "quality": args.quality,
        "model": {"name": recogniser.name, "hash": recogniser.hash, "random": args.model == "btc-random"},
        "plan": {"hash": recogniser.plan.hash, "bins": recogniser.plan.n_bins},
        "formats": dict(Counter(path.suffix.lower()[1:] for path in paths)),
        "files": len(paths),
        "hours": seconds / 3600,
        "times": times,
        "chunks": args.chunks,
        "agreement": agreement(*found.values()),
    }


def report(result: dict) -> bool:
    """Print the tables; False when the two sides do not agree enough for a ratio."""
    seconds = 3600 * result["hours"]
    formats = ", ".join(f"{count} {name}" for name, count in sorted(result["formats"].items()))
    model = result["model"]
    print(f"input     {result['files']} files ({formats}), {result['hours']:.2f} h")
    print(f"machine   {result['processor']}, core {result['core']}, {result['threads']} thread a side")
    print(
        f"model     {model['name']}{' with random weights' if model['random'] else ''} {model['hash'][:12]}, "
        f"{result['precision']['chordfast']} | fp32, "
        f"songs at once: {result['batch']['chordfast']} | {result['batch']['librosa']}; "
        f"features {result['plan']['bins']} bins, {result['quality']} resampling | soxr HQ"
    )
    print(f"librosa   {'10 s at a time' if result['chunks'] else 'whole songs at a time'}")
    print(f"versions  chordfast {result['chordfast']}, librosa {result['librosa']}, torch {result['torch']}")
    columns = (*STAGES, "cpu", "total")
    print(f"\n{'us per s of audio':18s}" + "".join(f"{name:>9s}" for name in columns) + f"{'x real time':>13s}")
    median = {
        name: {column: statistics.median(run[column] for run in runs) for column in columns}
        for name, runs in result["times"].items()
    }
    for name, row in median.items():
        cells = "".join(f"{1e6 * row[column] / seconds:9.0f}" for column in columns)
        print(f"{name:18s}{cells}{seconds / row['total']:13.0f}")
    ratios = {
        column: median["librosa"][column] / median["chordfast"][column] if median["chordfast"][column] else float("nan")
        for column in columns
    }
    pairs = zip(result["times"]["librosa"], result["times"]["chordfast"], strict=True)
    spread = [theirs["total"] / ours["total"] for theirs, ours in pairs]
    valid = model["random"] or result["agreement"] >= ENOUGH
    if valid:
        print(f"{'ratio':18s}" + "".join(f"{ratios[column]:9.2f}" for column in columns))
        print(
            f"\nend to end {statistics.median(spread):.2f} x ({min(spread):.2f} to {max(spread):.2f} over the repeats)"
        )
    print(f"same label for {100 * result['agreement']:.2f} % of the time")
    share = median["chordfast"]["rest"] / median["chordfast"]["cpu"]
    print(f"beyond decoding, kernels and model {share:.1%} of chordfast's CPU time (whole runs: bench_scaling.py)")
    if not valid:
        print(f"no ratio: the labels agree for less than {100 * ENOUGH:.0f} % of the time", file=sys.stderr)
    return valid


def main() -> int:
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args, Path(folder))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
    return 0 if report(result) else 1


if __name__ == "__main__":
    sys.exit(main())
