"""The label rules BTC was trained with (Park et al., ISMIR 2019), kept as they are."""

from __future__ import annotations

import re
from functools import lru_cache

from ..errors import LabelError
from .classes import N_CLASS, QUALITIES, X_CLASS
from .harte import parse, quote

_MISSING_COLON = {"Emin/4": "E:min/4", "A7/3": "A:7/3", "Bb7/3": "Bb:7/3", "Bb7/5": "Bb:7/5"}
_ENDINGS = ((":4", ":sus4"), (":6", ":maj6"), (":6/2", ":maj6/2"))  # repaired for 170 classes only
_QUALITY = re.compile(
    r"(maj13|min13|minmaj7|hdim7|maj11|maj6|maj7|maj9|min6|min7|min9|min11|dim7|sus2|sus4|maj|min|dim|aug"
    r"|13|11|9|7|6|5|4|1)?(\((?:\*?[b#]*\d+)(?:,\*?[b#]*\d+)*\))?"
)
# mir_eval's reduction of extended chords
_REDUCED = {
    **dict.fromkeys(("9", "11", "13"), "7"),
    **dict.fromkeys(("maj9", "maj13"), "maj7"),
    **dict.fromkeys(("min9", "min11", "min13"), "min7"),
    "minmaj7": "min",
}


def _repair(label: str) -> str:
    label = _MISSING_COLON.get(label, label)
    return label.replace("min", ":min", 1) if ":" not in label and "min" in label else label


def _root(text: str) -> int | None:
    # Any character stands for a letter, counted from C in steps of seven.
    if not text or text[1:].strip("b#"):
        return None
    natural = (0, 2, 4, 5, 7, 9, 11)[(ord(text[0]) - ord("C")) % 7]
    return (natural + text.count("#", 1) - text.count("b", 1)) % 12


def _split(label: str) -> tuple[int, str]:
    """Root 0–11 and quality text with its brackets; root -1 for N and X. LabelError where BTC's parser fails."""
    if label in ("N", "X"):
        return -1, label
    chord, slash, bass = label.partition("/")
    name, colon, quality = chord.partition(":")
    root = _root(name)
    valid = (_QUALITY.fullmatch(quality) is not None and quality != "") if colon else True
    if slash and re.fullmatch(r"[b#]*\d+", bass) is None:
        valid = False
    if root is None or not valid or quality.startswith("maj11"):
        raise LabelError(
            f"Chord label {quote(label)} is outside BTC's label grammar; correct it or use another dialect."
        )
    return root, quality


@lru_cache(maxsize=65536)
def class25(label: str) -> int:
    """Class 0–24 of the 25-class map: N and X are 24, minor where the quality says "min", else major."""
    root, quality = _split(_repair(label))
    return 24 if root < 0 else 2 * root + ("min" in quality)


@lru_cache(maxsize=65536)
def class170(label: str) -> int:
    """Class 0–169 of the 170-class map: N and X are 169, other qualities 168, minmaj7 is min."""
    label = _repair(label)
    for ending, repaired in _ENDINGS:
        if label.endswith(ending):
            label = label.removesuffix(ending) + repaired
            break
    root, quality = _split(label)
    parse(label)
    if root < 0:
        return N_CLASS
    shorthand = quality.partition("(")[0] if quality else "maj"
    shorthand = _REDUCED.get(shorthand, shorthand)
    return 14 * root + QUALITIES.index(shorthand) if shorthand in QUALITIES else X_CLASS
