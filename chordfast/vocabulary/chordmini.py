"""The label rules of the ChordMini code (arXiv 2602.19778), kept as they are to reproduce its numbers.

They never fail: what they do not know becomes major, X or N. Prefer the default map for new work.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..errors import LabelError
from .classes import N_CLASS, QUALITIES, X_CLASS
from .harte import LETTERS, PITCH_CLASSES, quote

# canonical quality <- spellings
_SPELLINGS = {
    "maj": '" : M major ma',
    "min": "m - mi minor",
    "7": "dom dom7 9 11 13 7#9 7b9 7b5 alt 7(b9) 7(#9) 7(b5)",
    "maj7": "M7 ^ ^7 maj9 maj11 maj13 maj(9) maj(7)",
    "min7": "m7 -7 min9 min11 min13 min(9) min(7)",
    "dim": "o °",
    "dim7": "°7 o7",
    "hdim7": "ø m7b5 min7b5 min7-5 min7(b5)",
    "aug": "+",
    "aug7": "7#5 7+5 7(#5)",
    "minmaj7": "mmaj7",
    "maj6": "6 M6 69 6/9 maj(6)",
    "min6": "m6 -6 min(6)",
    "sus2": "",
    "sus4": "sus sus4(9) sus4(b7)",
    "5": "",
}
_QUALITY = {spelling: target for target, text in _SPELLINGS.items() for spelling in (target, *text.split())}
_QUALITY[""] = "maj"

_SETS = {
    "maj": "0,4,7 0,4 0 0,7",
    "min": "0,3,7 0,3",
    "aug": "0,4,8 0,4,8,10",
    "dim": "0,3,6",
    "maj7": "0,4,7,11 0,4,11 0,2,4,7,11",
    "7": "0,4,7,10 0,4,10 0,2,4,7,10",
    "min7": "0,3,7,10 0,3,10 0,2,3,7,10",
    "minmaj7": "0,3,7,11",
    "maj6": "0,4,7,9",
    "min6": "0,3,7,9",
    "sus4": "0,5,7 0,5 0,5,7,10",
    "sus2": "0,2,7 0,2",
    "dim7": "0,3,6,9",
    "hdim7": "0,3,6,10",
}
_BY_SEMITONES = {
    frozenset(map(int, members.split(","))): target for target, text in _SETS.items() for members in text.split()
}
_SCALE = (0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 17, 19, 21, 23)

# Evaluation only: texts between ":" and "/" that override the parsed quality, then simplifications.
_EVAL_OVERRIDE = {
    **dict.fromkeys(("(1,2,4,5)", "(1,4,5)", "(1,4)", "sus2(4)", "sus4(2)"), "sus4"),
    "maj(11)": "maj7",
    "min(11)": "min7",
}
_EVAL_SIMPLE = {
    **dict.fromkeys(("5", "1"), "maj"),
    "6": "maj6",
    **dict.fromkeys(("9", "11", "13"), "7"),
    **dict.fromkeys(("maj9", "maj11", "maj13"), "maj7"),
    **dict.fromkeys(("min9", "min11", "min13"), "min7"),
    **dict.fromkeys(("m7b5", "min7b5"), "hdim7"),
    **dict.fromkeys(("7sus", "7sus4", "sus"), "sus4"),
}

VOCABULARY: dict[str, int] = {
    root + ("" if quality == "maj" else ":" + quality): 14 * r + q
    for r, root in enumerate(PITCH_CLASSES)
    for q, quality in enumerate(QUALITIES)
} | {"X": X_CLASS, "N": N_CLASS}
"""ChordMini's label texts (a major chord is its bare root) and their class."""


def _note(text: str) -> int | None:
    letter = LETTERS.get(text[:1].upper())
    if letter is None or not text[:1].isascii():
        return None
    return (letter + text.count("#", 1) - text.count("b", 1)) % 12


def _interval(text: str) -> int | None:
    match = re.fullmatch(r"([#b]*)(\d{1,9})", text, re.ASCII)
    if match is None or not 1 <= int(match[2]) <= len(_SCALE):
        return None
    return (_SCALE[int(match[2]) - 1] + match[1].count("#") - match[1].count("b")) % 12


def _reduce_quality(text: str) -> str:
    if text in _QUALITY:
        return _QUALITY[text]
    if text.startswith("(") and text.endswith(")"):
        members = [_interval(part.strip()) for part in text[1:-1].split(",")]
        found = _BY_SEMITONES.get(frozenset([0, *(m for m in members if m is not None)]))
        if None not in members and found is not None:
            return found
    stripped = text
    if "(" in text and ")" in text:
        stripped = text[: text.index("(")] + text[text.rindex(")") + 1 :]
    return _QUALITY.get(stripped, "maj")


