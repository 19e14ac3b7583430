"""Ids of pitch-shifted versions of a song: ``a/b.mp3#+3`` is ``a/b.mp3`` three semitones higher."""

from __future__ import annotations

import re

_SHIFTED = re.compile(r"#([+-]\d{1,2})$")


def shifted_id(song: str, semitones: int) -> str:
    """The id of a song's version, of the song itself for 0: ("a/b", 3) -> "a/b#+3"."""
    return f"{song}#{semitones:+d}" if semitones else song


def base_and_shift(song: str) -> tuple[str, int]:
    """A song's id without the mark of a pitch-shifted version, and its semitones: "a/b#+3" -> ("a/b", 3)."""
    found = _SHIFTED.search(song)
    return (song[: found.start()], int(found.group(1))) if found else (song, 0)
