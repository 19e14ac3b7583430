"""Where everything of a store lies, and finding all of it while writers are at work."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreError, UsageError
from . import index
from .identity import StoreIdentity
from .record import Row
from .tensors import Mapped

IDENTITY = "store.json"
PARTS, SHARDS, INDEX, LOCKS = "parts", "shards", "index", "locks"
ROW = "row"
"""Key of a part's row among its metadata."""

_WRITER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
Problem = Callable[[Path, str], None]


def check_writer(name: str) -> str:
    """The name of a writer; UsageError when it could not be part of a file name."""
    if not _WRITER.fullmatch(name):
        raise UsageError(f"writer {name!r} of a store; give up to 64 letters, digits, dots, dashes or underscores")
    return name


def shard_name(writer: str, number: int) -> str:
    return f"{writer}-{number:05d}"


def shard_number(name: str, writer: str) -> int | None:
    """The number in the name of one of this writer's shards, else None."""
    before, _, digits = name.rpartition("-")
    return int(digits) if before == writer and digits.isascii() and digits.isdigit() else None


def writers(path: str | os.PathLike[str]) -> list[str]:
    """The writers with songs that are not sealed yet, sorted; StoreError when ``path`` is no store."""
    layout = Layout(Path(path))
    layout.read_identity()
    folders = listed(layout.root / PARTS)
    return [folder.name for folder in folders if any(listed(inner, ".safetensors") for inner in listed(folder))]


@dataclass(frozen=True)
class Layout:
    """The paths of one store."""

    root: Path

    @property
    def identity(self) -> Path:
        return self.root / IDENTITY

    def parts(self, writer: str) -> Path:
        return self.root / PARTS / writer

    def part(self, writer: str, song: str) -> Path:
        digest = hashlib.sha256(song.encode("utf-8", "surrogateescape")).hexdigest()
        return self.parts(writer) / digest[:2] / f"{digest}.safetensors"

    def shard(self, name: str) -> Path:
        return self.root / SHARDS / f"{name}.safetensors"

    def index(self, name: str) -> Path:
        return self.root / INDEX / f"{name}.parquet"

    def lock(self, writer: str) -> Path:
        return self.root / LOCKS / f"{writer}.lock"

    def file(self, row: Row) -> Path:
        """The file that holds a song's arrays."""
        return self.shard(row.shard) if row.shard else self.part(row.writer, row.id)

    def read_identity(self) -> StoreIdentity:
        """StoreError when the folder is no store, or is damaged."""
        try:
            data = self.identity.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{self.root} is not a store (no {IDENTITY}); name a folder given to --store") from None
        except OSError as error:
            raise StoreError(f"{self.identity} cannot be read ({error.strerror}); check its permissions") from error
        return StoreIdentity.from_json(data, str(self.identity))


def listed(folder: Path, suffix: str = "") -> list[Path]:
    """What lies in a folder, sorted; nothing where the folder has gone, as a part's does when it is sealed."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names) if name.endswith(suffix) and not name.startswith(".")]


def read_part(path: Path) -> Row:
    """The row inside a part; StoreError when the file is damaged, FileNotFoundError when it is gone."""
    mapped = Mapped(path)
    try:
        row = Row.from_json(mapped.metadata[ROW])
    except (ValueError, KeyError, TypeError) as error:
        said = " ".join(str(error).split())[:120]
        raise StoreError(f"{path} is damaged ({said}); run chordfast store verify") from error
    return row


def scan(layout: Layout, identity: StoreIdentity, problem: Problem | None = None) -> list[Row]:
    """Every row of a store, superseded ones too, in no order.

    Damage goes to ``problem``, or is raised as StoreError where there is none.
    """
    # Parts before indexes: a song that is sealed meanwhile is found in both, never in neither.
    parts = []
    writers = listed(layout.root / PARTS)
    for path in (path for writer in writers for folder in listed(writer) for path in listed(folder, ".safetensors")):
        try:
            row = read_part(path)
            if path != layout.part(row.writer, row.id) or row.shard:
                raise StoreError(f"{path} is damaged (it belongs to another song); run chordfast store verify")
        except FileNotFoundError:
            continue
        except StoreError as error:
            _tell(problem, path, error)
            continue
        parts.append(row)
    rows: list[Row] = []
    for path in listed(layout.root / INDEX, ".parquet"):
        try:
            rows += index.read(path, identity)[0]
        except StoreError as error:
            _tell(problem, path, error)
    sealed = {(row.writer, row.id, row.generation) for row in rows}
    return rows + [row for row in parts if (row.writer, row.id, row.generation) not in sealed]


def _tell(problem: Problem | None, path: Path, error: StoreError) -> None:
    if problem is None:
        raise error
    problem(path, str(error))


def newest(rows: Iterable[Row]) -> dict[str, Row]:
    """Song -> its row of the highest generation (of equal ones the last writer's by name), sorted by song."""
    found: dict[str, Row] = {}
    for row in rows:
        other = found.get(row.id)
        if other is None or (row.generation, row.writer) > (other.generation, other.writer):
            found[row.id] = row
    return dict(sorted(found.items()))
