"""Chord labels as integers, so that comparing two annotations is arithmetic on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..vocabulary import QUALITIES, chord_class, parse
from ..vocabulary.harte import SHORTHANDS, Chord, degree_semitones

Int = npt.NDArray[np.int64]

GROUPS: tuple[str, ...] = (*QUALITIES, "N", "other")
"""Quality groups of the analysis: the 14 qualities, no chord, and chords that reduce to none of them."""
GROUP_N, GROUP_OTHER = len(QUALITIES), len(QUALITIES) + 1

# Shorthands that mir_eval takes apart before it asks whether neighbouring segments are the same chord.
_BASE = {
    "minmaj7": "min",
    **dict.fromkeys(("9", "11", "13"), "7"),
    **dict.fromkeys(("maj9", "maj11", "maj13"), "maj7"),
    **dict.fromkeys(("min9", "min11", "min13"), "min7"),
}


class Codes(NamedTuple):
    """One entry per label, int64 each.

    root: pitch class 0–11, -1 for N and X.
    mask: bit k set = a note k semitones above the root, the bass included; 0 for N, -1 for X.
    bass: semitones above the root, -1 for N and X.
    chroma: the notes as absolute pitch classes, bit k; 0 for N, all 12 for X (as mir_eval compares them).
    merged: ``mask`` with ninths and higher folded into the octave, root and bass packed in: equal numbers are
        neighbours that the segmentation measures join.
    klass: class 0–169 of the default map; group: index into ``GROUPS``.
    """

    root: Int
    mask: Int
    bass: Int
    chroma: Int
    merged: Int
    klass: Int
    group: Int

    def take(self, ids: Int) -> Codes:
        """The codes of label ids, each [len(ids)]."""
        return Codes(*(column[ids] for column in self))


class LabelTable:
    """Every distinct label seen so far, encoded once. Label N has id 0."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._rows: list[tuple[int, ...]] = []
        self._codes: Codes | None = None
        self.ids(["N"])

    def ids(self, labels: Iterable[str]) -> Int:
        """Ids of Harte labels, int64 [S]; raises LabelError for a label outside the grammar."""
        labels = list(labels)
        for label in dict.fromkeys(labels):
            if label not in self._ids:
                self._rows.append(encode(label))
                self._ids[label] = len(self._ids)
                self._codes = None
        return np.fromiter(map(self._ids.__getitem__, labels), dtype=np.int64, count=len(labels))

    @property
    def codes(self) -> Codes:
        """The codes of all labels, in the order of their ids."""
        if self._codes is None:
            self._codes = Codes(*np.array(self._rows, dtype=np.int64).T)
        return self._codes


def encode(label: str) -> tuple[int, ...]:
    """The numbers of ``Codes`` for one label.

    Rules of ``mir_eval.chord.encode`` (0.8): degrees of an octave or more are not part of the mask. Two shorthands
    that mir_eval matches but cannot encode, aug7 and maj11, are encoded by their degrees like all others.
    """
    chord = parse(label)
    klass = chord_class(label)
    if not chord.is_chord:
        unknown = chord.quality == "X"
        mask = -1 if unknown else 0
        return -1, mask, -1, 0xFFF if unknown else 0, mask, klass, GROUP_OTHER if unknown else GROUP_N
    mask = chord.mask
    chroma = (mask << chord.root | mask >> (12 - chord.root)) & 0xFFF
    merged = _merged_mask(chord) | chord.root << 12 | chord.bass_semitone << 16
    group = klass % 14 if klass < 14 * 12 else GROUP_OTHER
    return chord.root, mask, chord.bass_semitone, chroma, merged, klass, group


def _merged_mask(chord: Chord) -> int:
    spelled = SHORTHANDS.get(chord.quality, ())
    base = SHORTHANDS.get(_BASE.get(chord.quality, chord.quality), ())
    added = {*(d for d in spelled if d not in base), *chord.added}
    count = [1] + [0] * 11
    for sign, degrees in ((1, base), (1, added), (-1, set(chord.omitted))):
        for degree in degrees:
            count[degree_semitones(degree) % 12] += sign
    count[chord.bass_semitone] = 1
    return sum(1 << k for k, c in enumerate(count) if c > 0)
