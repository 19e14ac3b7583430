"""Labels rendered audio with known chords and prints mir_eval scores per set.

Usage: python benchmarks/score_rendered.py AUDIO [--labels DIR] [--model crema] [--sets a,b] [--limit N]
                                            [--existing] [--json OUT]

Every sub-folder of AUDIO is a set and holds <id>.flac (or another format) with <id>.lab, the truth, beside it.
Labels go to DIR/<set>; files labelled before are not labelled again, and with --existing none is. Scores are means
over songs weighted by the length of the truth, also for the segmentation measures. Songs that cannot be scored are
named on stderr, and the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import mir_eval
import numpy as np

import chordfast
from chordfast.annotations import read_lab

MEASURES = ("root", "thirds", "triads", "tetrads", "sevenths", "majmin", "mirex", "seg")
AUDIO = (".flac", ".ogg", ".opus", ".mp3", ".wav")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--labels", type=Path, help="default: AUDIO/../labels-MODEL")
    parser.add_argument("--model", default="crema")
    parser.add_argument("--sets", help="comma-separated names; default all")
    parser.add_argument("--limit", type=int, help="songs a set")
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--existing", action="store_true", help="score what lies in --labels, label nothing")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def score(truth: Path, found: Path) -> tuple[float, dict[str, float]]:
    """Seconds of truth, and mir_eval's scores of one song in [0, 1]."""
    reference, estimate = read_lab(truth), read_lab(found)
    with warnings.catch_warnings():
        # mir_eval warns where no segment of a song counts for a measure; the score is 0 then.
        warnings.simplefilter("ignore")
        scores = mir_eval.chord.evaluate(
            np.column_stack([reference.starts, reference.ends]),
            reference.labels,
            np.column_stack([estimate.starts, estimate.ends]),
            estimate.labels,
        )
    return float(reference.ends[-1] - reference.starts[0]), {name: float(scores[name]) for name in MEASURES}


def score_set(songs: list[Path], labels: Path) -> dict:
    """Scores of every song of a set and their weighted mean."""
    rows, failed = {}, {}
    for song in songs:
        try:
            seconds, scores = score(song.with_suffix(".lab"), labels / f"{song.stem}.lab")
        except (OSError, ValueError, mir_eval.chord.InvalidChordException) as error:
            failed[song.stem] = str(error)
        else:
            rows[song.stem] = {"seconds": seconds, **scores}
    weights = np.array([row["seconds"] for row in rows.values()])
    mean = {
        name: float(np.average([row[name] for row in rows.values()], weights=weights)) if rows else float("nan")
        for name in MEASURES
    }
    return {"hours": float(weights.sum() / 3600), "mean": mean, "songs": rows, "failed": failed}


def main() -> int:
    args = arguments()
    labels = args.labels or args.audio.resolve().parent / f"labels-{Path(args.model).stem}"
    wanted = args.sets.split(",") if args.sets else sorted(p.name for p in args.audio.iterdir() if p.is_dir())
    results = {}
    print(f"{'set':12s}{'songs':>6s}{'hours':>7s}" + "".join(f"{name:>10s}" for name in MEASURES))
    for name in wanted:
        songs = sorted(p for p in (args.audio / name).iterdir() if p.suffix in AUDIO and p.with_suffix(".lab").exists())
        songs = songs[: args.limit]
        begin = time.perf_counter()
        if not args.existing:
            chordfast.label_folder(
                songs, labels / name, model=args.model, root=args.audio / name, offline=args.offline, progress=True
            )
        result = score_set(songs, labels / name)
        result["label_seconds"] = time.perf_counter() - begin
        results[name] = result
        cells = "".join(f"{result['mean'][measure]:10.3f}" for measure in MEASURES)
        print(f"{name:12s}{len(result['songs']):6d}{result['hours']:7.2f}{cells}", flush=True)
        for song, error in result["failed"].items():
            print(f"  not scored: {song}: {error}", file=sys.stderr)
    hours = np.array([result["hours"] for result in results.values()])
    if len(results) > 1 and hours.sum():
        all_mean = [
            np.average([r["mean"][m] for r in results.values() if r["hours"]], weights=hours[hours > 0])
            for m in MEASURES
        ]
        count = sum(len(r["songs"]) for r in results.values())
        print(f"{'all':12s}{count:6d}{hours.sum():7.2f}" + "".join(f"{value:10.3f}" for value in all_mean))
    if args.json:
        document = {
            "chordfast": chordfast.__version__,
            "mir_eval": mir_eval.__version__,
            "model": args.model,
            "sets": results,
        }
        args.json.write_text(json.dumps(document, indent=1))
    return 1 if any(result["failed"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
