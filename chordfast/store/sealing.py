"""Shards out of parts: greedily, in the order of the songs' names, so that the bytes depend on the songs alone."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import StoreError
from . import index, tensors
from .identity import Array, StoreIdentity
from .layout import Layout, shard_name, shard_number
from .record import NO_AGREEMENT, Row, frame_bytes
from .tensors import Mapped

_SONGS = 1 << 14  # in a shard; each is mapped while the shard is written, and a process may map 65530 files


def seal(
    layout: Layout, identity: StoreIdentity, writer: str, parts: Mapping[str, Row], shard_bytes: int
) -> dict[str, list[Row]]:
    """Write the parts into new shards, then their indexes, then delete the parts; shard's name -> its rows.

    Killed anywhere in between: a shard without an index does not count and is written again, parts that are in an
    index are deleted when the writer is opened next.
    """
    index.require_pyarrow()
    numbers = [shard_number(path.stem, writer) for path in layout.index("any").parent.glob("*.parquet")]
    number = max((n for n in numbers if n is not None), default=-1) + 1
    sealed = {}
    for rows in groups([parts[song] for song in sorted(parts)], identity, shard_bytes):
        name = shard_name(writer, number)
        sealed[name] = _write(layout, identity, name, rows)
        for row in rows:
            path = layout.part(writer, row.id)
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # other songs lie there
                path.parent.rmdir()
        number += 1
    with contextlib.suppress(OSError):
        layout.parts(writer).rmdir()
    return sealed


def groups(rows: list[Row], identity: StoreIdentity, shard_bytes: int) -> Iterator[list[Row]]:
    """Runs of rows whose arrays together do not exceed ``shard_bytes``, or single ones that do."""
    group: list[Row] = []
    size = 0
    for row in rows:
        more = row.frames * frame_bytes(row, identity)
        if group and (size + more > shard_bytes or len(group) == _SONGS):
            yield group
            group, size = [], 0
        group.append(row)
        size += more
    if group:
        yield group


def _write(layout: Layout, identity: StoreIdentity, name: str, rows: list[Row]) -> list[Row]:
    offsets = np.cumsum([0, *(row.frames for row in rows)])
    placed = [replace(row, shard=name, offset=int(at)) for row, at in zip(rows, offsets, strict=False)]
    arrays = {
        array: (dtype, (int(offsets[-1]), *shape))
        for array, (dtype, shape) in identity.arrays().items()
        if array != "agreement" or any("agreement" in row.crc for row in rows)
    }
    head = tensors.header(arrays, {"identity": identity.hash, "shard": name})
    shard = layout.shard(name)
    songs = {row.id: _checked(layout.part(row.writer, row.id), row) for row in rows if row.crc}
    with _replacing(shard) as out:
        out.write(head)
        for array in arrays:
            for row in rows:
                out.write(songs[row.id][array] if array in row.crc else bytes([NO_AGREEMENT]) * row.frames)
    with _replacing(layout.index(name)) as out:
        out.write(index.encode(placed, identity, name, shard.stat().st_size))
    return placed


def _checked(part: Path, row: Row) -> dict[str, Array]:
    """The arrays of a part, whose checksums are right."""
    arrays = Mapped(part).arrays
    for name, crc in row.crc.items():
        if name not in arrays or len(arrays[name]) != row.frames or zlib.crc32(arrays[name].data) != crc:
            raise StoreError(f"{part} is damaged ({name} of song {row.id}); delete it and label this song again")
    return arrays


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """A sibling temporary file that becomes ``target``, whole and on the disk, when all went well."""
    temporary = target.parent / f".{target.stem}.tmp"
    try:
        with open(temporary, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk, so that a rename survives a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
