"""``manifest.jsonl``: a JSON row per recording, the last one of a path counts; a crash costs no written row."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import ChordfastError, UsageError

NAME = "manifest.jsonl"
OUTCOMES = ("ok", "truncated", "silent", "too_short", "unreadable", "crashed", "timeout")
FAILED = frozenset({"unreadable", "crashed", "timeout"})


@dataclass
class Row:
    """What became of one recording, and everything that decides whether it must be done again."""

    path: str  # POSIX, below the inputs' common folder
    outcome: str  # one of OUTCOMES
    outputs: dict[str, str] = field(default_factory=dict)  # format -> POSIX path below the output folder
    seconds: float = 0.0  # of audio
    size: int = 0
    mtime_ns: int = 0
    model: str = ""
    model_hash: str = ""
    features_hash: str = ""
    options_hash: str = ""
    confidence: float | None = None  # mean over the duration
    note: str = ""
    decoder: str = ""
    cpu: dict[str, float] = field(default_factory=dict)  # CPU seconds: decode, ingest, cqt, model, write
    chordfast: str = ""  # version that wrote the row

    @property
    def failed(self) -> bool:
        return self.outcome in FAILED


_FIELDS = frozenset(f.name for f in fields(Row))


def _parse(line: bytes) -> Row | None:
    try:
        data: Any = json.loads(line)
        row = Row(**{name: value for name, value in data.items() if name in _FIELDS})
    except (ValueError, TypeError, AttributeError):
        return None
    return row if row.outcome in OUTCOMES and isinstance(row.outputs, dict) else None


def read(path: str | os.PathLike[str]) -> dict[str, Row]:
    """The rows of a manifest by path, the last one of each; lines that are not whole rows are left out.

    A missing file gives no rows. Raises OSError as the file system does.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return {}
    rows = (_parse(line) for line in data.split(b"\n") if line)
    return {row.path: row for row in rows if row is not None}


class Manifest:
    """The manifest of one output folder, held open for appending by one run at a time.

    ``rows`` is what earlier runs left. A torn last line (power cut, ``kill -9``) is cut off when opened, and an
    append that fails (disk full) is taken back, so the file always ends with a whole row. Opening raises
    UsageError when another run holds the folder, ChordfastError when it cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / NAME
        self._file: BinaryIO
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "ab+", buffering=0)  # noqa: SIM115 - held for the whole run
        except OSError as error:
            raise ChordfastError(
                f"cannot write to the output folder {self.path.parent}: {error.strerror}; choose another with -o"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UsageError(
                f"another run is writing to {self.path.parent}; wait until it has finished or choose another folder"
            ) from error
        self._mend()
        self.rows = read(self.path)

    def _mend(self) -> None:
        size = os.fstat(self._file.fileno()).st_size
        if not size:
            return
        self._file.seek(size - 1)
        if self._file.read(1) == b"\n":
            return
        data = self.path.read_bytes()
        os.ftruncate(self._file.fileno(), data.rfind(b"\n") + 1)

    def append(self, row: Row) -> None:
        """Add a row and force it to the disk; OSError when it does not fit, and the file is as before."""
        line = json.dumps(asdict(row), separators=(",", ":")).encode("ascii") + b"\n"
        before = os.fstat(self._file.fileno()).st_size
        try:
            rest = memoryview(line)
            while rest:  # where only a part fitted, the second write says why
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), before)
            raise
        self.rows[row.path] = row

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
