"""Reading every byte of a store again and comparing it with what was written."""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import StoreError
from . import index
from .identity import Array, StoreIdentity
from .layout import Layout, scan
from .reader import check_shapes
from .record import Row
from .tensors import Mapped


@dataclass(frozen=True)
class Damage:
    """Something in a store that is not as it was written: the file, the song and the array where they are known."""

    file: str
    problem: str
    song: str = ""
    array: str = ""

    def __str__(self) -> str:
        where = ", ".join(filter(None, [self.file, self.song and f"song {self.song}", self.array]))
        return f"{where}: {self.problem}"


def verify(path: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None) -> list[Damage]:
    """Everything that is damaged in the store at ``path``; an empty list when all is well.

    Recomputes the CRC-32 of every array of every song, superseded ones too, and checks sizes, that features are
    finite, and that classes exist. Files without an index, as a killed writer leaves them, are no damage.
    progress(done, all) counts songs. StoreError when ``store.json`` is missing or damaged: nothing can be said then.
    """
    layout = Layout(Path(path))
    identity = layout.read_identity()
    found: list[Damage] = []

    def report(file: Path, problem: str, song: str = "", array: str = "") -> None:
        found.append(Damage(file.relative_to(layout.root).as_posix(), problem, song, array))

    files: dict[Path, list[Row]] = defaultdict(list)
    for row in scan(layout, identity, lambda file, message: report(file, _reason(message, file))):
        files[layout.file(row)].append(row)
    total, done = sum(map(len, files.values())), 0
    for file, rows in sorted(files.items()):
        try:
            mapped = Mapped(file)
            check_shapes(mapped, identity, None if rows[0].shard else rows[0].frames)
            _check_size(layout, identity, mapped, rows[0].shard)
        except FileNotFoundError:
            if rows[0].shard or _part_missing(layout, identity, rows[0]):
                report(file, "is missing", "" if rows[0].shard else rows[0].id)
        except StoreError as error:
            report(file, _reason(str(error), file), "" if rows[0].shard else rows[0].id)
        else:
            for row in rows:
                for array, problem in _check_song(row, identity, mapped.arrays):
                    report(file, problem, row.id, array)
        done += len(rows)
        if progress is not None:
            progress(done, total)
    return found


def _check_size(layout: Layout, identity: StoreIdentity, mapped: Mapped, shard: str) -> None:
    if shard and index.read(layout.index(shard), identity)[1] != mapped.size:
        raise StoreError(f"{mapped.path} is damaged (it has {mapped.size} bytes, its index says otherwise)")


def _part_missing(layout: Layout, identity: StoreIdentity, part: Row) -> bool:
    """Whether a part is gone for good; one that a writer has sealed meanwhile stands in an index."""
    rows = scan(layout, identity, lambda file, message: None)
    return not any((row.writer, row.id, row.generation) == (part.writer, part.id, part.generation) for row in rows)


def _check_song(row: Row, identity: StoreIdentity, arrays: dict[str, Array]) -> list[tuple[str, str]]:
    """(array, what is wrong with it) for one song."""
    problems = []
    if row.frames and (missing := set(identity.arrays()) - {"agreement"} - set(row.crc)):
        problems.append((min(missing), "has no checksum"))
    for name, crc in row.crc.items():
        if name not in arrays or len(arrays[name]) < row.offset + row.frames:
            problems.append((name, "is missing or cut"))
            continue
        values = arrays[name][row.offset : row.offset + row.frames]
        if zlib.crc32(values.tobytes()) != crc:
            problems.append((name, "is not what was written (CRC-32)"))
        elif values.dtype.kind == "f" and not np.isfinite(values).all():
            problems.append((name, "has values that are not finite"))
        elif name in ("target", "top_class") and not ((values >= 0) & (values < identity.classes)).all():
            problems.append((name, "has classes that do not exist"))
    return problems


def _reason(message: str, file: Path) -> str:
    """The sentence of a StoreError without the path at its beginning and the advice at its end."""
    return message.removeprefix(f"{file} ").partition(";")[0]
