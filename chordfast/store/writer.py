"""Writing a store: a file a song at once, write-once shards at the end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Any

from ..errors import StoreError, UsageError
from ..files import atomic_write
from ..trace import stage
from . import tensors
from .identity import StoreIdentity
from .layout import INDEX, LOCKS, PARTS, ROW, SHARDS, Layout, check_writer, newest, scan
from .record import Row, SongRecord, checksums, reduce
from .sealing import seal, sync_folder

SHARD_BYTES = 512 << 20
_LOCK_PATIENCE = 2.0  # seconds; a process that a killed writer was just starting keeps the lock until it has started


class StoreWriter:
    """One of the writers of a store; several may write at once, in other processes or on other machines.

    path: the store's folder, made where it is missing. identity: as the store's, or of the new store; None: that of
    the store there is. writer: a name of its own for each (an array task's number): only this writer seals and
    deletes what it wrote. shard_bytes: size a shard should not exceed.

    StoreError when the folder is a store of another identity, or damaged; UsageError when a writer of this name is
    at work, or the name is not fit for a file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        identity: StoreIdentity | None,
        writer: str = "0",
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        if shard_bytes < 1:
            raise UsageError(f"store: shard_bytes is {shard_bytes}; give a positive number")
        self.layout = Layout(Path(path))
        self.writer = check_writer(writer)
        self.shard_bytes = shard_bytes
        try:
            self._open(identity)
        except OSError as error:
            raise StoreError(f"cannot write to the store {path} ({error.strerror}); choose another folder") from error

    def _open(self, identity: StoreIdentity | None) -> None:
        if identity is None:
            identity = self.layout.read_identity()
        for name in (PARTS, SHARDS, INDEX, LOCKS):
            (self.layout.root / name).mkdir(parents=True, exist_ok=True)
        sync_folder(self.layout.root)
        self._lock = open(self.layout.lock(self.writer), "ab")  # noqa: SIM115 - held as long as the writer
        until = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < until:
                    time.sleep(0.02)
                    continue
                self._lock.close()
                raise UsageError(
                    f"another writer {self.writer!r} is at work in {self.layout.root}; wait for it, or give another "
                    "name"
                ) from None
        try:
            self.identity = _agree(self.layout, identity, self.writer)
            self._recover()
        except BaseException:
            self._lock.close()
            raise

    def _recover(self) -> None:
        """Read what is there; remove what a killed run of this writer left behind."""
        mine = self.layout.parts(self.writer)
        for leftover in (*mine.glob("*/.chordfast-*.tmp"), *self.layout.root.glob(f"*/.{self.writer}-[0-9]*.tmp")):
            leftover.unlink(missing_ok=True)
        rows = scan(self.layout, self.identity)
        self._parts = {row.id: row for row in rows if row.writer == self.writer and not row.shard}
        # What another writer has not sealed yet counts like a shard: it is not ours to replace.
        self._others = newest(row for row in rows if row.shard or row.writer != self.writer)
        kept = {self.layout.part(self.writer, song) for song in self._parts}
        for path in mine.glob("*/*.safetensors"):  # sealed, but not yet deleted when it was killed
            if path not in kept:
                path.unlink()
        for folder in mine.glob("*"):
            with contextlib.suppress(OSError):  # songs lie there
                folder.rmdir()

    @property
    def rows(self) -> list[Row]:
        """The newest row of every song, as far as this writer knows: others' as they were when it was opened."""
        return list(newest([*self._others.values(), *self._parts.values()]).values())

    def row(self, song: str) -> Row | None:
        """The newest row of a song, None when it is not in the store."""
        return self._parts.get(song) or self._others.get(song)

    def add(self, record: SongRecord) -> Row:
        """Store a song; it survives any end of the process once this has returned.

        A song that is there already is superseded, unless nothing about it differs: then nothing is written. Several
        threads may add different songs at once, so that their waits for the disk overlap. StoreError when the record
        does not fit the store (then nothing is written), or the disk is full.
        """
        with stage("store"):
            arrays = reduce(record, self.identity)
            before = self._others.get(record.id)
            row = Row(
                id=record.id,
                source_hash=record.source_hash,
                outcome=record.outcome,
                duration=float(record.duration),
                frames=len(arrays["features"]) if arrays else 0,
                confidence=_mean(arrays.get("confidence")),
                generation=0 if before is None else before.generation + 1,
                writer=self.writer,
                crc=checksums(arrays),
            )
            present = self.row(record.id)
            if present is not None and present.same_content(row):
                return present
            path = self.layout.part(self.writer, record.id)
            try:
                if not path.parent.is_dir():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    sync_folder(path.parent.parent)
                atomic_write(path, tensors.encode(arrays, {ROW: row.to_json(), "identity": self.identity.hash}))
                sync_folder(path.parent)
            except OSError as error:
                raise StoreError(
                    f"song {record.id} cannot be written to {self.layout.root} ({error.strerror}); make room there"
                ) from error
            self._parts[record.id] = row
            return row

    def seal(self) -> list[str]:
        """Move this writer's songs into shards; gives the names of the new ones.

        To be called when all songs are there: the shards are then the same bytes in whatever order the songs came,
        and however often this was killed and called again. UsageError without pyarrow; nothing is lost by it.
        """
        with stage("seal"):
            try:
                sealed = seal(self.layout, self.identity, self.writer, self._parts, self.shard_bytes)
            except OSError as error:
                raise StoreError(
                    f"shards cannot be written to {self.layout.root} ({error.strerror}); make room, and seal again"
                ) from error
        self._others = newest([*self._others.values(), *(row for rows in sealed.values() for row in rows)])
        self._parts = {}
        return list(sealed)

    def close(self) -> None:
        """Let another writer have the name; what is not sealed stays as it is."""
        self._lock.close()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _agree(layout: Layout, identity: StoreIdentity, writer: str) -> StoreIdentity:
    """Write ``store.json`` unless it is there; StoreError when the one there differs."""
    temporary = layout.root / f".{writer}-identity.tmp"
    temporary.unlink(missing_ok=True)
    if not layout.identity.exists():
        with open(temporary, "w") as out:
            out.write(identity.to_json())
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(temporary, layout.identity)  # fails where rename() would replace another writer's
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(temporary, layout.identity)
        temporary.unlink(missing_ok=True)
    there = layout.read_identity()
    if difference := there.difference(identity):
        raise StoreError(f"the store {layout.root} has {difference}; give this run another folder for its store")
    return there


def _mean(values: Any) -> float | None:
    return None if values is None or not len(values) else float(values.mean(dtype="f8"))
