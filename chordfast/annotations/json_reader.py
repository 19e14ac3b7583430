"""Reading the JSON that ``write(…, format="json")`` wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LabelError
from .annotation import Annotation
from .formats import JSON_FORMAT, JSON_VERSION


def read_json(path: str | os.PathLike[str]) -> Annotation:
    """The annotation of a JSON file chordfast wrote; times and confidences to six decimals.

    Raises LabelError when the file cannot be read or is not such a file.
    """
    name = os.fspath(path)
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise LabelError(f"{name} cannot be read: {error.strerror or error}; check the path.") from error
    except (ValueError, RecursionError) as error:
        raise LabelError(f"{name} is not JSON ({error}); write it again.") from None
    if not isinstance(content, dict) or content.get("format") != JSON_FORMAT:
        raise LabelError(f"{name} is not a chordfast annotation; its format must be {JSON_FORMAT!r}.")
    if content.get("version") != JSON_VERSION:
        raise LabelError(
            f"{name} is of version {content.get('version')!r}, this chordfast reads {JSON_VERSION}; update chordfast."
        )
    try:
        return _annotation(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabelError(f"{name} is a damaged chordfast annotation ({error}); write it again.") from error


def _annotation(content: dict[str, Any]) -> Annotation:
    rows = content["segments"]
    names = rows[0].keys() if rows else ()

    def numbers(name: str) -> Any:
        return [np.nan if row[name] is None else float(row[name]) for row in rows] if name in names else None

    def texts(name: str) -> list[str]:
        values = [row[name] or "" for row in rows]
        if not all(isinstance(value, str) for value in values):
            raise TypeError(f"{name} must be text")
        return values

    return Annotation(
        starts=np.array([float(row["start"]) for row in rows]),
        ends=np.array([float(row["end"]) for row in rows]),
        labels=texts("label"),
        confidence=numbers("confidence"),
        alternatives=texts("alternative") if "alternative" in names else None,
        alternative_confidence=numbers("alternative_confidence"),
        duration=float(content["duration"]),
        meta=dict(content["meta"]),
    )
