"""Reading an annotation of any format."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..errors import LabelError, UsageError
from .annotation import Annotation
from .jams_reader import read_jams
from .json_reader import read_json
from .lab import read_lab_lines
from .midi import read_midi
from .parquet import read_parquet
from .svl import read_svl
from .table_reader import read_csv_lines


def _single_parquet(path: str | os.PathLike[str]) -> Annotation:
    songs = read_parquet(path)
    if len(songs) != 1:
        raise LabelError(
            f"{os.fspath(path)} holds {len(songs)} songs, and one is asked for; convert it to a folder first."
        )
    return next(iter(songs.values()))


_READERS: dict[str, Callable[[str | os.PathLike[str]], Annotation]] = {
    "json": read_json,
    "jams": read_jams,
    "svl": read_svl,
    "midi": read_midi,
    "parquet": _single_parquet,
}
_WITH_LINES = {"lab": read_lab_lines, "audacity": read_lab_lines, "csv": read_csv_lines}
READABLE: dict[str, str] = {
    **{".lab": "lab", ".txt": "audacity", ".json": "json", ".jams": "jams", ".csv": "csv", ".svl": "svl"},
    **{".mid": "midi", ".midi": "midi", ".parquet": "parquet"},
}
"""Suffix of a file → name of its format."""


def format_of(path: str | os.PathLike[str]) -> str:
    """The format a file's suffix names; UsageError when it names none."""
    suffix = Path(path).suffix.lower()
    if suffix not in READABLE:
        raise UsageError(f"{os.fspath(path)} is of no known format; its name must end with {', '.join(READABLE)}.")
    return READABLE[suffix]


def read(path: str | os.PathLike[str], format: str | None = None) -> Annotation:
    """The annotation of a file, of the format that its suffix names unless ``format`` does.

    Raises LabelError when it cannot be read, naming file and line; UsageError for an unknown format.
    """
    return read_places(path, format)[0]


def read_places(path: str | os.PathLike[str], format: str | None = None) -> tuple[Annotation, list[str]]:
    """``read``, and where each segment stands in the file: "line 3", or "segment 3" in formats without lines."""
    name = format or format_of(path)
    if name in _WITH_LINES:
        annotation, lines = _WITH_LINES[name](path)
        return annotation, [f"line {line}" for line in lines]
    if name not in _READERS:
        raise UsageError(
            f"There is no annotation format {name!r}; choose one of {', '.join((*_WITH_LINES, *_READERS))}."
        )
    annotation = _READERS[name](path)
    return annotation, [f"segment {i}" for i in range(1, len(annotation) + 1)]
