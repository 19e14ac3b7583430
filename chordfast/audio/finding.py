"""Which files are recordings, by name."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

AUDIO_SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au", ".snd"}
    | {".caf", ".w64", ".rf64"}
    | {".m4a", ".m4b", ".mp4", ".aac", ".webm", ".mka", ".wma"}
)
"""Suffixes (lower case) that :func:`find_audio` looks for; the last line of formats needs ``chordfast[av]``."""


def find_audio(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """Recordings below ``paths`` (one path or several), depth first, each folder in order of name.

    A named file is given whatever its suffix, one inside a folder only with one of :data:`AUDIO_SUFFIXES`. Links to
    folders are followed, each folder is visited once, so that loops end; macOS's ``._`` companions are left out. A
    folder that cannot be listed is skipped with a warning.
    """
    seen: set[tuple[int, int]] = set()
    for given in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        path = Path(given)
        if path.is_dir():
            yield from _below(path, seen)
        else:
            yield path


def _below(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    stack = [folder]
    while stack:
        entry = stack.pop()
        try:
            if not entry.is_dir():
                yield entry
                continue
            status = entry.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(entry) as listing:
                inside = sorted(item.name for item in listing if _wanted(item))
        except OSError as error:
            warnings.warn(f"{entry} cannot be listed ({error.strerror}) and was skipped", stacklevel=2)
            continue
        stack.extend(entry / name for name in reversed(inside))


def _wanted(item: os.DirEntry[str]) -> bool:
    try:
        if item.is_dir():
            return True
    except OSError:
        return False
    return os.path.splitext(item.name)[1].lower() in AUDIO_SUFFIXES and not item.name.startswith("._")
