"""Writers of all formats. Every one covers the recording from 0 to its end without a gap."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LabelError, UsageError
from ..files import atomic_write
from ..vocabulary import normalise, parse
from ..vocabulary.harte import quote
from .annotation import TOLERANCE, Annotation
from .midi import midi
from .parquet import parquet
from .svl import svl

FORMATS: dict[str, str] = {"lab": ".lab", "json": ".json", "jams": ".jams", "csv": ".csv", "audacity": ".txt"} | {
    "svl": ".svl"
}
"""Names of the text formats and the suffix their files take."""
BINARY_FORMATS: dict[str, str] = {"midi": ".mid", "parquet": ".parquet"}
"""The formats that only ``write`` and ``encode`` write."""

JSON_FORMAT, JSON_VERSION = "chordfast-annotation", 1


def dumps(annotation: Annotation, format: str = "lab", *, compat: str | None = None, min_duration: float = 0.0) -> str:
    """The annotation as text of one of ``FORMATS``; times in seconds with microsecond resolution.

    lab: ``start<TAB>end<TAB>label``. audacity: the same, as a label track. csv: a header, then also
    confidence, alternative and its confidence. json: duration, meta and segments with all that is
    known; ``read_json`` reads it back. jams: JAMS 0.3 ``chord`` observations with confidence, the
    runner-up labels as a second annotation; lead-sheet labels become Harte. svl: a layer of regions for Sonic
    Visualiser. Unknown confidences are empty or null.

    compat (lab only) writes what published code writes, gaps included: "chordmini" – blanks, 6
    decimals, "C" for C:maj, segments shorter than ``min_duration`` s left out; "btc" – the same with 3
    decimals, none left out.

    Raises LabelError when segments leave a gap, overlap, or run beyond the duration (``fill_gaps`` mends
    that), or when a label cannot stand in a file; UsageError for an unknown format.
    """
    if format in BINARY_FORMATS:
        raise UsageError(f"The format {format!r} is not text; write it to a file.")
    if format not in FORMATS:
        raise UsageError(f"There is no annotation format {format!r}; choose one of {', '.join(FORMATS)}.")
    if compat is not None:
        if format != "lab" or compat not in _COMPAT_DECIMALS:
            raise UsageError(f"There is no variant {compat!r} of format {format!r}; lab has 'chordmini' and 'btc'.")
        return _compat_lab(annotation, _COMPAT_DECIMALS[compat], min_duration if compat == "chordmini" else 0.0)
    if min_duration:
        raise UsageError("Only compat='chordmini' leaves out short segments; merge them when decoding instead.")
    return _WRITERS[format](checked(annotation))


def write(
    annotation: Annotation,
    path: str | os.PathLike[str],
    format: str = "lab",
    *,
    compat: str | None = None,
    min_duration: float = 0.0,
) -> None:
    """Write ``dumps(annotation, format, …)`` to ``path``, whole or not at all.

    Besides the text formats it writes midi (chord tones and a marker a chord) and parquet (needs pyarrow).
    """
    if format in BINARY_FORMATS and compat is None and not min_duration:
        atomic_write(path, encode(annotation, format, Path(path).stem))
    else:
        atomic_write(path, dumps(annotation, format, compat=compat, min_duration=min_duration))


def encode(annotation: Annotation, format: str, song: str = "") -> bytes:
    """The bytes of a file of any format, text or binary; ``song`` is the name in a Parquet table.

    Raises what ``dumps`` raises, and UsageError when parquet is asked for without pyarrow.
    """
    if format in BINARY_FORMATS:
        whole = checked(annotation)
        return midi(whole) if format == "midi" else parquet({song: whole})
    return dumps(annotation, format).encode()


def checked(annotation: Annotation) -> Annotation:
    """The annotation with boundaries on whole microseconds, each segment ending where the next starts.

    Raises LabelError where it cannot be written: gaps, overlaps, segments beyond the end, labels no file can hold.
    """
    for problem, found in (("a gap", annotation.gaps()), ("an overlap", annotation.overlaps())):
        if len(found):
            raise LabelError(
                f"The annotation has {problem} from {found[0, 0]:.6f} to {found[0, 1]:.6f} s and cannot be written; "
                "mend it with fill_gaps()."
            )
    beyond = float(annotation.ends.max(initial=0.0))
    if beyond > annotation.duration + TOLERANCE:
        raise LabelError(
            f"The annotation ends at {beyond:.6f} s, after the recording's {annotation.duration:.6f} s, and cannot be "
            "written; cut it with fill_gaps()."
        )
    for label in (*annotation.labels, *(annotation.alternatives or ())):
        if not label.isprintable() or label != label.strip():
            raise LabelError(f"The label {quote(label)} cannot stand in a file; remove blanks and control characters.")
    if not all(annotation.labels):
        raise LabelError("A segment without a label cannot be written; use N for no chord or X for an unknown one.")
    whole = annotation.fill_gaps()
    bounds = np.round(np.append(whole.starts, whole.duration), 6)
    kept = np.flatnonzero(np.diff(bounds) > 0)
    bounds = np.append(bounds[kept], bounds[-1:])
    return replace(whole.take(kept), starts=bounds[:-1], ends=bounds[1:], duration=float(bounds[-1]))


def _lab(annotation: Annotation) -> str:
    return "".join(f"{start:.6f}\t{end:.6f}\t{label}\n" for start, end, label in annotation)


_COMPAT_DECIMALS = {"chordmini": 6, "btc": 3}


def _compat_lab(annotation: Annotation, decimals: int, min_duration: float) -> str:
    return "".join(
        f"{start:.{decimals}f} {end:.{decimals}f} {label.removesuffix(':maj')}\n"
        for start, end, label in annotation
        if end - start >= min_duration
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)


def _columns(annotation: Annotation) -> dict[str, list[Any]]:
    """Column name → value per segment; columns nothing is known of are absent."""
    columns: dict[str, list[Any]] = {
        "start": [round(t, 6) for t in annotation.starts.tolist()],
        "end": [round(t, 6) for t in annotation.ends.tolist()],
        "label": annotation.labels,
    }
    if annotation.confidence is not None:
        columns["confidence"] = [_number(c) for c in annotation.confidence]
    if annotation.alternatives is not None:
        columns["alternative"] = [label or None for label in annotation.alternatives]
    if annotation.alternative_confidence is not None:
        columns["alternative_confidence"] = [_number(c) for c in annotation.alternative_confidence]
    return columns


def _csv(annotation: Annotation) -> str:
    columns = _columns(annotation)
    names = ("start", "end", "label", "confidence", "alternative", "alternative_confidence")
    blank = [None] * len(annotation)
    for name in ("start", "end"):
        columns[name] = [f"{t:.6f}" for t in columns[name]]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(names)
    table.writerows(zip(*(columns.get(name, blank) for name in names), strict=True))
    return out.getvalue()


def _dump(value: object, **options: Any) -> str:
    def plain(odd: object) -> object:
        if isinstance(odd, np.generic | np.ndarray):
            return odd.tolist()
        if isinstance(odd, os.PathLike):
            return os.fspath(odd)
        raise TypeError

    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=plain, **options)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            "The meta of the annotation cannot be written as JSON; keep it to texts, finite numbers, lists and dicts."
        ) from error


def _json(annotation: Annotation) -> str:
    columns = _columns(annotation)
    rows = [_dump(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    head = _dump(
        {
            "format": JSON_FORMAT,
            "version": JSON_VERSION,
            "duration": annotation.duration,
            "meta": annotation.meta,
        },
        indent=1,
    )
    body = "\n  " + ",\n  ".join(rows) + "\n " if rows else ""
    return head.removesuffix("\n}") + f',\n "segments": [{body}]\n}}\n'


def _harte(label: str) -> str:
    """The label itself when it is Harte syntax, which JAMS asks for, else its Harte spelling."""
    try:
        parse(label)
    except LabelError:
        return normalise(label)
    return label


def _observations(annotation: Annotation, labels: list[str], confidence: Any) -> dict[str, Any]:
    return {
        "namespace": "chord",
        "data": [
            {
                "time": round(start, 6),
                "duration": round(end - start, 6),
                "value": _harte(label),
                "confidence": None if confidence is None else _number(confidence[i]),
            }
            for i, (start, end, label) in enumerate(
                zip(annotation.starts.tolist(), annotation.ends.tolist(), labels, strict=True)
            )
        ],
        "annotation_metadata": {
            "curator": {"name": "", "email": ""},
            "annotator": {},
            "version": "",
            "corpus": "",
            "annotation_tools": "chordfast",
            "annotation_rules": "",
            "validation": "",
            "data_source": "program",
        },
        "sandbox": {},
        "time": 0,
        "duration": annotation.duration,
    }


def _jams(annotation: Annotation) -> str:
    annotations = [_observations(annotation, annotation.labels, annotation.confidence)]
    if annotation.alternatives is not None:
        runner_up = _observations(
            annotation, [label or "X" for label in annotation.alternatives], annotation.alternative_confidence
        )
        runner_up["sandbox"] = {"role": "alternative", "of": 0}
        annotations.append(runner_up)
    title = annotation.meta.get("title", "")
    return (
        _dump(
            {
                "annotations": annotations,
                "file_metadata": {
                    "title": title if isinstance(title, str) else "",
                    "artist": "",
                    "release": "",
                    "duration": annotation.duration,
                    "identifiers": {},
                    "jams_version": "0.3.5",
                },
                "sandbox": {"chordfast": annotation.meta},
            },
            indent=1,
        )
        + "\n"
    )


_WRITERS: dict[str, Callable[[Annotation], str]] = {
    "lab": _lab,
    "json": _json,
    "jams": _jams,
    "csv": _csv,
    "audacity": _lab,
    "svl": svl,
}
