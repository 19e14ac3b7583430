"""The end of a song's way: posteriors to label files, store and manifest row."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__, trace
from ..annotations import encode
from ..decoding import DecodingOptions
from ..files import atomic_write
from . import recognise
from .manifest import Row
from .summary import Job
from .workers import Result

if TYPE_CHECKING:
    from ..store import StoreWriter


@dataclass(frozen=True)
class Identity:
    """What a label depends on besides the recording; all four are written to every row."""

    model: str
    model_hash: str
    features_hash: str
    options_hash: str


@dataclass
class Finished:
    """A song whose model has been computed; posteriors [T, K] and agreement [T] are None where nothing was heard."""

    job: Job
    result: Result
    posteriors: np.ndarray | None = None
    agreement: np.ndarray | None = None
    features: np.ndarray | None = None  # of plan BTC, for the store
    device: str = "cpu"


@dataclass
class Finisher:
    """Writes what belongs to a song and returns its row; may be called from several threads."""

    out: Path
    identity: Identity
    options: DecodingOptions
    frame_period: float
    store: StoreWriter | None = None
    store_hash: str = ""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def finish(self, song: Finished) -> Row:
        """Label files, then the store, then the row: what a row says is there is there."""
        began = time.thread_time()
        row = self.row(song.job, song.result)
        row.device = song.device
        with trace.stage("write"):
            if not row.failed and song.result.seconds > 0:
                self._labels(song, row)
            row.cpu["labels"] = time.thread_time() - began
            if self.store is not None:
                began = time.thread_time()
                self._store(song, row)
                row.cpu["store"] = time.thread_time() - began
        return row

    def row(self, job: Job, result: Result) -> Row:
        source, identity = job.source, self.identity
        return Row(
            path=source.key, outcome=result.outcome, seconds=result.seconds, size=source.size,
            mtime_ns=source.mtime_ns, model=identity.model, model_hash=identity.model_hash,
            features_hash=identity.features_hash, options_hash=identity.options_hash, note=result.note,
            decoder=result.decoder, cpu=dict(result.cpu), chordfast=__version__, source_hash=result.source_hash,
            semitones=source.semitones,
        )  # fmt: skip

    def _labels(self, song: Finished, row: Row) -> None:
        job, result = song.job, song.result
        meta = {
            "file": job.source.path.name.encode("utf-8", "replace").decode("utf-8"), "outcome": result.outcome,
            "note": result.note, "model": self.identity.model, "model_hash": self.identity.model_hash,
            "features_hash": self.identity.features_hash, "options_hash": self.identity.options_hash,
            "chordfast": __version__,
        }  # fmt: skip
        annotation = recognise.annotate(song.posteriors, result.seconds, self.options, self.frame_period, meta)
        row.confidence = recognise.mean_confidence(annotation)
        for name, relative in job.outputs.items():
            target = self.out / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(target, encode(annotation, name, target.stem))
        row.outputs = dict(job.outputs)

    def _store(self, song: Finished, row: Row) -> None:
        from ..store import SongRecord

        assert self.store is not None
        heard = song.posteriors is not None
        record = SongRecord(
            id=row.path, source_hash=row.source_hash, outcome=row.outcome, duration=row.seconds,
            features=song.features if heard else None, posteriors=song.posteriors, agreement=song.agreement,
        )  # fmt: skip
        with self._lock:
            self.store.add(record)
        row.store = self.store_hash
