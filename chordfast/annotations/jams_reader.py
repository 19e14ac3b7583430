"""Reading the chords of JAMS files (Humphrey et al., ISMIR 2014)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LabelError
from .annotation import Annotation

NAMESPACES = ("chord", "chord_harte")


def read_jams(path: str | os.PathLike[str]) -> Annotation:
    """The first chord annotation of a JAMS file, with its confidences where there are any.

    A second annotation that chordfast marked as the runner-up labels becomes ``alternatives``. Observations may be a
    list (JAMS 0.3) or a table of columns (0.2). Raises LabelError when the file cannot be read, is not JSON, or has no
    chord annotation.
    """
    name = os.fspath(path)
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise LabelError(f"{name} cannot be read: {error.strerror or error}; check the path.") from error
    except (ValueError, RecursionError) as error:
        raise LabelError(f"{name} is not JSON ({error}); write it again.") from None
    try:
        return _annotation(content, name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, LabelError):
            raise
        raise LabelError(f"{name} is a damaged JAMS file ({type(error).__name__}: {error}); write it again.") from error


def _annotation(content: Any, name: str) -> Annotation:
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise LabelError(f"{name} is not a JAMS file: it has no list of annotations.")
    chords = [a for a in content["annotations"] if a.get("namespace") in NAMESPACES]
    main = [a for a in chords if (a.get("sandbox") or {}).get("role") != "alternative"]
    if not main:
        raise LabelError(f"{name} has no annotation of the namespace chord; name a file that has.")
    rows = _rows(main[0]["data"])
    starts = np.array([float(row["time"]) for row in rows])
    ends = starts + np.array([float(row["duration"]) for row in rows])
    # Observations hold durations: a sum may miss the next start by the last bit.
    near = np.abs(ends[:-1] - starts[1:]) < 1e-9
    ends[:-1][near] = starts[1:][near]
    labels = [_text(row["value"]) for row in rows]
    alternatives = [a for a in chords if (a.get("sandbox") or {}).get("role") == "alternative"]
    runner_up = _rows(alternatives[0]["data"]) if alternatives else []
    known = len(runner_up) == len(rows) > 0
    duration = (content.get("file_metadata") or {}).get("duration")
    latest = float(ends.max(initial=0.0))
    sandbox = (content.get("sandbox") or {}).get("chordfast")
    return Annotation(
        starts,
        ends,
        labels,
        confidence=_confidence(rows),
        alternatives=[_text(row["value"]) for row in runner_up] if known else None,
        alternative_confidence=_confidence(runner_up) if known else None,
        duration=latest if duration is None else max(float(duration), latest),
        meta=dict(sandbox) if isinstance(sandbox, dict) else {},
    )


def _rows(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, dict):
        return [dict(zip(data, values, strict=True)) for values in zip(*data.values(), strict=True)]
    return list(data)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a chord must be text")
    return value


def _confidence(rows: list[dict[str, Any]]) -> Any:
    values = [row.get("confidence") for row in rows]
    if all(value is None for value in values):
        return None
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float32)
