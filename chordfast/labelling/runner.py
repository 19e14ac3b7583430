"""The run: workers make features, a few threads run the model and write, the main thread keeps the books.

One way, with back-pressure: the main thread takes features from the workers only while fewer than a few batches wait
for the model, so memory does not depend on the number or the order of the files.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import resource
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Pipe, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..annotations import encode
from ..decoding import DecodingOptions
from ..files import atomic_write
from . import recognise
from .manifest import Manifest, Row
from .progress import Progress
from .summary import Job, LabellingInterrupted, OutputError, Summary
from .workers import Pool, Result

if TYPE_CHECKING:
    from ..teachers import Recogniser

BATCH_WAIT = 5.0  # seconds that features may wait for a fuller batch
_TICK = 0.1


@dataclass(frozen=True)
class Identity:
    """What a label depends on besides the recording; all four are written to every row."""

    model: str
    model_hash: str
    features_hash: str
    options_hash: str


@dataclass
class Batch:
    """Songs on their way through the model; ``rows`` grows as their labels are written."""

    songs: list[tuple[Job, Result]]
    rows: list[Row] = field(default_factory=list)
    future: Future[None] | None = None

    @property
    def frames(self) -> int:
        return sum(_frames(result) for _, result in self.songs)


def _frames(result: Result) -> int:
    return 0 if result.features is None else len(result.features)


@dataclass
class Runner:
    """Everything one run needs; ``run`` does it."""

    summary: Summary
    out: Path
    manifest: Manifest
    recogniser: Recogniser
    options: DecodingOptions
    identity: Identity
    extract: Callable[..., Any]
    quality: str
    workers: int
    threads: int
    timeout: float | None
    memory_limit: int | None
    batch_frames: int
    fail_fast: bool
    show_progress: bool

    def run(self) -> None:
        """Label every planned job; LabellingInterrupted after Ctrl-C or SIGTERM, OutputError when writing fails."""
        self._waiting: deque[Job] = deque(self.summary.planned)
        self._ready: list[tuple[Job, Result]] = []
        self._ready_since = 0.0
        self._batches: list[Batch] = []
        self._signal = 0
        self._wake_in, self._wake_out = Pipe(duplex=False)
        began, cpu = time.monotonic(), _cpu_seconds()
        setup = {
            "extract": self.extract,
            "plan": self.recogniser.plan,
            "quality": self.quality,
            "memory_limit": self.memory_limit,
        }
        try:
            with (
                _handling_signals(self._on_signal),
                Progress(self.summary, self.show_progress) as self._progress,
                _single_threaded_torch(),
                ThreadPoolExecutor(self.threads, "model") as self._model,
            ):
                self._pool = Pool(self.workers, setup, self.timeout)
                try:
                    self._loop()
                finally:
                    self._pool.close()
                    self._finish_batches(wait_for_all=True)
        except OSError as error:
            raise _output_error(error, self.out) from error
        finally:
            self._wake_in.close()
            self._wake_out.close()
            self.summary.wall = time.monotonic() - began
            self.summary.cpu_total = _cpu_seconds() - cpu
        if self._signal:
            raise LabellingInterrupted(self._signal, self.summary)

    def _loop(self) -> None:
        while not self._signal:
            for worker in self._pool.idle():
                if self._waiting:
                    job = self._waiting.popleft()
                    worker.submit(job, str(job.source.path))
            self._start_batches()
            busy = self._pool.busy()
            if not busy and not self._batches and not self._ready:
                break
            held = self._ready_frames() + sum(batch.frames for batch in self._batches)
            listening = busy if held < (self.threads + 3) * self.batch_frames else []
            heard = wait([self._wake_in, *(worker.channel for worker in listening)], _TICK)
            while self._wake_in.poll():
                self._wake_in.recv_bytes()
            for worker in listening:
                if worker.channel in heard and (said := self._pool.receive(worker)):
                    self._take(*said)
            for late in self._pool.overdue():
                self._take(*late)
            self._finish_batches()
            self._progress.tick()
            if self.fail_fast and self.summary.stopped_early:
                break

    def _take(self, job: Job, result: Result) -> None:
        row = self._row(job, result)
        if row.failed:
            self._book(row)
            self.summary.stopped_early |= self.fail_fast
            return
        if not self._ready:
            self._ready_since = time.monotonic()
        self._ready.append((job, result))

    def _ready_frames(self) -> int:
        return sum(_frames(result) for _, result in self._ready)

    def _start_batches(self) -> None:
        """Start the model on every batch that is due: full, waiting for long, or of the last songs."""
        while self._ready and len(self._batches) < self.threads:
            frames, size = self._ready_frames(), self.batch_frames
            if not self._waiting and not self._pool.busy():  # the last songs: shared out among the idle threads
                size = min(size, math.ceil(frames / (self.threads - len(self._batches))))
            elif frames < size and time.monotonic() - self._ready_since < BATCH_WAIT:
                return
            batch = Batch([self._ready.pop(0)])
            while self._ready and batch.frames + _frames(self._ready[0][1]) <= size:
                batch.songs.append(self._ready.pop(0))
            self._ready_since = time.monotonic()
            batch.future = self._model.submit(self._process, batch)
            batch.future.add_done_callback(lambda _: self._wake())
            self._batches.append(batch)

    def _finish_batches(self, wait_for_all: bool = False) -> None:
        """Book what the ended batches have written and pass on an error; at the end, wait for those that run."""
        errors = []
        for batch in [b for b in self._batches if b.future and (wait_for_all or b.future.done())]:
            assert batch.future is not None
            errors.append(batch.future.exception())
            self._batches.remove(batch)
            for row in batch.rows:
                self._book(row)
        for error in filter(None, errors):
            raise error

    def _process(self, batch: Batch) -> None:
        """In a model thread: posteriors of the whole batch, then labels song by song."""
        seen = {job.source.key: result.features for job, result in batch.songs if result.features is not None}
        began = time.thread_time()
        found = recognise.posteriors(self.recogniser, list(seen.values())) if seen else []
        spent = time.thread_time() - began
        total = max(batch.frames, 1)
        by_key = dict(zip(seen, found, strict=True))
        for job, result in batch.songs:
            result.cpu["model"] = spent * _frames(result) / total
            batch.rows.append(self._write(job, result, by_key.get(job.source.key)))
            result.features = None

    def _write(self, job: Job, result: Result, found: Any) -> Row:
        began = time.thread_time()
        row = self._row(job, result)
        if result.seconds > 0:
            meta = {
                "file": job.source.path.name.encode("utf-8", "replace").decode("utf-8"), "outcome": result.outcome,
                "note": result.note, "model": self.identity.model, "model_hash": self.identity.model_hash,
                "features_hash": self.identity.features_hash, "options_hash": self.identity.options_hash,
                "chordfast": __version__,
            }  # fmt: skip
            period = self.recogniser.plan.frame_period
            annotation = recognise.annotate(found, result.seconds, self.options, period, meta)
            row.confidence = recognise.mean_confidence(annotation)
            for name, relative in job.outputs.items():
                target = self.out / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                atomic_write(target, encode(annotation, name, target.stem))
            row.outputs = dict(job.outputs)
        row.cpu["labels"] = time.thread_time() - began
        return row

    def _row(self, job: Job, result: Result) -> Row:
        source, identity = job.source, self.identity
        return Row(
            path=source.key, outcome=result.outcome, seconds=result.seconds, size=source.size,
            mtime_ns=source.mtime_ns, model=identity.model, model_hash=identity.model_hash,
            features_hash=identity.features_hash, options_hash=identity.options_hash, note=result.note,
            decoder=result.decoder, cpu=result.cpu, chordfast=__version__,
        )  # fmt: skip

    def _book(self, row: Row) -> None:
        row.cpu = {name: round(value, 6) for name, value in row.cpu.items()}
        self.manifest.append(row)
        self.summary.add(row)
        if row.failed:
            self._progress.failed(row)

    def _on_signal(self, signum: int) -> None:
        if self._signal:  # asked twice: leave at once; whatever is on the disk is whole anyway
            for worker in self._pool.workers:
                worker.process.kill()
            os._exit(128 + signum)
        self._signal = signum
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_out.send_bytes(b".")


@contextlib.contextmanager
def _single_threaded_torch() -> Iterator[None]:
    """One thread an operator: batches are the parallelism, and threads that wait for each other spin."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cpu_seconds() -> float:
    """CPU seconds of this process and of the ended child processes."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _output_error(error: OSError, out: Path) -> OutputError:
    where = os.fsdecode(error.filename) if error.filename else str(out)
    hint = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "raise the quota",
        errno.EFBIG: "raise the file size limit",
    }.get(error.errno or 0, "make it writable")
    return OutputError(
        f"cannot write {where}: {error.strerror}; {hint} and run the same command again, it continues where it stopped"
    )


@contextlib.contextmanager
def _handling_signals(handler: Callable[[int], None]) -> Iterator[None]:
    """Hand SIGINT and SIGTERM to ``handler``; only the main thread can, elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(signum, lambda number, _: handler(number)) for signum in caught]
    try:
        yield
    finally:
        for signum, old in zip(caught, before, strict=True):
            signal.signal(signum, old)
