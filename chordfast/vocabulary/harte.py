"""Harte chord syntax: ``root:quality(degrees)/bass`` (Harte et al., ISMIR 2005), with N and X.

The accepted language is that of the JAMS chord namespace and mir_eval 0.8: sharps or flats of any
number on a root A–G, 24 shorthands, degrees 1–13, and a bass written as a degree of the root.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from ..errors import LabelError

PITCH_CLASSES: tuple[str, ...] = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
"""Name of pitch class 0 … 11, always with sharps."""

LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SCALE = (0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 17, 19, 21)  # semitones of the major-scale degrees 1 … 13

# Shorthand -> degrees above the root.
SHORTHANDS: dict[str, tuple[str, ...]] = {
    "maj": ("3", "5"),
    "min": ("b3", "5"),
    "dim": ("b3", "b5"),
    "aug": ("3", "#5"),
    "1": (),
    "5": ("5",),
    "sus2": ("2", "5"),
    "sus4": ("4", "5"),
    "maj6": ("3", "5", "6"),
    "min6": ("b3", "5", "6"),
    "7": ("3", "5", "b7"),
    "maj7": ("3", "5", "7"),
    "min7": ("b3", "5", "b7"),
    "dim7": ("b3", "b5", "bb7"),
    "hdim7": ("b3", "b5", "b7"),
    "minmaj7": ("b3", "5", "7"),
    "aug7": ("3", "#5", "b7"),
    "9": ("3", "5", "b7", "9"),
    "maj9": ("3", "5", "7", "9"),
    "min9": ("b3", "5", "b7", "9"),
    "11": ("3", "5", "b7", "9", "11"),
    "maj11": ("3", "5", "7", "9", "11"),
    "min11": ("b3", "5", "b7", "9", "11"),
    "13": ("3", "5", "b7", "9", "11", "13"),
    "maj13": ("3", "5", "7", "9", "11", "13"),
    "min13": ("b3", "5", "b7", "9", "11", "13"),
}

_DEGREE = r"(?:b*|#*)(?:1[0-3]?|[2-9])"
_HARTE = re.compile(
    rf"(?P<root>[A-G](?:b*|#*))"
    rf"(?::(?P<quality>{'|'.join(sorted(SHORTHANDS, key=len, reverse=True))})?"
    rf"(?:\((?P<degrees>\*?{_DEGREE}(?:,\*?{_DEGREE})*)\))?)?"
    rf"(?:/(?P<bass>{_DEGREE}))?",
    re.ASCII,
)
GRAMMAR = _HARTE.pattern
"""The whole of a chord but N and X; "C:" and "C:/3" match it too and are refused by ``parse``."""


def note_semitone(note: str) -> int:
    """Pitch class 0–11 of a note name: a letter A–G, then any sharps and flats."""
    return (LETTERS[note[0]] + note.count("#") - note.count("b", 1)) % 12


def degree_semitones(degree: str) -> int:
    """Semitones of a degree above the root, octaves kept: ``b7`` 10, ``9`` 14, ``b1`` -1."""
    number = degree.lstrip("b#")
    return SCALE[int(number) - 1] + degree.count("#") - degree.count("b")


@dataclass(frozen=True)
class Chord:
    """One parsed chord label. Equality ignores the spelling of the root (C# equals Db).

    root: pitch class 0–11, or -1 for N and X.
    quality: a key of ``SHORTHANDS``; "" when the chord is given by its degrees alone; "N"; "X".
    degrees: the bracket's content in written order, an omission with its star (``*5``).
    bass: degree of the root, "1" when the root is in the bass.
    spelling: the root as written ("Bb"); "" spells it with sharps.
    """

    root: int
    quality: str
    degrees: tuple[str, ...] = ()
    bass: str = "1"
    spelling: str = field(default="", compare=False)

    @property
    def is_chord(self) -> bool:
        """False for N (no chord) and X (a chord outside the vocabulary)."""
        return self.root >= 0

    @property
    def added(self) -> tuple[str, ...]:
        """Degrees in brackets that are added."""
        return tuple(d for d in self.degrees if not d.startswith("*"))

    @property
    def omitted(self) -> tuple[str, ...]:
        """Degrees in brackets that are left out, without the star."""
        return tuple(d[1:] for d in self.degrees if d.startswith("*"))

    @cached_property
    def bass_semitone(self) -> int:
        """Semitones of the bass above the root, 0–11; -1 for N and X."""
        return degree_semitones(self.bass) % 12 if self.is_chord else -1

    @cached_property
    def bitmap(self) -> tuple[int, ...]:
        """Twelve 0/1 entries, semitones relative to the root, as ``mir_eval.chord.encode`` gives them.

        The bass counts; degrees of an octave or more (9, 11, 13) do not. N is all 0, X all -1.
        """
        if not self.is_chord:
            return (-1 if self.quality == "X" else 0,) * 12
        return self._sounding(12)

    @property
    def mask(self) -> int:
        """``bitmap`` as a 12-bit number, bit k = k semitones above the root; 0 for N and X."""
        return sum(1 << k for k, on in enumerate(self.bitmap) if on > 0)

    @cached_property
    def pitch_classes(self) -> frozenset[int]:
        """Absolute pitch classes 0–11 of every note, extensions and bass included; empty for N and X."""
        if not self.is_chord:
            return frozenset()
        return frozenset((self.root + k) % 12 for k, on in enumerate(self._sounding(256)) if on)

    def _sounding(self, below: int) -> tuple[int, ...]:
        """Relative bitmap from the degrees smaller than ``below`` semitones."""
        count = [0] * 12
        count[0] = 1
        for sign, degrees in ((1, SHORTHANDS.get(self.quality, ())), (1, self.added), (-1, self.omitted)):
            for semitones in map(degree_semitones, dict.fromkeys(degrees)):
                if semitones < below:
                    count[semitones % 12] += sign
        count[self.bass_semitone] = 1
        return tuple(int(c > 0) for c in count)

    def __str__(self) -> str:
        """The Harte label, quality always written: "C:maj", "Bb:min7(9)/b3", "N"."""
        if not self.is_chord:
            return self.quality
        brackets = f"({','.join(self.degrees)})" if self.degrees else ""
        bass = "" if self.bass == "1" else f"/{self.bass}"
        return f"{self.spelling or PITCH_CLASSES[self.root]}:{self.quality}{brackets}{bass}"


NO_CHORD = Chord(-1, "N")
UNKNOWN_CHORD = Chord(-1, "X")


@lru_cache(maxsize=65536)
def parse(label: str) -> Chord:
    """Parse a Harte label; see ``normalise`` for lead-sheet spellings.

    A bare root is major ("C" is "C:maj"). Raises LabelError when the label is outside the grammar.
    """
    if label == "N":
        return NO_CHORD
    if label == "X":
        return UNKNOWN_CHORD
    match = _HARTE.fullmatch(label) if isinstance(label, str) else None
    if match is None or label.endswith(":") or ":/" in label:
        raise LabelError(
            f"Chord label {quote(label)} is outside the Harte grammar; "
            "write root:quality(degrees)/bass, for example C:maj, Bb:min7/b3 or N."
        )
    spelling, quality, degrees, bass = match.group("root", "quality", "degrees", "bass")
    if quality is None:
        quality = "" if degrees else "maj"
    return Chord(
        note_semitone(spelling),
        quality,
        tuple(dict.fromkeys(degrees.split(","))) if degrees else (),
        bass or "1",
        spelling,
    )


def quote(text: object) -> str:
    """``text`` for an error message: quoted, control characters escaped, at most 60 characters."""
    shown = text if isinstance(text, str) else repr(text)
    return repr(shown if len(shown) <= 60 else shown[:57] + "...")
