"""The same chords in other people's spelling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from ..errors import LabelError, UsageError
from ..vocabulary import DIALECTS as CLASS_MAPS
from ..vocabulary import chord_class, class_label, normalise, parse
from ..vocabulary.chordmini import canonical
from ..vocabulary.harte import LETTERS, SCALE, Chord, note_semitone
from .annotation import Annotation

_SUFFIX = {
    **{"maj": "", "min": "m", "dim": "dim", "aug": "aug", "1": "", "5": "5", "sus2": "sus2", "sus4": "sus4"},
    **{"maj6": "6", "min6": "m6", "7": "7", "maj7": "maj7", "min7": "m7", "dim7": "dim7", "hdim7": "m7b5"},
    **{"minmaj7": "m(maj7)", "aug7": "7#5", "9": "9", "maj9": "maj9", "min9": "m9", "11": "11", "maj11": "maj11"},
    **{"min11": "m11", "13": "13", "maj13": "maj13", "min13": "m13"},
}


@lru_cache(maxsize=65536)
def lead_sheet(label: str) -> str:
    """A chord as a lead sheet writes it: "Bb:min7/b3" → "Bbm7/Db", "C:7(b9)" → "C7(b9)", "N" → "N.C.".

    Reads Harte and lead-sheet labels. A chord that has no such spelling with the same notes keeps its Harte label.
    Raises LabelError for what is no chord.
    """
    harte = normalise(label)
    chord = parse(harte)
    if not chord.is_chord:
        return {"N": "N.C."}.get(chord.quality, chord.quality)
    if chord.quality not in _SUFFIX:
        return harte
    text = chord.spelling + _SUFFIX[chord.quality]
    text += "".join(f"no{degree.lstrip('b#')}" for degree in chord.omitted)
    if chord.added:
        # Altered degrees stand in brackets; plain ones are added where no seventh carries them.
        text += "".join(f"({d})" if d[0] in "b#" else f"add{d}" for d in chord.added)
    if chord.bass != "1":
        text += "/" + _note(chord)
    try:
        back = parse(normalise(text))
    except LabelError:
        return harte
    same = (back.root, back.mask, back.bass_semitone, back.pitch_classes)
    return text if same == (chord.root, chord.mask, chord.bass_semitone, chord.pitch_classes) else harte


def _note(chord: Chord) -> str:
    """Name of the bass note, by letter distance from the root: b3 of Bb is Db."""
    number = int(chord.bass.lstrip("b#")) - 1
    letter = "CDEFGAB"[("CDEFGAB".index(chord.spelling[0]) + number) % 7]
    wanted = note_semitone(chord.spelling) + SCALE[number] + chord.bass.count("#") - chord.bass.count("b")
    shift = (wanted - LETTERS[letter] + 6) % 12 - 6
    return letter + ("#" * shift if shift > 0 else "b" * -shift)


def _class_map(name: str) -> Callable[[str], str]:
    classes = 25 if name == "btc25" else 170
    return lambda label: class_label(chord_class(label, classes, name), classes)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "harte": normalise,
    "lead-sheet": lead_sheet,
    "chordmini": canonical,
    "majmin": lambda label: class_label(chord_class(label, 25), 25),
    **{name: _class_map(name) for name in CLASS_MAPS},
}
"""Dialect → function of a label. harte: ``normalise``; chordmini: that code's own label text ("C", "A:min7/G");
majmin and default: the 25 and 170 classes of the default map; the others: the maps of the BTC and ChordMini code."""


def respell(annotation: Annotation, dialect: str) -> Annotation:
    """A copy with labels and alternatives in another dialect, one of ``SPELLINGS``.

    Raises UsageError for an unknown dialect, LabelError for a label that is no chord (chordmini and the cm_ maps read
    everything).
    """
    if dialect not in SPELLINGS:
        raise UsageError(f"There is no chord dialect {dialect!r}; choose one of {', '.join(SPELLINGS)}.")
    spell = SPELLINGS[dialect]
    alternatives = annotation.alternatives
    return replace(
        annotation,
        labels=[spell(label) for label in annotation.labels],
        alternatives=None if alternatives is None else [spell(label) if label else "" for label in alternatives],
    )
