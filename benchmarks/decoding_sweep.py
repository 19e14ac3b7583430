"""Scores a recogniser under several decodings, on validation songs whose features are in a store.

    python benchmarks/decoding_sweep.py MODEL --store STORE --labels DIR --split FILE [--part val]
        [--boundary -0.75,-0.5,-0.25,0] [--self-transition 0.05,0.1,0.2] [--overlap 0.5,0.333,0.25]

One value changes at a time, the others stay as labelling has them; each overlap is tried with windows that count most
in their middle and with windows that count alike. Prints mir_eval's scores weighted by length. Choose on songs that
are in no test.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from chordfast import annotations, teachers
from chordfast.decoding import DecodingOptions, decode, tent
from chordfast.evaluate import evaluate
from chordfast.store import Store
from chordfast.teachers.windowed import WINDOW, Windowed
from chordfast.train import read_split

SCORES = ("root", "thirds", "triads", "sevenths", "tetrads", "majmin", "mirex", "seg")


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part]


def listen(recogniser: Any, store: Store, songs: list[str]) -> list[np.ndarray]:
    return [recogniser.posteriors([np.asarray(store.features(song), np.float32)])[0] for song in songs]


def score(found: list[np.ndarray], songs: list[str], options: DecodingOptions, period: float, labels: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        for song, posteriors in zip(songs, found, strict=True):
            target = (Path(folder) / song).with_suffix(".lab")
            target.parent.mkdir(parents=True, exist_ok=True)
            truth = annotations.read_lab((labels / song).with_suffix(".lab"))
            annotations.write(decode(posteriors, float(truth.ends[-1]), options, period), target, format="lab")
        part = {str(Path(song).with_suffix("")) for song in songs}
        corpus = evaluate(labels, [folder], part=part).as_dict()["estimates"][0]["corpus"]
    return "  ".join(f"{100 * corpus[name]['mean']:6.2f}" for name in SCORES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--store", required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--part", default="val", choices=("train", "val", "test"))
    parser.add_argument("--boundary", type=numbers, default=[-0.75, -0.5, -0.25, 0.0])
    parser.add_argument("--self-transition", type=numbers, default=[0.01, 0.05, 0.1, 0.3])
    parser.add_argument("--overlap", type=numbers, default=[0.5, 1 / 3, 0.25, 0.0])
    arguments = parser.parse_args()
    store, recogniser = Store(arguments.store), teachers.load(arguments.model)
    songs = [song for song in getattr(read_split(arguments.split), arguments.part) if song in store]
    songs = [song for song in songs if (arguments.labels / song).with_suffix(".lab").exists()]
    print(
        f"{recogniser.name}, {len(songs)} songs of {arguments.part}, percent\n{'':24s}"
        + "  ".join(f"{s[:6]:>6s}" for s in SCORES)
    )
    period, plain = recogniser.plan.frame_period, DecodingOptions().for_model(recogniser.boundary)
    base = listen(recogniser, store, songs)

    def show(name: str, value: float, found: list[np.ndarray], **changed: float) -> None:
        options = DecodingOptions(**{"boundary": plain.boundary, **changed})
        print(f"{name:16s} {value:6.3g} {score(found, songs, options, period, arguments.labels)}", flush=True)

    for value in arguments.boundary:
        show("boundary", value, base, boundary=value)
    for value in arguments.self_transition:
        show("self_transition", value, base, self_transition=value)
    for value in arguments.overlap if isinstance(recogniser, Windowed) else []:
        recogniser.overlap = value
        for name, weights in (("overlap", tent(WINDOW)), ("overlap, equal", np.ones(WINDOW, np.float32))):
            recogniser.weights = weights
            show(name, value, listen(recogniser, store, songs))


if __name__ == "__main__":
    main()
