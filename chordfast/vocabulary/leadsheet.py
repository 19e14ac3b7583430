"""Lead-sheet chord symbols (Cmaj7, F#m7b5, Bb7/D, C△7, N.C.) to Harte syntax."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from ..errors import LabelError
from .harte import LETTERS, SCALE, SHORTHANDS, Chord, note_semitone, parse, quote

_CHARACTERS = str.maketrans(
    {
        "♯": "#",
        "♭": "b",
        "𝄪": "##",
        "𝄫": "bb",
        "♮": "",
        "△": "^",
        "∆": "^",
        "Δ": "^",
        "°": "o",
        "º": "o",
        "ø": "%",
        "Ø": "%",
        "–": "-",
        "−": "-",
        "⁻": "-",
        "‑": "-",
        "⁺": "+",
    }
)
_NO_CHORD = frozenset({"n", "nc", "nochord", "none", "silence"})
_UNKNOWN = frozenset({"x", "unknown", "?"})

# Words and signs -> the family they name; tried in order at the start of the quality text.
_FAMILIES = (
    (r"(?:minor|min|mi|m|-)\(?(?:major|maj|ma|M|\^)(?=7|9|11|13|\)|$)", "minmaj"),
    (r"(?:half-?dim(?:inished)?|hdim|m?%|h)", "hdim"),
    (r"(?:diminished|dim|o)", "dim"),
    (r"(?:augmented|aug|\+)", "aug"),
    (r"(?:major|maj|ma(?!dd)|M)", "maj"),
    (r"\^", "delta"),
    (r"(?:minor|min|mi|m|-)", "min"),
    (r"(?:dominant|dom)", ""),
)
_FAMILY = re.compile("|".join(f"({pattern})" for pattern, _ in _FAMILIES))
_NUMBER = re.compile(r"69|6/9|13|11|[1245679]")
_WORDS = re.compile(
    r"major|maj|minor|min|half-?dim(?:inished)?|dim(?:inished)?|aug(?:mented)?|sus|add|omit|no|alt|dom(?:inant)?|hdim",
    re.IGNORECASE,
)
_MODIFIER = re.compile(
    r"(?P<skip>[,()]+)"
    r"|(?P<sus>sus(?:24|4|2)?)"
    r"|(?P<alt>alt)"
    r"|(?:omit|no)(?P<omit>[35])"
    r"|(?:add|/)?(?P<major>(?:maj|M|\^)7)"
    r"|(?:add)?(?P<degree>(?<!\d)(?:11|13|[2469])|[b-](?:13|[25679])|[#+](?:11|[2459]))"
    r"|(?P<sharp5>\+)"
)

# (family, number) -> Harte shorthand and added degrees. Only shorthands mir_eval can encode are written.
_BASES: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("", ""): ("maj", ()),
    ("", "1"): ("1", ()),
    ("", "2"): ("maj", ("2",)),
    ("", "4"): ("sus4", ()),
    ("", "5"): ("5", ()),
    ("", "6"): ("maj6", ()),
    ("", "69"): ("maj6", ("9",)),
    ("", "7"): ("7", ()),
    ("", "9"): ("9", ()),
    ("", "11"): ("11", ()),
    ("", "13"): ("13", ()),
    ("maj", ""): ("maj", ()),
    ("maj", "2"): ("maj", ("2",)),
    ("maj", "6"): ("maj6", ()),
    ("maj", "69"): ("maj6", ("9",)),
    ("maj", "7"): ("maj7", ()),
    ("maj", "9"): ("maj9", ()),
    ("maj", "11"): ("maj9", ("11",)),
    ("maj", "13"): ("maj13", ()),
    ("min", ""): ("min", ()),
    ("min", "2"): ("min", ("2",)),
    ("min", "6"): ("min6", ()),
    ("min", "69"): ("min6", ("9",)),
    ("min", "7"): ("min7", ()),
    ("min", "9"): ("min9", ()),
    ("min", "11"): ("min11", ()),
    ("min", "13"): ("min13", ()),
    ("minmaj", ""): ("minmaj7", ()),
    ("minmaj", "7"): ("minmaj7", ()),
    ("minmaj", "9"): ("minmaj7", ("9",)),
    ("minmaj", "11"): ("minmaj7", ("9", "11")),
    ("minmaj", "13"): ("minmaj7", ("9", "11", "13")),
    ("dim", ""): ("dim", ()),
    ("dim", "7"): ("dim7", ()),
    ("dim", "9"): ("dim7", ("9",)),
    ("hdim", ""): ("hdim7", ()),
    ("hdim", "7"): ("hdim7", ()),
    ("hdim", "9"): ("hdim7", ("9",)),
    ("hdim", "11"): ("hdim7", ("9", "11")),
    ("aug", ""): ("aug", ()),
    ("aug", "7"): ("aug", ("b7",)),
    ("aug", "9"): ("aug", ("b7", "9")),
    ("aug", "13"): ("aug", ("b7", "9", "13")),
}
# What a suspension keeps of the chord it stands on: 7sus4 is sus4(b7).
_SUSPENDED: dict[str, tuple[str, ...]] = {
    "maj": (),
    "min": (),
    "5": (),
    "maj6": ("6",),
    "7": ("b7",),
    "min7": ("b7",),
    "9": ("b7", "9"),
    "11": ("b7", "9"),
    "13": ("b7", "9", "13"),
    "maj7": ("7",),
    "maj9": ("7", "9"),
    "maj13": ("7", "9", "13"),
    "sus2": (),
    "sus4": (),
}
# An altered fifth that has a shorthand of its own.
_ALTERED_FIFTH: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("min", "b5"): ("dim", ()),
    ("min7", "b5"): ("hdim7", ()),
    ("min9", "b5"): ("hdim7", ("9",)),
    ("min11", "b5"): ("hdim7", ("9", "11")),
    ("maj", "#5"): ("aug", ()),
    ("7", "#5"): ("aug", ("b7",)),
    ("9", "#5"): ("aug", ("b7", "9")),
    ("maj7", "#5"): ("aug", ("7",)),
    ("maj9", "#5"): ("aug", ("7", "9")),
}


def _refuse(label: object) -> LabelError:
    return LabelError(
        f"Chord label {quote(label)} cannot be read; write Harte syntax (C:min7/b3), "
        "a lead-sheet symbol (Cm7/Eb), N for no chord or X for an unknown one."
    )


@lru_cache(maxsize=65536)
def normalise(label: str) -> str:
    """Harte spelling of a chord label given in Harte or lead-sheet syntax.

    The quality is always written and the bass is a degree: "C" → "C:maj", "A/C#" → "A:maj/3",
    "F#m7b5" → "F#:hdim7", "G7sus4" → "G:sus4(b7)", "C6/9" → "C:maj6(9)", "C7alt" → "C:7(#9,b13)",
    "N.C." → "N". A label that is Harte syntax keeps its shorthand and degrees. An altered fifth
    without a shorthand of its own replaces the fifth: "C7b5" → "C:7(*5,b5)".
    Raises LabelError for what is neither; lower-case roots are refused, since some write minor so.
    """
    if not isinstance(label, str):
        raise _refuse(label)
    text = label.strip()
    try:
        return str(parse(text))
    except LabelError:
        pass
    text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS)).translate(_CHARACTERS)
    word = re.sub(r"[\s._]", "", text).lower()
    if word in _NO_CHORD:
        return "N"
    if word in _UNKNOWN:
        return "X"
    match = re.fullmatch(r"([A-G](?:b+|#+)?)\s*(?::(?=\s*[^\s/]))?(.*)", text)
    if match is None:
        raise _refuse(label)
    spelling = match[1]
    rest, bass = _split_bass(spelling, re.sub(r"\s", "", match[2]))
    parsed = _quality(rest) if _balanced(rest) else None
    if parsed is None:
        raise _refuse(label)
    quality, degrees = parsed
    return str(Chord(note_semitone(spelling), quality, degrees, bass, spelling))


def _split_bass(root: str, text: str) -> tuple[str, str]:
    """Cut "/bass" off the end; a note becomes a degree of ``root``. "6/9" is a quality, not a bass."""
    head, slash, tail = text.rpartition("/")
    tail = tail.strip()
    if not slash or (tail == "9" and head.rstrip().endswith("6")):
        return text, "1"
    if re.fullmatch(r"[A-G](?:b+|#+)?", tail):
        return head.strip(), _degree_of(root, tail)
    if re.fullmatch(r"(?:b*|#*)(?:1[0-3]?|[2-9])", tail):
        return head.strip(), tail
    return text, "1"


def _degree_of(root: str, note: str) -> str:
    """Degree of ``note`` above ``root`` by letter distance: (A, C#) → 3, (C, Bb) → b7, (C, A#) → #6."""
    order = "CDEFGAB"
    number = (order.index(note[0]) - order.index(root[0])) % 7
    natural = (LETTERS[root[0]] + SCALE[number]) % 12
    sharps = (LETTERS[note[0]] - natural + 6) % 12 - 6
    sharps += note.count("#") - note.count("b", 1) - root.count("#") + root.count("b", 1)
    return ("#" * sharps if sharps > 0 else "b" * -sharps) + str(number + 1)


def _balanced(text: str) -> bool:
    """Brackets come in pairs and do not nest."""
    return re.fullmatch(r"[^()]*(?:\([^()]+\)[^()]*)*", text) is not None


def _quality(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Shorthand and degrees of a lead-sheet quality without blanks, None when it cannot be read."""
    text = _WORDS.sub(lambda m: m[0].lower(), text)
    text = re.sub(r"^M[Aa](?=\d|$)", "maj", re.sub(r"^M[Ii](?=\d|$)", "min", text))
    text = re.sub(r"7M$", "maj7", text)
    family, number, end = "", "", 0
    if match := _FAMILY.match(text):
        family, end = _FAMILIES[(match.lastindex or 1) - 1][1], match.end()
    if match := _NUMBER.match(text, end):
        number, end = match[0].replace("/", ""), match.end()
    if family == "delta":  # a triangle alone already means the seventh
        family, number = "maj", number or "7"
    base = _BASES.get((family, number))
    return None if base is None else _modify(*base, text, end)


def _modify(quality: str, degrees: tuple[str, ...], text: str, start: int) -> tuple[str, tuple[str, ...]] | None:
    """Apply what follows the base: suspensions, alterations, additions, omissions."""
    added = list(degrees)
    while start < len(text):
        token = _MODIFIER.match(text, start)
        if token is None:
            return None
        start = token.end()
        if token["sus"]:
            if quality not in _SUSPENDED:
                return None
            both = token["sus"] == "sus24" or quality in ("sus2", "sus4")
            added = [*_SUSPENDED[quality], *added, *(["2"] if both else [])]
            quality = "sus2" if token["sus"] == "sus2" and not both else "sus4"
        elif token["alt"]:
            if quality not in ("7", "maj"):
                return None
            quality, added = "7", [*added, "#9", "b13"]
        elif token["omit"]:
            omitted = [d for d in SHORTHANDS[quality] if d.lstrip("b#") == token["omit"]]
            if not omitted:
                return None
            added.append("*" + omitted[0])
        elif token["major"]:
            added.append("7")
        elif token["degree"] or token["sharp5"]:
            degree = (token["degree"] or "#5").replace("+", "#").replace("-", "b")
            if degree in ("b5", "#5"):
                quality, more = _ALTERED_FIFTH.get((quality, degree), (quality, ("*5", degree)))
                added = [*more, *added]
            else:
                added.append(degree)
    return quality, tuple(dict.fromkeys(d for d in added if d not in SHORTHANDS[quality]))
