"""``index/<writer>-<number>.parquet``: a row for every song of a shard; needs pyarrow (the extra ``store``)."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreError, UsageError
from .identity import StoreIdentity
from .record import Row

_KEY = b"chordfast"


def require_pyarrow() -> Any:
    """The module ``pyarrow``, with ``pyarrow.parquet``; UsageError says how to get it where it is missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(
            "the store's index needs pyarrow, which is not installed; run: pip install 'chordfast[store]'"
        ) from None
    return pyarrow


def encode(rows: Sequence[Row], identity: StoreIdentity, shard: str, size: int) -> bytes:
    """The index of one shard of ``size`` bytes: the same bytes for the same rows."""
    pa = require_pyarrow()
    names = list(identity.arrays())
    columns: dict[str, Any] = {
        "id": pa.array([_shown(row.id) for row in rows], pa.string()),
        # Only for names that are no Unicode text, as old file systems have them.
        "id_bytes": pa.array([_raw(row.id) for row in rows], pa.binary()),
        "source_hash": pa.array([row.source_hash for row in rows], pa.string()),
        "shard": pa.array([shard] * len(rows), pa.string()),
        "offset": pa.array([row.offset for row in rows], pa.int64()),
        "frames": pa.array([row.frames for row in rows], pa.int64()),
        "outcome": pa.array([row.outcome for row in rows], pa.string()),
        "duration": pa.array([row.duration for row in rows], pa.float64()),
        "confidence": pa.array([row.confidence for row in rows], pa.float64()),
        "generation": pa.array([row.generation for row in rows], pa.int32()),
        "writer": pa.array([row.writer for row in rows], pa.string()),
    }
    for name in names:
        columns[f"crc_{name}"] = pa.array([row.crc.get(name) for row in rows], pa.uint32())
    about = json.dumps({"identity": identity.hash, "shard": shard, "size": size}, sort_keys=True)
    table = pa.table(columns).replace_schema_metadata({_KEY: about.encode()})
    out = io.BytesIO()
    pa.parquet.write_table(table, out, compression="zstd", write_page_checksum=True)
    return out.getvalue()


def read(path: Path, identity: StoreIdentity) -> tuple[list[Row], int]:
    """The rows of an index, and the size its shard must have.

    StoreError when the file is damaged, of another identity, or its rows do not follow each other in the shard.
    """
    pa = require_pyarrow()
    try:
        table = pa.parquet.read_table(path, page_checksum_verification=True, partitioning=None, use_threads=False)
        about = json.loads((table.schema.metadata or {})[_KEY])
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        if about["shard"] != path.stem or type(about["size"]) is not int:
            raise ValueError("it belongs to another shard")
        crcs = {name: columns[f"crc_{name}"] for name in identity.arrays()}
        rows = [_row(columns, crcs, i) for i in range(table.num_rows)]
        at = 0
        for row in rows:
            row.check()
            if row.shard != path.stem or row.offset != at:
                raise ValueError(f"song {row.id[:40]} does not lie where it should")
            at += row.frames
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, AttributeError, MemoryError) as error:
        said = " ".join(str(error).split())[:120]
        raise StoreError(f"{path} is damaged ({said}); run chordfast store verify") from error
    if about["identity"] != identity.hash:
        raise StoreError(f"{path} was made for another store; move it, and its shard, out of this one")
    return rows, about["size"]


def _row(columns: dict[str, list[Any]], crcs: dict[str, list[Any]], i: int) -> Row:
    raw = columns["id_bytes"][i]
    return Row(
        id=columns["id"][i] if raw is None else raw.decode("utf-8", "surrogateescape"),
        source_hash=columns["source_hash"][i],
        outcome=columns["outcome"][i],
        duration=columns["duration"][i],
        frames=columns["frames"][i],
        confidence=columns["confidence"][i],
        generation=columns["generation"][i],
        writer=columns["writer"][i],
        crc={name: values[i] for name, values in crcs.items() if values[i] is not None},
        shard=columns["shard"][i],
        offset=columns["offset"][i],
    )


def _shown(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _raw(name: str) -> bytes | None:
    encoded = name.encode("utf-8", "surrogateescape")
    try:
        encoded.decode("utf-8")
    except UnicodeDecodeError:
        return encoded
    return None
