"""Lead-sheet spellings to Harte."""

from __future__ import annotations

import mir_eval.chord
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chordfast.errors import LabelError
from chordfast.vocabulary import chord_class, class_label, normalise, parse

SPELLINGS = {
    # major
    "C": "C:maj", "CM": "C:maj", "Cmaj": "C:maj", "Cmajor": "C:maj", "C major": "C:maj", "Bb": "Bb:maj", "B♭": "Bb:maj",
    "Cmaj7": "C:maj7", "CM7": "C:maj7", "CMaj7": "C:maj7", "CMAJ7": "C:maj7", "Cma7": "C:maj7", "C^7": "C:maj7",
    "C^": "C:maj7", "C△7": "C:maj7", "C△": "C:maj7", "CΔ9": "C:maj9", "C∆": "C:maj7", "C7M": "C:maj7",
    "C major 7": "C:maj7", "Cmaj9": "C:maj9", "Cmaj11": "C:maj9(11)", "Ebmaj13": "Eb:maj13", "C6": "C:maj6",
    "CM6": "C:maj6", "C69": "C:maj6(9)", "C6/9": "C:maj6(9)", "C6/9/E": "C:maj6(9)/3", "C2": "C:maj(2)",
    "Cmaj7#11": "C:maj7(#11)", "Cmaj7(#11)": "C:maj7(#11)",
    # minor
    "Cm": "C:min", "C-": "C:min", "Cmi": "C:min", "Cmin": "C:min", "C minor": "C:min", "A minor/C": "A:min/b3",
    "Cm7": "C:min7", "C-7": "C:min7", "CMi7": "C:min7", "CMIN7": "C:min7", "Cm9": "C:min9", "Cm11": "C:min11",
    "Cm6": "C:min6", "Cm6/9": "C:min6(9)", "Cm7(11)": "C:min7(11)",
    "CmM7": "C:minmaj7", "Cm(maj7)": "C:minmaj7", "CminMaj7": "C:minmaj7", "C-^7": "C:minmaj7",
    "CmM9": "C:minmaj7(9)",
    # dominant
    "C7": "C:7", "C9": "C:9", "C11": "C:11", "C13": "C:13", "Cdom7": "C:7", "C⁷": "C:7", "C7b9": "C:7(b9)",
    "C7-9": "C:7(b9)", "C7+9": "C:7(#9)", "C7♯9": "C:7(#9)", "C7(b9,#11)": "C:7(b9,#11)", "C7b9#11": "C:7(b9,#11)",
    "C7 b9": "C:7(b9)", "C7b5": "C:7(*5,b5)", "C7(-5)": "C:7(*5,b5)", "C7alt": "C:7(#9,b13)", "Calt": "C:7(#9,b13)",
    "C13b9": "C:13(b9)",
    # diminished, augmented
    "Cdim": "C:dim", "C°": "C:dim", "Co": "C:dim", "Cdim7": "C:dim7", "Bo7": "B:dim7", "Cº7": "C:dim7",
    "Cm7b5": "C:hdim7", "F#m7b5": "F#:hdim7", "F#ø": "F#:hdim7", "Cø7": "C:hdim7", "C-7b5": "C:hdim7",
    "Cm7♭5": "C:hdim7", "C♯m7-5": "C#:hdim7", "Cm9b5": "C:hdim7(9)", "Cmb5": "C:dim",
    "C+": "C:aug", "Caug": "C:aug", "C#5": "C#:5", "C(#5)": "C:aug", "C+7": "C:aug(b7)", "C7#5": "C:aug(b7)",
    "C7+": "C:aug(b7)", "Caug7": "C:aug(b7)", "Cmaj7#5": "C:aug(7)",
    # suspended, power, added, omitted
    "Csus": "C:sus4", "Csus4": "C:sus4", "C4": "C:sus4", "Csus2": "C:sus2", "Csus24": "C:sus4(2)",
    "Csus2sus4": "C:sus4(2)", "G7sus4": "G:sus4(b7)", "G7sus": "G:sus4(b7)", "C9sus4": "C:sus4(b7,9)",
    "C13sus": "C:sus4(b7,9,13)", "C7sus4(b9)": "C:sus4(b7,b9)", "Cmaj7sus4": "C:sus4(7)", "C7sus2": "C:sus2(b7)",
    "C5": "C:5", "Dadd9": "D:maj(9)", "D(add9)": "D:maj(9)", "D (add9)": "D:maj(9)", "Cmadd9": "C:min(9)",
    "Cadd2": "C:maj(2)", "Cadd#11": "C:maj(#11)", "C(no3)": "C:maj(*3)", "Cm(no5)": "C:min(*5)", "C7no5": "C:7(*5)",
    "Cmomit3": "C:min(*b3)",
    # bass
    "A/C#": "A:maj/3", "C/E": "C:maj/3", "C/Bb": "C:maj/b7", "C/A#": "C:maj/#6", "Am7/G": "A:min7/b7",
    "Gm7/Bb": "G:min7/b3", "Bbmaj7/D": "Bb:maj7/3", "B♭m7/D♭": "Bb:min7/b3", "Cb/B": "Cb:maj/#7", "F##/B#": "F##:maj/4",
    "C:maj/E": "C:maj/3", "C:min/Eb": "C:min/b3", "C/C": "C:maj", "D/F#": "D:maj/3", "Cmaj7 / E": "C:maj7/3",
    # half Harte
    "C:7sus4": "C:sus4(b7)", "C:m7b5": "C:hdim7", "C:6": "C:maj6", "C:4": "C:sus4", "C:69": "C:maj6(9)",
    "C:min7b5": "C:hdim7", "C:minor": "C:min", "C:7#9": "C:7(#9)",
    # Harte as it is
    "C:maj7/3": "C:maj7/3", "C:aug7": "C:aug7", "C:maj11": "C:maj11", "C:7(*5)": "C:7(*5)", "C/3": "C:maj/3",
    " C:min ": "C:min",
    # no chord, unknown
    "N": "N", "n": "N", "NC": "N", "N.C.": "N", "n.c.": "N", "N. C.": "N", "no chord": "N", "No_Chord": "N",
    "X": "X", "x": "X", "?": "X",
}  # fmt: skip


