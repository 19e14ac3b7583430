"""Reading ``.lab`` files: ``start end label`` a line, in seconds."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np

from ..errors import LabelError
from ..vocabulary import parse
from ..vocabulary.harte import quote
from .annotation import TOLERANCE, Annotation

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def read_lab(path: str | os.PathLike[str], strict: bool = False) -> Annotation:
    """Read a ``.lab`` file, in the order of its lines.

    Fields are separated by tabs or blanks; with tabs a label may hold blanks. Further fields are
    ignored, and so are empty lines, lines that begin with "#", a UTF-8 byte order mark, and the kind
    of line ends. ``duration`` is the latest end. Labels are kept as written; ``chord_class`` reads them.

    Raises LabelError with file, line and content when the file cannot be opened or is not UTF-8, and
    when a line has fewer than three fields, a time that is no finite number or is negative, an end
    before its start, or a label with control characters. ``strict`` also refuses labels outside the
    Harte grammar, segments of no length, and segments that start before an earlier one has ended.
    """
    return read_lab_lines(path, strict)[0]


def read_lab_lines(path: str | os.PathLike[str], strict: bool = False) -> tuple[Annotation, list[int]]:
    """``read_lab``, and the line every segment stands on, counted from 1."""
    starts: list[float] = []
    ends: list[float] = []
    labels: list[str] = []
    lines: list[int] = []
    latest = 0.0
    for number, line in enumerate(read_lines(path), start=1):
        if not line or line.isspace() or line.lstrip().startswith("#"):
            continue
        try:
            start, end, label = fields(line)
            if strict:
                _check_strictly(start, end, label, latest)
        except LabelError as error:
            raise LabelError(f"{os.fspath(path)}, line {number}: {error}") from None
        starts.append(start)
        ends.append(end)
        labels.append(label)
        lines.append(number)
        latest = max(latest, end)
    return Annotation(np.array(starts), np.array(ends), labels, duration=latest), lines


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Lines of a UTF-8 text file without their ends; LabelError names file and line where it is not UTF-8."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise LabelError(f"{os.fspath(path)} cannot be read: {error.strerror or error}; check the path.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before, after = error.object[: error.start], error.object[error.start :]
        lines = before.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        content = lines[-1] + re.split(rb"[\r\n]", after, maxsplit=1)[0]
        raise LabelError(
            f"{os.fspath(path)}, line {len(lines)}: bytes that are not UTF-8 in {content[:60]!r}; "
            "save the file as UTF-8 text."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def fields(line: str) -> tuple[float, float, str]:
    """Start and end in seconds, and the label of a line; LabelError says what is wrong with it."""
    parts = [f.strip() for f in line.strip().split("\t")] if "\t" in line.strip() else line.split()
    if len(parts) < 3:  # a tab between the times only, blanks elsewhere
        parts = line.split()
    if len(parts) < 3 or not parts[2]:
        raise LabelError(f"{quote(line)} has fewer than three fields; write start, end and label.")
    return checked(parts[0], parts[1], parts[2], line)


def checked(start: str, end: str, label: str, line: str) -> tuple[float, float, str]:
    """Three fields as seconds, seconds and label; LabelError quotes ``line``."""
    begin, stop = _seconds(start, "start", line), _seconds(end, "end", line)
    if stop < begin:
        raise LabelError(f"the segment {quote(line)} ends before it starts; correct its times.")
    if not label.isprintable():
        raise LabelError(f"the label in {quote(line)} has control characters; remove them.")
    return begin, stop, label


def _seconds(text: str, name: str, line: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise LabelError(f"the {name} {quote(text)} in {quote(line)} is not a finite number; write seconds.")
    if value < 0:
        raise LabelError(f"the {name} {quote(text)} in {quote(line)} is negative; times run from 0 s.")
    return value


def _check_strictly(start: float, end: float, label: str, latest: float) -> None:
    if end == start:
        raise LabelError(f"the segment {quote(label)} at {start} s has no length; remove it.")
    if start < latest - TOLERANCE:
        raise LabelError(
            f"the segment {quote(label)} starts at {start} s, before an earlier one ends at {latest} s; "
            "remove the overlap."
        )
    parse(label)
