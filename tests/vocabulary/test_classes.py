"""Class tables, the default map, the five published maps, transposition."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from chordfast.errors import LabelError, UsageError
from chordfast.vocabulary import (
    DIALECTS,
    N_CLASS,
    PITCH_CLASSES,
    QUALITIES,
    X_CLASS,
    X_CLASS_25,
    chord_class,
    chord_classes,
    chordmini,
    class_label,
    class_labels,
    parse,
    reduce_quality,
    transpose,
    transpose_class,
)

GOLDEN = Path(__file__).parents[1] / "golden/vocabulary"
with open(GOLDEN / "label_map.csv", encoding="utf-8", newline="") as handle:
    LABEL_MAP = list(csv.DictReader(handle))
REAL_LABELS = (GOLDEN / "harte_labels.txt").read_text().split()
COLUMNS = {
    "btc25": "btc25",
    "btc170": "btc170",
    "cm_train": "cm_train170",
    "cm_offline": "cm_offline170",
    "cm_eval": "cm_eval170",
}


def class_or_error(label: str, dialect: str) -> int:
    try:
        return chord_class(label, dialect=dialect)
    except LabelError:
        return -99


@pytest.mark.parametrize("dialect", COLUMNS)
def test_published_maps(dialect: str) -> None:
    assert len(LABEL_MAP) == 545
    got = {row["label"]: class_or_error(row["label"], dialect) for row in LABEL_MAP}
    assert got == {row["label"]: int(row[COLUMNS[dialect]]) for row in LABEL_MAP}


def test_published_texts() -> None:
    for row in LABEL_MAP:
        assert chordmini.eval_label(row["label"]) == row["cm_eval_label"], row["label"]
        assert chordmini.canonical(row["label"]) == row["cm_parser_string"], row["label"]


def test_tables() -> None:
    golden = json.loads((GOLDEN / "vocab170.json").read_text())["idx170"]
    assert class_labels(plain_major=True) == tuple(golden[str(i)] for i in range(170))
    labels = class_labels()
    assert len(set(labels)) == 170
    assert (labels[0], labels[1], labels[127], labels[X_CLASS], labels[N_CLASS]) == (
        "C:min",
        "C:maj",
        "A:maj",
        "X",
        "N",
    )
    assert class_labels(25)[:4] == ("C:maj", "C:min", "C#:maj", "C#:min")
    assert class_labels(25)[24] == class_label(24, 25) == "N"
    assert class_label(25, 25) == "X"
    assert [class_label(14 * r + q) for r in (0, 11) for q in (1, 13)] == ["C:maj", "C:sus4", "B:maj", "B:sus4"]
    assert (len(QUALITIES), len(PITCH_CLASSES)) == (14, 12)


@pytest.mark.parametrize("classes", [25, 170])
def test_labels_and_classes_are_inverse(classes: int) -> None:
    labels = class_labels(classes)
    assert chord_classes(labels, classes).tolist() == list(range(classes))
    assert [chord_class(label, classes) for label in class_labels(classes, plain_major=True)] == list(range(classes))


DEFAULT = {
    # extended chords fall back to their seventh
    "C:9": "7", "C:11": "7", "C:13": "7", "C:maj9": "maj7", "C:maj11": "maj7", "C:maj13": "maj7", "C:min9": "min7",
    "C:min11": "min7", "C:min13": "min7", "C:minmaj7": "minmaj7",
    # additions count only as sixth or seventh
    "C:maj(9)": "maj", "C:min(9)": "min", "C:maj(11)": "maj", "C:maj(2)": "maj", "C:maj(4)": "maj", "C:maj(#9)": "maj",
    "C:7(#9)": "7", "C:7(b13)": "7", "C:min7(11)": "min7", "C:maj6(9)": "maj6", "C:maj(7)": "maj7", "C:maj(b7)": "7",
    "C:min(7)": "minmaj7", "C:min(b7)": "min7", "C:maj(6)": "maj6", "C:min(6)": "min6", "C:maj6(b7)": "7",
    "C:maj6(7)": "maj7", "C:min6(7)": "minmaj7", "C:dim(b7)": "hdim7", "C:dim(bb7)": "dim7", "C:dim7(b7)": "dim7",
    "C:7(7)": "7", "C:aug(9)": "aug", "C:hdim7(11)": "hdim7",
    # altered and missing fifths
    "C:min7(b5)": "hdim7", "C:min(b5)": "dim", "C:maj(#5)": "aug", "C:7(b5)": None, "C:maj7(#5)": None,
    "C:min(#5)": None, "C:7(*5)": "7", "C:min7(*5,b6)": "min7", "C:maj7(*5)": "maj7",
    # suspended
    "C:sus4(b7)": "sus4", "C:sus4(b7,9)": "sus4", "C:sus4(9)": "sus4", "C:sus4(2)": "sus4", "C:sus2(4)": "sus2",
    "C:sus2(b7)": "sus2", "C:maj(4,*3)": "sus4", "C:maj(2,*3)": "sus2", "C:9(*3,11)": "sus4", "C:7sus4": "sus4",
    # degrees alone
    "C:(1,3,5)": "maj", "C:(3)": "maj", "C:(1,b3,5)": "min", "C:(b3,b7)": "min7", "C:(1,b3,b5,b7)": "hdim7",
    "C:(1,3,5,b7)": "7", "C:(1,4,5)": "sus4", "C:(1,2,4,5)": "sus4", "C:(1,2,5)": "sus2",
    # outside the vocabulary
    "C:5": None, "C:1": None, "C:aug7": None, "C:aug(b7)": None, "C:5(b7)": None, "C:(1,5)": None, "C:(b7)": None,
    "C:(11)": None, "C:(1,4)": None, "C:(#5)": None, "C:(b5,b7,3)": None, "C:maj(*3)": None, "C:min(*b3)": None,
    "C:1/b7": None, "X": None,
    # the bass is ignored
    "C/3": "maj", "C:min/b7": "min", "C:maj/E": "maj", "C:7/b7": "7",
}  # fmt: skip


@pytest.mark.parametrize(("label", "quality"), DEFAULT.items())
def test_default_map(label: str, quality: str | None) -> None:
    expected = X_CLASS if quality is None else QUALITIES.index(quality)
    assert chord_class(label) == expected
    if quality is not None:
        assert chord_class("Bb" + label[1:] if "/E" not in label else "Bb:maj/D") == 140 + expected
        family = {"maj": 0, "maj6": 0, "maj7": 0, "7": 0, "min": 1, "min6": 1, "min7": 1, "minmaj7": 1}
        assert chord_class(label, 25) == family.get(quality, X_CLASS_25)


def test_default_map_no_chord() -> None:
    assert (chord_class("N"), chord_class("NC"), chord_class("N", 25)) == (169, 169, 24)
    assert (chord_class("X"), chord_class("X", 25)) == (168, 25)
    assert reduce_quality(parse("N")) is None


def test_real_labels_all_have_a_class() -> None:
    """A guard against a silent change of the default map: what becomes X among 912 real labels."""
    classes = chord_classes(REAL_LABELS)
    unknown = {re.sub(r"^[A-G][b#]?:|/.*", "", label) for label in REAL_LABELS if chord_class(label) == 168}
    assert len(classes) == 912
    assert int((classes == X_CLASS).sum()) == 81
    assert int((classes == N_CLASS).sum()) == 1
    assert unknown == {
        "(#5)",
        "(11)",
        "(11,9)",
        "(b5,11)",
        "(b5,b7,3)",
        "(b7)",
        "1",
        "5",
        "5(b13)",
        "5(b7)",
        "X",
        "aug(7)",
        "aug(b7)",
        "aug(b7,9)",
        "maj7(#5)",
    }


@pytest.mark.parametrize("label", ["", "H:min", "Q", "c:min", "Cfoo", "C:maj/H"])
def test_default_map_reports_what_it_cannot_read(label: str) -> None:
    with pytest.raises(LabelError, match="cannot be read"):
        chord_class(label)


def test_absurd_degrees() -> None:
    label = "C/" + "1" * 5000
    assert [chord_class(label, dialect=name) for name in ("cm_train", "cm_offline", "cm_eval", "btc25")] == [1, 1, 1, 0]
    with pytest.raises(LabelError):
        chord_class(label)


def test_usage() -> None:
    assert DIALECTS == ("default", "btc25", "btc170", "cm_train", "cm_offline", "cm_eval")
    assert chord_class("A:min", 25, "btc25") == chord_class("A:min", dialect="btc25") == 19
    for arguments in ((24, "default"), (170, "jazz"), (25, "cm_train")):
        with pytest.raises(UsageError, match="choose"):
            chord_class("C", *arguments)
    for index in (-1, 170):
        with pytest.raises(UsageError, match="outside the vocabulary"):
            class_label(index)
    with pytest.raises(UsageError):
        class_labels(26)
    with pytest.raises(UsageError):
        class_label(26, 25)


def test_many_labels() -> None:
    labels = ["N", "C:maj", "A:min7/b3", "C:maj"] * 1000
    got = chord_classes(iter(labels))
    assert got.dtype == np.int64
    assert got[:4].tolist() == [169, 1, 132, 1]
    assert got.shape == (4000,)
    assert chord_classes([]).shape == (0,)
    assert chord_classes(labels, 25).tolist()[:4] == [24, 0, 19, 0]


def test_transpose_golden() -> None:
    for label, semitones, expected in json.loads((GOLDEN / "transpose.json").read_text()):
        assert transpose(label, semitones) == expected, (label, semitones)


def test_transpose() -> None:
    assert transpose("", 3) == ""
    assert transpose("C:maj(9)/3", 13) == "C#:maj(9)/3"
    assert transpose("Bb:maj6(9)", 2) == "C:maj6(9)"
    with pytest.raises(LabelError, match="cannot be transposed"):
        transpose("H:min", 1)


@pytest.mark.parametrize("classes", [25, 170])
@pytest.mark.parametrize("semitones", [-13, -5, 0, 3, 12])
def test_transposed_classes_agree_with_transposed_labels(classes: int, semitones: int) -> None:
    for index, label in enumerate(class_labels(classes)):
        assert transpose_class(index, semitones, classes) == chord_class(transpose(label, semitones), classes)


def test_transpose_class_refuses_foreign_indices() -> None:
    assert transpose_class(X_CLASS_25, 4, 25) == X_CLASS_25
    with pytest.raises(UsageError):
        transpose_class(170, 1)
