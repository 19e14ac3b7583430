"""The 170- and 25-class vocabularies: indices, names, transposition, and the default label map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..errors import LabelError, UsageError
from .harte import PITCH_CLASSES, SHORTHANDS, Chord, parse
from .leadsheet import normalise

QUALITIES: tuple[str, ...] = (
    *("min", "maj", "dim", "aug", "min6", "maj6", "min7"),
    *("minmaj7", "maj7", "7", "dim7", "hdim7", "sus2", "sus4"),
)
"""The 14 qualities in class order: class = 14 * root + position here (order of the BTC vocabulary)."""

X_CLASS = 168
"""A chord outside the 170-class vocabulary."""
N_CLASS = 169
"""No chord, in the 170-class vocabulary."""
N_CLASS_25 = 24
"""No chord, in the 25-class vocabulary."""
X_CLASS_25 = 25
"""Neither major nor minor: the ignore index of the 25-class vocabulary; no model outputs it."""

_FAMILY_25 = {**dict.fromkeys(("maj", "maj6", "maj7", "7"), 0), **dict.fromkeys(("min", "min6", "min7", "minmaj7"), 1)}


def check_classes(classes: int) -> None:
    """Raise UsageError unless ``classes`` is 25 or 170."""
    if classes not in (25, 170):
        raise UsageError(f"There is no vocabulary of {classes!r} classes; choose 25 or 170.")


def _labels(classes: int, plain_major: bool) -> tuple[str, ...]:
    qualities = QUALITIES if classes == 170 else ("maj", "min")
    chords = tuple(
        root if plain_major and quality == "maj" else f"{root}:{quality}"
        for root in PITCH_CLASSES
        for quality in qualities
    )
    return (*chords, "X", "N") if classes == 170 else (*chords, "N")


_TABLES = {(c, plain): _labels(c, plain) for c in (25, 170) for plain in (False, True)}


def class_labels(classes: int = 170, *, plain_major: bool = False) -> tuple[str, ...]:
    """All labels in class order, ``classes`` of them; ``plain_major`` writes "C" for "C:maj".

    Raises UsageError when ``classes`` is neither 25 nor 170.
    """
    check_classes(classes)
    return _TABLES[classes, bool(plain_major)]


def class_label(index: int, classes: int = 170, *, plain_major: bool = False) -> str:
    """Harte label of a class, sharps only: 0 "C:min", 1 "C:maj", 168 "X", 169 "N"; in 25 classes 24 "N", 25 "X".

    Raises UsageError when the index is outside the vocabulary.
    """
    labels = class_labels(classes, plain_major=plain_major)
    if classes == 25 and index == X_CLASS_25:
        return "X"
    if not 0 <= index < len(labels):
        raise UsageError(f"Class {index} is outside the vocabulary of {classes}; indices run from 0 to {classes - 1}.")
    return labels[index]


def transpose_class(index: int, semitones: int, classes: int = 170) -> int:
    """Class of the same quality ``semitones`` higher (any sign); X and N stay.

    (i + 14 s) mod 168 for 170 classes, (i + 2 s) mod 24 for 25. Raises UsageError for a foreign index.
    """
    class_label(index, classes)
    chords, step = (168, 14) if classes == 170 else (24, 2)
    return (index + step * semitones) % chords if index < chords else index


_THIRDS = ("3", "b3", "4", "2")
_FIFTHS = ("b5", "5", "#5")
_RESULT = {  # (third, fifth) -> quality by what stands above: nothing, sixth, minor seventh, major seventh
    ("3", "5"): ("maj", "maj6", "7", "maj7"),
    ("b3", "5"): ("min", "min6", "min7", "minmaj7"),
    ("b3", "b5"): ("dim", "dim7", "hdim7", None),
    ("3", "#5"): ("aug", "aug", None, None),
    ("4", "5"): ("sus4",) * 4,
    ("2", "5"): ("sus2",) * 4,
}


def reduce_quality(chord: Chord) -> str | None:
    """The one of ``QUALITIES`` a chord reduces to, None when it is another chord (class X), N or X.

    The chord is read as third, fifth, sixth and seventh; the shorthand comes first and brackets may
    only fill what it leaves open, replace a plain fifth by b5 or #5, or take something away.
    """
    if not chord.is_chord:
        return None
    spelled = SHORTHANDS.get(chord.quality, ())
    left = [d for d in spelled if d not in chord.omitted]
    third = _first(_THIRDS, left) or _first(("3", "b3"), chord.added)
    altered = _first(("b5", "#5"), chord.added)
    fifth = _first(_FIFTHS, left) or _first(_FIFTHS, chord.added)
    if fifth in (None, "5") and altered:
        fifth = altered
    if third is None and (fifth or _first(_FIFTHS, spelled)):
        # Without a third the chord is suspended by what is there; a third taken away lets 11 and 9 stand for 4 and 2.
        notes = {*left, *chord.added}
        opened = _first(("3", "b3"), spelled) is not None
        third = (
            "4" if notes & {"4", "11" if opened else "4"} else "2" if notes & {"2", "9" if opened else "2"} else None
        )
    results = _RESULT.get((third or "", fifth or "5"))
    if results is None:
        return None
    sixth = _first(("6", "bb7"), [*left, *chord.added])
    seventh = _first(("b7", "7"), left) or ("bb7" in left and "bb7") or _first(("b7", "7"), chord.added)
    return results[{"b7": 2, "7": 3}.get(seventh or "", int(sixth is not None))]


def _first(wanted: Sequence[str], present: Sequence[str]) -> str | None:
    """The first of ``present`` that is wanted."""
    return next((degree for degree in present if degree in wanted), None)


@lru_cache(maxsize=65536)
def default_class(label: str, classes: int = 170) -> int:
    """Class by the default map; see ``chord_class``."""
    try:
        chord = parse(label)
    except LabelError:
        chord = parse(normalise(label))
    if chord.quality == "N":
        return N_CLASS if classes == 170 else N_CLASS_25
    quality = reduce_quality(chord)
    if classes == 170:
        return X_CLASS if quality is None else 14 * chord.root + QUALITIES.index(quality)
    minor = _FAMILY_25.get(quality or "")
    return X_CLASS_25 if minor is None else 2 * chord.root + minor
