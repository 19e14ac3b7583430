"""The Harte grammar: parsing, semitone sets against mir_eval, round trips."""

from __future__ import annotations

from pathlib import Path

import mir_eval.chord
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chordfast.errors import LabelError
from chordfast.vocabulary import Chord, normalise, parse
from chordfast.vocabulary.harte import SHORTHANDS

REAL_LABELS = (Path(__file__).parents[1] / "golden/vocabulary/harte_labels.txt").read_text().split()

accidentals = st.sampled_from(["", "b", "#", "bb", "##"])
degrees = st.builds(lambda a, n: f"{a}{n}", accidentals, st.integers(1, 13))
starred = st.builds(lambda star, d: star + d, st.sampled_from(["", "*"]), degrees)


@st.composite
def harte_labels(draw: st.DrawFn) -> str:
    root = draw(st.sampled_from("ABCDEFG")) + draw(accidentals)
    brackets = draw(st.lists(starred, max_size=4, unique=True))
    quality = draw(st.sampled_from([*SHORTHANDS, *([""] if brackets else [])]))
    bass = draw(st.none() | degrees)
    return f"{root}:{quality}" + (f"({','.join(brackets)})" if brackets else "") + (f"/{bass}" if bass else "")


def assert_equals_mir_eval(label: str) -> None:
    root, bitmap, bass = mir_eval.chord.encode(label)
    chord = parse(label)
    assert (chord.root, chord.bitmap, chord.bass_semitone) == (root, tuple(bitmap), bass), label


def test_parts_of_a_label() -> None:
    chord = parse("Bb:min7(*5,b6,9)/b3")
    assert (chord.root, chord.quality, chord.bass, chord.spelling) == (10, "min7", "b3", "Bb")
    assert chord.degrees == ("*5", "b6", "9")
    assert (chord.added, chord.omitted) == (("b6", "9"), ("5",))
    assert chord.bass_semitone == 3
    assert chord.bitmap == (1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0)
    assert chord.mask == 0b010100001001
    assert chord.pitch_classes == {10, 1, 6, 8, 0}
    assert str(chord) == "Bb:min7(*5,b6,9)/b3"


def test_no_chord_and_unknown() -> None:
    assert (str(parse("N")), str(parse("X"))) == ("N", "X")
    assert parse("N").bitmap == (0,) * 12
    assert parse("X").bitmap == (-1,) * 12
    assert (parse("N").root, parse("N").bass_semitone, parse("X").mask) == (-1, -1, 0)
    assert parse("N").pitch_classes == frozenset()
    assert not parse("X").is_chord


def test_bare_root_and_bracket_alone() -> None:
    assert str(parse("C")) == "C:maj"
    assert str(parse("F#/3")) == "F#:maj/3"
    assert parse("C:(1,5)").quality == ""
    assert str(parse("E:1/1")) == "E:1"


def test_enharmonic_roots_are_equal() -> None:
    assert parse("C#:min") == parse("Db:min")
    assert parse("Cbb").root == 10
    assert str(Chord(1, "min")) == "C#:min"


@pytest.mark.parametrize(
    ("label", "bits"), [("C:aug7", {0, 4, 8, 10}), ("C:maj11", {0, 4, 7, 11}), ("C:13", {0, 4, 7, 10})]
)
def test_extensions_stay_out_of_the_bitmap(label: str, bits: set[int]) -> None:
    assert {k for k, on in enumerate(parse(label).bitmap) if on} == bits


def test_real_labels_equal_mir_eval() -> None:
    assert len(set(REAL_LABELS)) == 912
    for label in REAL_LABELS:
        assert_equals_mir_eval(label)
        assert parse(str(parse(label))) == parse(label)


@settings(deadline=None, max_examples=400)
@given(harte_labels())
def test_round_trip(label: str) -> None:
    chord = parse(label)
    again = parse(str(chord))
    assert again == chord
    assert again.spelling == chord.spelling
    assert normalise(label) == str(chord)
    if chord.quality not in ("aug7", "maj11"):  # mir_eval matches these two but cannot encode them
        assert_equals_mir_eval(label)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="ABCDEGHNXb#:(),/*134567majinsud ", max_size=12))
def test_accepts_exactly_mir_evals_grammar(text: str) -> None:
    # "$" lets mir_eval's expression match before a final newline; the alphabet has none.
    expected = mir_eval.chord.CHORD_RE.match(text) is not None
    try:
        parse(text)
    except LabelError:
        assert not expected
    else:
        assert expected


OUTSIDE = """C: C:/3 C/ H:min c:min Cmaj7 C:maj/E C:foo C:7( C:7() C:maj(14) C#b N/3 C:maj(9,) C:5(１) NC C:maj//3"""


@pytest.mark.parametrize("label", ["", "C\n", " C", "C:maj7 ", *OUTSIDE.split()])
def test_outside_the_grammar(label: str) -> None:
    with pytest.raises(LabelError, match="outside the Harte grammar"):
        parse(label)


def test_message_is_short_and_printable() -> None:
    with pytest.raises(LabelError) as caught:
        parse("C:maj\n" + "x" * 10_000)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 250
    with pytest.raises(LabelError):
        parse(None)  # type: ignore[arg-type]
