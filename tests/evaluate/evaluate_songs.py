"""Random chords and annotations for tests."""

from __future__ import annotations

import random
import re
from itertools import pairwise

from chordfast.annotations import Annotation
from chordfast.vocabulary.harte import SHORTHANDS

QUALITIES = sorted(SHORTHANDS.keys() - {"aug7", "maj11"})  # those two mir_eval cannot encode


def segments(rows: list) -> Annotation:
    """An annotation of (start, end, label) rows."""
    return Annotation([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


def degree(rng: random.Random) -> str:
    return rng.choice(["", "", "", "b", "#", "bb"]) + str(rng.randint(1, 13))


def label(rng: random.Random) -> str:
    """Any Harte label: odd roots, brackets, omissions, basses, N and X."""
    if rng.random() < 0.1:
        return rng.choice("NX")
    text = rng.choice("CDEFGAB") + rng.choice(["", "", "b", "#", "bb"])
    if rng.random() < 0.9:
        quality = rng.choice(QUALITIES) if rng.random() < 0.8 else ""
        if rng.random() < 0.35 or not quality:
            members = [rng.choice(["", "", "*"]) + degree(rng) for _ in range(rng.randint(1, 3))]
            quality += f"({','.join(members)})"
        text += ":" + quality
    return text + ("/" + degree(rng) if rng.random() < 0.3 else "")


def like(rng: random.Random, other: str) -> str:
    """A label that often has the other's root, and sometimes is the other."""
    found = label(rng)
    if rng.random() < 0.6 and other not in "NX" and found not in "NX":
        root = re.match(r"[A-G][b#]*", other)
        assert root
        found = root[0] + re.sub(r"^[A-G][b#]*", "", found)
    return found if rng.random() < 0.7 else other


def annotation(rng: random.Random, pool: list[str]) -> Annotation:
    """One to fifteen segments in 20 s, some gaps."""
    bounds = sorted({round(rng.uniform(0, 20), 2) for _ in range(rng.randint(2, 16))} | {rng.choice([0.0, 1.5])})
    if len(bounds) < 2:
        bounds = [0.0, 3.0]
    ends = [b if rng.random() < 0.85 else (a + b) / 2 for a, b in pairwise(bounds)]
    return Annotation(bounds[:-1], ends, [rng.choice(pool) for _ in ends])
