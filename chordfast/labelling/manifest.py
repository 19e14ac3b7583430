"""The books: a JSON row per recording in ``manifest.jsonl``, or in a file a shard; a crash costs no written row.

The newest row of a path counts, whichever file it stands in.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import ChordfastError, UsageError

NAME = "manifest.jsonl"
OUTCOMES = ("ok", "truncated", "silent", "too_short", "unreadable", "crashed", "timeout")
FAILED = frozenset({"unreadable", "crashed", "timeout"})


@dataclass(slots=True)
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
    source_hash: str = ""  # SHA-256 of the recording's bytes
    store: str = ""  # hash of the identity of the store that holds the song too
    device: str = ""  # of the model
    semitones: int = 0  # by which the recording was shifted for the store
    when: int = 0  # ns since 1970, set by Manifest.append; the newest row of a path counts

    @property
    def failed(self) -> bool:
        return self.outcome in FAILED


_COLUMNS = tuple(f.name for f in fields(Row))
_FIELDS = frozenset(_COLUMNS)
# The same in most rows: kept once.
_SHARED = ("outcome", "model", "model_hash", "features_hash", "options_hash", "decoder", "chordfast", "store", "device")
_NAMES = re.compile(r"manifest(?:\.(\d+-of-\d+))?\.jsonl")
_LOCK_PATIENCE = 2.0  # seconds; a look at the lock (`held`) takes it, and so does a process a killed run was starting


def file_name(shard: str = "") -> str:
    """``manifest.jsonl``, or ``manifest.3-of-8.jsonl`` for the shard "3-of-8"."""
    return f"manifest.{shard}.jsonl" if shard else NAME


def files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Every manifest of an output folder by its shard ("" for the one without); none where there is no folder."""
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {found[1] or "": Path(folder, name) for name in names if (found := _NAMES.fullmatch(name))}


def _parse(line: bytes) -> Row | None:
    try:
        data: Any = json.loads(line)
        for name in _SHARED:
            if name in data:
                data[name] = sys.intern(data[name])
        row = Row(**{name: value for name, value in data.items() if name in _FIELDS})
    except (ValueError, TypeError, AttributeError):
        return None
    typed = isinstance(row.path, str) and isinstance(row.outputs, dict) and isinstance(row.when, int)
    return row if typed and row.outcome in OUTCOMES else None


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


def read_all(folder: str | os.PathLike[str]) -> dict[str, Row]:
    """The newest row of every path over all manifests of an output folder."""
    newest: dict[str, Row] = {}
    for path in files(folder).values():
        for key, row in read(path).items():
            if key not in newest or row.when >= newest[key].when:
                newest[key] = row
    return newest


def held(path: str | os.PathLike[str]) -> bool | None:
    """Whether a run is writing to this manifest now; None where the file system has no locks."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return False


class Manifest:
    """One manifest of an output folder (that of ``shard``), held open for appending by one run at a time.

    ``rows`` is what earlier runs and all shards had left when it was opened. A torn last line (power cut,
    ``kill -9``) is cut off then, and an append that fails (disk full) is taken back, so the file always ends with a
    whole row. Opening raises UsageError when another run holds this shard, or the folder in another division;
    ChordfastError when it cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], shard: str = "") -> None:
        self.path = Path(folder) / file_name(shard)
        self._file: BinaryIO
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "ab+", buffering=0)  # noqa: SIM115 - held for the whole run
        except OSError as error:
            raise ChordfastError(
                f"cannot write to the output folder {self.path.parent}: {error.strerror}; choose another with -o"
            ) from error
        try:
            self._lock(shard)
        except ChordfastError:
            self._file.close()
            raise
        self._mend()
        self.rows = read_all(folder)
        self._when = {key: row.when for key, row in self.rows.items()}

    def _lock(self, shard: str) -> None:
        who, until = f"another run of shard {shard}" if shard else "another run", time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    warnings.warn(
                        f"the file system of {self.path.parent} has no locks ({error.strerror}); "
                        "see to it that no shard runs twice at a time",
                        stacklevel=4,
                    )
                    return
                if time.monotonic() > until:
                    raise UsageError(
                        f"{who} is writing to {self.path.parent}; wait until it has finished or choose another folder"
                    ) from error
                time.sleep(0.02)
        # Shards of one division cannot meet in a recording; a run that divides otherwise could.
        for other, path in files(self.path.parent).items():
            if _division(other) != _division(shard) and held(path):
                raise UsageError(
                    f"a run of {f'shard {other}' if other else 'the whole folder'} is writing to {self.path.parent}; "
                    "wait until it has finished before the recordings are divided in another way"
                )

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
        """Add a row, as `extend`."""
        self.extend([row])

    def extend(self, rows: Sequence[Row]) -> None:
        """Add rows, stamped with the time, and force them to the disk together; OSError when they do not fit, and the
        file is as before.
        """
        lines = []
        for row in rows:
            row.when = max(time.time_ns(), self._when.get(row.path, -1) + 1)  # newer, also where clocks differ
            values = {name: getattr(row, name) for name in _COLUMNS}
            lines.append(json.dumps(values, separators=(",", ":")).encode("ascii") + b"\n")
        before = os.fstat(self._file.fileno()).st_size
        try:
            rest = memoryview(b"".join(lines))
            while rest:  # where only a part fitted, the second write says why
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), before)
            raise
        self._when.update((row.path, row.when) for row in rows)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _division(shard: str) -> str:
    return shard.partition("-of-")[2]
