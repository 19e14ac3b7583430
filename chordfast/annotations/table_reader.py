"""Reading CSV files: ours, and plain ones of start, end, label."""

from __future__ import annotations

import csv
import math
import os
from typing import Any

import numpy as np

from ..errors import LabelError
from .annotation import Annotation
from .lab import checked, read_lines

COLUMNS = ("start", "end", "label", "confidence", "alternative", "alternative_confidence")


def read_csv(path: str | os.PathLike[str]) -> Annotation:
    """A CSV file with a header that names start, end and label (and what else chordfast writes), or without one."""
    return read_csv_lines(path)[0]


def read_csv_lines(path: str | os.PathLike[str]) -> tuple[Annotation, list[int]]:
    """``read_csv``, and the line every segment stands on; LabelError names file and line."""
    lines = read_lines(path)
    table = csv.reader(lines)
    names: list[str] | None = None
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    try:
        for fields in table:
            if not any(field.strip() for field in fields):
                continue
            if names is None:
                header = [field.strip().lower() for field in fields]
                names = header if {"start", "end", "label"} <= set(header) else list(COLUMNS)
                if names is header:
                    continue
            rows.append(_row(dict(zip(names, (f.strip() for f in fields), strict=False)), lines[table.line_num - 1]))
            numbers.append(table.line_num)
    except (LabelError, csv.Error) as error:
        raise LabelError(f"{os.fspath(path)}, line {table.line_num}: {error}") from None
    annotation = Annotation(
        np.array([row["start"] for row in rows]),
        np.array([row["end"] for row in rows]),
        [row["label"] for row in rows],
        confidence=_numbers(rows, "confidence"),
        alternatives=[row["alternative"] for row in rows] if any(row["alternative"] for row in rows) else None,
        alternative_confidence=_numbers(rows, "alternative_confidence"),
    )
    return annotation, numbers


def _row(fields: dict[str, str], line: str) -> dict[str, Any]:
    start, end, label = (fields.get(name, "") for name in COLUMNS[:3])
    if not (start and end and label):
        raise LabelError(f"{line[:60]!r} has fewer than three fields; write start, end and label.")
    times = dict(zip(COLUMNS[:3], checked(start, end, label, line), strict=True))
    return {
        **times,
        "alternative": fields.get("alternative", ""),
        **{name: _number(fields.get(name, ""), line) for name in ("confidence", "alternative_confidence")},
    }


def _number(text: str, line: str) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        raise LabelError(f"the confidence in {line[:60]!r} is not a number; correct it.") from None


def _numbers(rows: list[dict[str, Any]], name: str) -> Any:
    values = np.array([row[name] for row in rows], dtype=np.float32)
    return None if np.isnan(values).all() else values