@pytest.mark.parametrize(("label", "harte"), SPELLINGS.items())
def test_spelling(label: str, harte: str) -> None:
    assert normalise(label) == harte
    assert normalise(harte) == harte


def test_output_can_be_scored() -> None:
    for spelling in SPELLINGS:
        if ":" not in spelling and spelling[0] == "C" and spelling[1:2] not in ("b", "#", "♯", "♭", "/"):
            for root, pitch in {"C": 0, "Db": 1, "F#": 6, "B": 11}.items():
                harte = normalise(root + spelling[1:])
                assert mir_eval.chord.encode(harte)[0] == parse(harte).root == pitch


REFUSED = """H Hm7 c:min am Cfoo C: C/ C/E/G C/Dm C:7(#9 C7)( C7777 C-5 C:majmin C::maj N/C C##b Cmaj7/H Csus5 Cno7
Cdimsus4 Cmalt C7\x00 Dö 1 IVmaj7 C((b9)) C7b C7add C/b C79 C/1111 C7b913"""


@pytest.mark.parametrize("label", ["", " ", *REFUSED.split()])
def test_refused(label: str) -> None:
    with pytest.raises(LabelError, match="cannot be read; write Harte syntax"):
        normalise(label)


def test_not_a_text() -> None:
    with pytest.raises(LabelError):
        normalise(7)  # type: ignore[arg-type]


def test_default_map_reads_lead_sheets() -> None:
    labels = ["Cmaj7", "C^7", "F#m7b5", "G7sus4", "N.C.", "A/C#"]
    assert [class_label(chord_class(label)) for label in labels] == [
        "C:maj7",
        "C:maj7",
        "F#:hdim7",
        "G:sus4",
        "N",
        "A:maj",
    ]


@settings(deadline=None, max_examples=500)
@given(st.text(alphabet="ABCDGm7b#5+-o9(),/sudianjM^ø△♭ :41362*", max_size=14))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        harte = normalise(text)
    except LabelError:
        return
    assert normalise(harte) == harte
    assert str(parse(harte)) == harte
