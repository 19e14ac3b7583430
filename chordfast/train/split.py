"""Parts of a corpus by song: the reproducible rule of ChordMini, folds, and split files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UsageError


class Split(NamedTuple):
    """Songs (positions, or ids) of the three parts."""

    train: list
    val: list
    test: list


def split_songs(
    count: int, train: float, val: float, seed: int = 42, ensure_train: bool = False, ensure_val: bool = True
) -> Split:
    """Positions 0 ... count-1 in three parts (arXiv 2602.19778's code): shuffled by NumPy's legacy
    ``RandomState(seed)``, the first trunc(count * train) train, the next trunc(count * val) validate.

    ensure_train: at least one song trains. ensure_val: one song validates where there are three or more.
    """
    order = np.arange(count)
    np.random.RandomState(seed).shuffle(order)
    first, second = int(count * train), int(count * val)
    if ensure_train and count:
        first = max(1, first)
    if ensure_val and second == 0 and count >= 3:
        second, first = 1, min(first, count - 2)
    parts = np.split(order, [first, min(count, first + second)])
    return Split(*(sorted(part.tolist()) for part in parts))


def folds(count: int, number: int, fold: int, seed: int = 42) -> Split:
    """Cross-validation: fold ``fold`` of ``number`` validates, the others train; the last takes the remainder."""
    if not 2 <= number <= max(2, count) or not 0 <= fold < number:
        raise UsageError(f"there is no fold {fold} of {number} over {count} songs; give 2 to {count} folds")
    order = np.arange(count)
    np.random.RandomState(seed).shuffle(order)
    size = count // number
    start, stop = fold * size, count if fold == number - 1 else (fold + 1) * size
    return Split(np.concatenate((order[:start], order[stop:])).tolist(), order[start:stop].tolist(), [])


def choose(count: int, most: int, seed: int = 42) -> list[int]:
    """At most ``most`` (0: all) of the positions 0 ... count-1, ascending, drawn without replacement."""
    if most <= 0 or most >= count:
        return list(range(count))
    return sorted(np.random.RandomState(seed).choice(count, most, replace=False).tolist())


def read_split(path: str | os.PathLike[str]) -> Split:
    """Song ids of a file {"train": [...], "val": [...], "test": [...]}; a missing part is empty.

    Raises UsageError for a file that is no such thing, or that has a song in two parts.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        parts = Split(*([str(song) for song in content.get(part, [])] for part in Split._fields))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise UsageError(f'{path} is no split: write {{"train": [names], "val": [names], "test": [names]}}') from error
    seen: dict[str, str] = {}
    for part, songs in zip(Split._fields, parts, strict=True):
        for song in songs:
            if seen.setdefault(song, part) != part:
                raise UsageError(f"{path} has {song!r} in {seen[song]} and in {part}; leave it in one part")
    return parts


def match(split: Split, ids: Sequence[str], where: str) -> Split:
    """Positions in ``ids`` of the songs of a split file, whose names may lack a suffix like .ogg.

    Songs of the corpus that the split does not name are left out. Raises UsageError when a part names songs of which
    none is there.
    """
    known: dict[str, int] = {}
    for position, song in enumerate(ids):
        known.setdefault(song, position)
        known.setdefault(os.path.splitext(song)[0], position)
    found = Split(*([known[song] for song in part if song in known] for part in split))
    for part, wanted, got in zip(Split._fields, split, found, strict=True):
        if wanted and not got:
            raise UsageError(f"{where}: none of the {len(wanted)} songs of part {part} (say, {wanted[0]!r}) is there")
    return found
