"""Label files as the page needs them: sorted segments without overlap, comparable classes, a shift in semitones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..annotations import READABLE, Annotation, read
from ..errors import LabelError
from ..vocabulary import QUALITIES, X_CLASS, chord_class, transpose

LABEL_SUFFIXES = (".json", ".jams", ".lab")
"""What a folder of labels is searched for, the most telling first."""


def is_label_file(path: str | os.PathLike[str]) -> bool:
    """Whether the name ends like a file of one of the annotation formats."""
    return Path(path).suffix.lower() in READABLE


def read_labels(path: str | os.PathLike[str], semitones: int = 0) -> Annotation:
    """The annotation of a label file by its suffix, roots moved up by ``semitones``.

    Labels that cannot be transposed stay as they are. LabelError when the file cannot be read, with file and line;
    UsageError for another suffix.
    """
    annotation = read(path)
    if semitones % 12 == 0:
        return annotation
    moved = [_moved(label, semitones) for label in annotation.labels]
    others = annotation.alternatives
    return replace(annotation, labels=moved, alternatives=others and [_moved(label, semitones) for label in others])


def _moved(label: str, semitones: int) -> str:
    try:
        return transpose(label, semitones)
    except LabelError:
        return label


def columns(annotation: Annotation, duration: float) -> dict[str, Any]:
    """Columns of the segments within [0, duration], in order and without overlap; unlabelled time is left out.

    starts, ends in s; labels; with them confidence (None where unknown) and alternatives where there are any.
    """
    whole = annotation.fill_gaps(duration, label="")
    whole = whole.take(np.flatnonzero([bool(label) for label in whole.labels]))
    shown: dict[str, Any] = {
        "starts": np.round(whole.starts, 6).tolist(),
        "ends": np.round(whole.ends, 6).tolist(),
        "labels": whole.labels,
    }
    for name in ("confidence", "alternative_confidence"):
        values = getattr(whole, name)
        if values is not None:
            shown[name] = [None if np.isnan(v) else round(float(v), 3) for v in values]
    if whole.alternatives is not None:
        shown["alternatives"] = whole.alternatives
    return shown


def comparable(labels: Sequence[str]) -> dict[str, int]:
    """Class of every distinct label that has one of the 170; what is X or unreadable is compared by its text."""
    found: dict[str, int] = {}
    for label in dict.fromkeys(labels):
        try:
            index = chord_class(label)
        except LabelError:
            continue
        if index != X_CLASS or label == "X":
            found[label] = index
    return found


def disagreement(one: Annotation, other: Annotation) -> float:
    """Share of the time both label in which their chords differ, 0 … 1; NaN when they share none."""
    end = min(one.duration, other.duration)
    first, second = (a.fill_gaps(end, label="") for a in (one, other))
    bounds = np.unique(np.concatenate([first.starts, second.starts, [end]]))
    if len(bounds) < 2:
        return float("nan")
    names = [np.array(a.labels, dtype=object)[np.searchsorted(a.starts, bounds[:-1], "right") - 1]
             for a in (first, second)]  # fmt: skip
    keys: dict[str, Any] = comparable([*first.labels, *second.labels])
    lengths = np.diff(bounds)
    both = np.array([bool(a and b) for a, b in zip(*names, strict=True)])
    differ = np.array([keys.get(a, a) != keys.get(b, b) for a, b in zip(*names, strict=True)])
    return float(lengths[both & differ].sum() / lengths[both].sum()) if both.any() else float("nan")


THUMBNAIL_SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijkl"
"""Sign number 4 * root + family; family 0 major, 1 minor, 2 diminished, 3 augmented or suspended."""
_FAMILY = dict.fromkeys(QUALITIES, 3)
_FAMILY |= dict.fromkeys(("maj", "maj6", "maj7", "7"), 0) | dict.fromkeys(("min", "min6", "min7", "minmaj7"), 1)
_FAMILY |= dict.fromkeys(("dim", "dim7", "hdim7"), 2)


def thumbnail(annotation: Annotation, cells: int = 96) -> str:
    """``cells`` characters, one for the chord in the middle of each part of the recording.

    One of ``THUMBNAIL_SIGNS``, "-" for N, "~" for X and unreadable labels, " " where nothing is labelled.
    """
    if not annotation.duration or not len(annotation):
        return " " * cells
    whole = annotation.fill_gaps(label="")
    middle = (np.arange(cells) + 0.5) * (annotation.duration / cells)
    index = np.searchsorted(whole.starts, middle, "right") - 1
    signs = {label: _sign(label) for label in dict.fromkeys(whole.labels)}
    return "".join(signs[whole.labels[i]] for i in index)


def _sign(label: str) -> str:
    if not label:
        return " "
    try:
        index = chord_class(label)
    except LabelError:
        return "~"
    if index >= X_CLASS:
        return "~" if index == X_CLASS else "-"
    return THUMBNAIL_SIGNS[4 * (index // len(QUALITIES)) + _FAMILY[QUALITIES[index % len(QUALITIES)]]]
