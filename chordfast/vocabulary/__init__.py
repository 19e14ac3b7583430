"""Chord labels and classes: Harte grammar, lead-sheet spellings, vocabularies of 25 and 170 classes, dialects."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from . import btc, chordmini
from .chordmini import transpose
from .classes import (
    N_CLASS,
    N_CLASS_25,
    QUALITIES,
    X_CLASS,
    X_CLASS_25,
    check_classes,
    class_label,
    class_labels,
    default_class,
    reduce_quality,
    transpose_class,
)
from .harte import PITCH_CLASSES, Chord, parse
from .leadsheet import normalise

__all__ = [
    "DIALECTS",
    "N_CLASS",
    "N_CLASS_25",
    "PITCH_CLASSES",
    "QUALITIES",
    "X_CLASS",
    "X_CLASS_25",
    "Chord",
    "chord_class",
    "chord_classes",
    "class_label",
    "class_labels",
    "normalise",
    "parse",
    "reduce_quality",
    "transpose",
    "transpose_class",
]

_MAPS: dict[str, Callable[[str], int]] = {
    "btc25": btc.class25,
    "btc170": btc.class170,
    "cm_train": chordmini.train_class,
    "cm_offline": chordmini.offline_class,
    "cm_eval": chordmini.eval_class,
}
DIALECTS: tuple[str, ...] = ("default", *_MAPS)
"""Names ``chord_class`` knows: the default map and the five maps of the BTC and ChordMini code."""


def _map(classes: int, dialect: str) -> Callable[[str], int]:
    check_classes(classes)
    if dialect == "default":
        return lambda label: default_class(label, classes)
    if dialect not in _MAPS:
        raise UsageError(f"There is no label dialect {dialect!r}; choose one of {', '.join(DIALECTS)}.")
    if classes == 25 and dialect != "btc25":
        raise UsageError(f"Label dialect {dialect!r} has 170 classes, not 25; choose 'default' or 'btc25'.")
    return _MAPS[dialect]


def chord_class(label: str, classes: int = 170, dialect: str = "default") -> int:
    """Class of a chord label.

    Default map, 170 classes (14 * root + position in ``QUALITIES``; X 168, N 169). Harte labels and
    the lead-sheet spellings of ``normalise`` are read; the bass is ignored.

    * Ninths, elevenths and thirteenths fall back to their seventh: 9, 11, 13 → 7; maj9 … → maj7; min9 … → min7.
    * Degrees in brackets are ignored unless they complete another quality with a sixth or seventh:
      maj(9) → maj, maj(7) → maj7, maj(b7) → 7, min(7) → minmaj7, maj(6) → maj6, dim(b7) → hdim7.
    * b5 and #5 replace a plain fifth: min7(b5) → hdim7, maj(#5) → aug, 7(b5) → X.
    * A missing fifth is taken as plain: 7(*5) → 7, (b3,b7) → min7. A missing third is never guessed.
    * Suspended chords stay so with any seventh: sus4(b7), 7sus4 → sus4; maj(4,*3) → sus4; with 4 and 2, sus4.
    * Everything else is X: aug7, 5, 1, altered fifths, incomplete sets. Training masks X; evaluation
      compares the labels themselves by mir_eval's rules.

    Default map, 25 classes (2 * root for major, + 1 for minor, N 24): maj, maj6, maj7 and 7 are major;
    min, min6, min7 and minmaj7 are minor; the rest, X too, is 25 (``X_CLASS_25``), which no model
    outputs and losses ignore, as mir_eval's majmin score leaves those chords out.

    Other dialects reproduce the published code: ``btc25`` and ``btc170`` (how BTC was trained),
    ``cm_train``, ``cm_offline`` and ``cm_eval`` (ChordMini's training sets, pseudo-label files and
    evaluation). ``btc25`` always answers in 25 classes, the other four in 170.

    Raises LabelError for a label the map cannot read (ChordMini's maps read everything), UsageError
    for an unknown dialect or vocabulary.
    """
    return _map(classes, dialect)(label)


def chord_classes(labels: Iterable[str], classes: int = 170, dialect: str = "default") -> npt.NDArray[np.int64]:
    """``chord_class`` of many labels, int64 [len(labels)]; every distinct label is parsed once."""
    labels = list(labels)
    mapped = _map(classes, dialect)
    table = {label: mapped(label) for label in dict.fromkeys(labels)}
    return np.fromiter(map(table.__getitem__, labels), dtype=np.int64, count=len(labels))
