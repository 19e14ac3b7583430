"""Chord dialects: lead sheets and back, the class maps, whole annotations."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from chordfast.annotations import SPELLINGS, Annotation, lead_sheet, respell
from chordfast.errors import LabelError, UsageError
from chordfast.vocabulary import QUALITIES, chord_class, normalise, parse

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluate"))
from evaluate_songs import label


@pytest.mark.parametrize(
    ("harte", "sheet"),
    [
        ("C", "C"),
        ("N", "N.C."),
        ("X", "X"),
        ("Bb:min7/b3", "Bbm7/Db"),
        ("F#:hdim7", "F#m7b5"),
        ("C:7(b9)", "C7(b9)"),
        ("C:maj(9)", "Cadd9"),
        ("D:aug7", "D7#5"),
        ("A:minmaj7", "Am(maj7)"),
        ("F:maj(*3)", "Fno3"),
        ("G:7/7", "G7/F#"),
        ("Cb:sus4/5", "Cbsus4/Gb"),
        ("C^7", "Cmaj7"),
        ("C:(1,5)", "C:(1,5)"),  # no lead-sheet spelling
    ],
)
def test_lead_sheets(harte: str, sheet: str) -> None:
    assert lead_sheet(harte) == sheet


def test_every_class_has_a_lead_sheet_spelling() -> None:
    for quality in QUALITIES:
        text = lead_sheet(f"Eb:{quality}")
        assert ":" not in text
        assert chord_class(text) == chord_class(f"Eb:{quality}")


def test_spellings_keep_the_notes() -> None:
    rng = random.Random(3)
    for _ in range(2000):
        given = parse(label(rng))
        back = parse(normalise(lead_sheet(str(given))))
        assert (back.root, back.mask, back.bass_semitone) == (given.root, given.mask, given.bass_semitone), given


@pytest.mark.parametrize(
    ("dialect", "labels"),
    [
        ("harte", ["C:maj7", "A:min/b3", "N"]),
        ("lead-sheet", ["Cmaj7", "Am/C", "N.C."]),
        ("chordmini", ["C:maj7", "A:min/C", "N"]),
        ("majmin", ["C:maj", "A:min", "N"]),
        ("default", ["C:maj7", "A:min", "N"]),
        ("btc170", ["C:maj7", "A:min", "N"]),
        ("btc25", ["C:maj", "A:min", "N"]),
        ("cm_offline", ["C:maj7", "N", "N"]),
    ],
)
def test_respell(dialect: str, labels: list[str]) -> None:
    song = Annotation([0, 1, 2], [1, 2, 3], ["C:maj7", "A:min/b3", "N"], alternatives=["", "C:maj", "X"])
    found = respell(song, dialect)
    assert found.labels == labels
    assert found.alternatives is not None and found.alternatives[0] == ""
    assert song.labels[0] == "C:maj7"


def test_errors() -> None:
    song = Annotation([0], [1], ["H"])
    with pytest.raises(UsageError, match="no chord dialect 'nashville'; choose one of harte, lead-sheet"):
        respell(song, "nashville")
    for dialect in ("harte", "lead-sheet", "majmin", "btc170"):
        with pytest.raises(LabelError):
            respell(song, dialect)
    assert set(SPELLINGS) >= {"harte", "lead-sheet", "chordmini", "btc170", "cm_eval"}