def _split(label: str) -> tuple[str, str, str] | None:
    """Root name, canonical quality, bass name ("" without); None for X; root "N" for no chord."""
    text = label.strip()
    if text.upper() in ("", "N", "NC"):
        return "N", "", ""
    if text.upper() == "X":
        return None
    chord, slash, tail = text.rpartition("/")
    bass: int | None = None
    relative = False
    if slash:
        relative = re.fullmatch(r"[#b]?\d+", tail, re.ASCII) is not None
        bass = _interval(tail) if relative else _note(tail)
        if bass is None and not relative:
            bass, relative = _interval(tail), True
    if bass is None:
        chord = text
    chord = chord.strip()
    if ":" in chord:
        name, _, quality = chord.partition(":")
        name, quality = name.strip(), quality.strip()
    else:
        match = re.match(r"[a-gA-G][#b]?", chord)
        if match is None:
            return None
        name, quality = match[0], chord[match.end() :].strip()
    root = _note(name)
    if root is None:
        return None
    low = "" if bass is None else PITCH_CLASSES[(root + bass) % 12 if relative else bass]
    return PITCH_CLASSES[root], _reduce_quality(quality), low


def canonical(label: str) -> str:
    """ChordMini's parser: label text to ``root[:quality][/bass note]``, "N" or "X"."""
    parts = _split(label)
    if parts is None:
        return "X"
    root, quality, bass = parts
    if root == "N":
        return "N"
    return _text(root, quality) + (f"/{bass}" if bass else "")


def _text(root: str, quality: str) -> str:
    return root if quality == "maj" else f"{root}:{quality}"


@lru_cache(maxsize=65536)
def train_class(label: str) -> int:
    """Class of the supervised training sets: bass dropped, out of vocabulary X (168)."""
    text = canonical(label)
    return VOCABULARY.get(text, VOCABULARY.get(text.rpartition("/")[0] or text, X_CLASS))


@lru_cache(maxsize=65536)
def offline_class(label: str) -> int:
    """Class of the pseudo-label files: whatever is outside the vocabulary, slash chords too, is N (169)."""
    text = canonical(label)
    return N_CLASS if text == "X" else VOCABULARY.get(text, N_CLASS)


@lru_cache(maxsize=65536)
def eval_label(label: str) -> str:
    """The label ChordMini's evaluation scores: reduced to the vocabulary, unknown and X as "N"."""
    parts = _split(label)
    if parts is None or parts[0] == "N":
        return "N"
    root, quality, _ = parts
    match = re.match(r"[A-G](?:#|b)?:([^/]*)", label.strip())
    raw = match[1].strip() if match else ""
    quality = _EVAL_OVERRIDE.get(raw) or _EVAL_SIMPLE.get(raw) or _EVAL_SIMPLE.get(quality) or quality
    text = _text(root, quality)
    if text in VOCABULARY:
        return text
    whole = canonical(label)
    return whole if whole in VOCABULARY else "N"


def eval_class(label: str) -> int:
    """Class 0–169 of ``eval_label``."""
    return VOCABULARY[eval_label(label)]


def transpose(label: str, semitones: int) -> str:
    """Shift root and note-named bass by ``semitones``; sharps out, a plain "maj" dropped.

    Interval basses, "N", "X" and "" stay as they are: ("Eb:maj7/Bb", 1) → "E:maj7/B".
    Raises LabelError when the label does not begin with a note.
    """
    text = label.strip()
    if text in ("", "N", "X"):
        return text
    chord, slash, bass = text.rpartition("/")
    if not slash or not bass:
        chord, bass = text, ""
    match = re.match(r"([A-Ga-g](?:#+|b+)?)(:?)(.*)", chord)
    root = _note(match[1]) if match else None
    if match is None or root is None:
        raise LabelError(f"Chord label {quote(label)} cannot be transposed; it must begin with a note, or be N or X.")
    low = _note(bass) if re.fullmatch(r"[A-Ga-g](?:#+|b+)?", bass) else None
    moved = bass if low is None else PITCH_CLASSES[(low + semitones) % 12]
    quality = "" if match[3] == "maj" else match[2] + match[3]
    return PITCH_CLASSES[(root + semitones) % 12] + quality + (f"/{moved}" if moved else "")
