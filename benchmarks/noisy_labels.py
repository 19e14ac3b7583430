"""Copies of chord labels with the mistakes careless annotators make, to see what training on them costs.

    python benchmarks/noisy_labels.py LABELS OUT [--wrong 0.2] [--jitter 0.2] [--seed 1]

Every .lab under LABELS is written to the same place under OUT. A share ``--wrong`` of the chords becomes another one:
four in ten lose what goes beyond their triad (a triad turns into its relative), three move by a fifth, three become
another chord of the song. Boundaries move by a normal deviate of ``--jitter`` seconds, never past the middle of a
neighbouring segment. Silence stays. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np

from chordfast.annotations import Annotation, read_lab, write
from chordfast.vocabulary import QUALITIES, X_CLASS, chord_classes, class_label

MINOR = {"min", "dim", "min6", "min7", "minmaj7", "dim7", "hdim7"}


def mistaken(chord: int, others: list[int], draw: random.Random) -> int:
    """Another of the 168 chord classes, as a person might mistake ``chord`` for."""
    root, quality = divmod(chord, len(QUALITIES))
    kind = draw.random()
    if kind < 0.4:
        minor = QUALITIES[quality] in MINOR
        if QUALITIES[quality] in ("maj", "min"):
            root, minor = (root + (3 if minor else 9)) % 12, not minor
        return root * len(QUALITIES) + QUALITIES.index("min" if minor else "maj")
    if kind < 0.7 or not others:
        return (root + draw.choice((5, 7))) % 12 * len(QUALITIES) + quality
    return draw.choice(others)


def noisy(annotation: Annotation, wrong: float, jitter: float, draw: random.Random) -> Annotation:
    classes = [int(value) for value in chord_classes(annotation.labels)]
    chords = sorted({value for value in classes if value < X_CLASS})
    labels = [
        class_label(mistaken(value, [other for other in chords if other != value], draw))
        if value < X_CLASS and draw.random() < wrong
        else label
        for value, label in zip(classes, annotation.labels, strict=True)
    ]
    edges = np.append(annotation.starts, annotation.ends[-1:])
    moved = edges.copy()
    middles = (edges[1:] + edges[:-1]) / 2
    for i in range(1, len(edges) - 1):
        moved[i] = min(max(edges[i] + draw.gauss(0, jitter), middles[i - 1]), middles[i])
    return Annotation(moved[:-1], moved[1:], labels, duration=annotation.duration)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--wrong", type=float, default=0.2)
    parser.add_argument("--jitter", type=float, default=0.2, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    files = sorted(arguments.labels.rglob("*.lab"))
    for path in files:
        name = path.relative_to(arguments.labels)
        copy = noisy(read_lab(path), arguments.wrong, arguments.jitter, random.Random(f"{arguments.seed} {name}"))
        (arguments.out / name).parent.mkdir(parents=True, exist_ok=True)
        write(copy, arguments.out / name)
    print(f"{len(files)} files written to {arguments.out}")


if __name__ == "__main__":
    main()
