"""Annotations as Parquet tables; needs pyarrow (the extra ``parquet``)."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import LabelError, UsageError
from .annotation import Annotation

_KEY = b"chordfast"


def require_pyarrow() -> Any:
    """pyarrow, or a UsageError that says how to get it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(
            "Parquet needs pyarrow, which is not installed; run: pip install 'chordfast[parquet]'."
        ) from None
    return pyarrow


def parquet(songs: Mapping[str, Annotation]) -> bytes:
    """Annotations by song name as one table.

    Columns song, start, end (float64 seconds), label, and confidence, alternative and alternative_confidence (null
    where unknown). Durations and meta stand in the metadata of the schema. Raises UsageError without pyarrow.
    """
    pa = require_pyarrow()

    def numbers(values: Any, count: int) -> Any:
        values = np.full(count, np.nan, dtype=np.float32) if values is None else values
        return pa.array(values, pa.float32(), from_pandas=True)

    parts = [
        pa.table(
            {
                "song": pa.array([name] * len(a), pa.string()),
                "start": pa.array(a.starts),
                "end": pa.array(a.ends),
                "label": pa.array(a.labels, pa.string()),
                "confidence": numbers(a.confidence, len(a)),
                "alternative": pa.array([t or None for t in a.alternatives or [""] * len(a)], pa.string()),
                "alternative_confidence": numbers(a.alternative_confidence, len(a)),
            }
        )
        for name, a in songs.items()
    ]
    head = {name: {"duration": a.duration, "meta": a.meta} for name, a in songs.items()}
    table = pa.concat_tables(parts).replace_schema_metadata({_KEY: json.dumps(head, default=str).encode()})
    out = io.BytesIO()
    pa.parquet.write_table(table, out, compression="zstd")
    return out.getvalue()


def read_parquet(path: str | os.PathLike[str]) -> dict[str, Annotation]:
    """Song name → annotation of a table with the columns start, end and label ("" where there is no song column)."""
    pa = require_pyarrow()
    try:
        table = pa.parquet.read_table(os.fspath(path))
    except (OSError, pa.ArrowException) as error:
        raise LabelError(
            f"{os.fspath(path)} cannot be read as Parquet: {' '.join(str(error).split())[:200]}."
        ) from error
    missing = {"start", "end", "label"} - set(table.column_names)
    if missing:
        raise LabelError(f"{os.fspath(path)} has no column {min(missing)}; chords need start, end and label.")
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    heads = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
    songs = columns.get("song") or [""] * table.num_rows
    rows: dict[str, list[int]] = {name: [] for name in heads}
    for i, song in enumerate(songs):
        rows.setdefault(song or "", []).append(i)

    def picked(name: str, at: list[int]) -> list[Any] | None:
        values = [columns[name][i] for i in at] if name in columns else []
        return None if all(value is None for value in values) else values

    def floats(name: str, at: list[int]) -> Any:
        values = picked(name, at)
        return None if values is None else np.array(values, dtype=np.float32)

    found = {}
    for song, at in rows.items():
        alternatives = picked("alternative", at)
        found[song] = Annotation(
            np.array([columns["start"][i] for i in at], dtype=np.float64),
            np.array([columns["end"][i] for i in at], dtype=np.float64),
            [str(columns["label"][i]) for i in at],
            confidence=floats("confidence", at),
            alternatives=None if alternatives is None else [text or "" for text in alternatives],
            alternative_confidence=floats("alternative_confidence", at),
            duration=heads.get(song, {}).get("duration", float("nan")),
            meta=heads.get(song, {}).get("meta", {}),
        )
    return found
