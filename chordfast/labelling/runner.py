"""The run: workers read, devices compute, the main thread hands on and keeps the books.

One way, with back-pressure: songs go to a device only while it has room, and a worker whose ring is full waits, so
memory does not depend on the number, the order or the length of the files beyond the features of the songs under way
(features of a song are kept whole: crema scales by its loudest bin).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import selectors
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ChordfastError
from ..features.extraction import verdict
from .devices import Device, Task
from .finishing import Finished, Finisher, Identity
from .manifest import FAILED, Manifest, Row
from .progress import Progress
from .summary import LabellingInterrupted, OutputError, Summary
from .workers import Lease, Pool, Result, Worker

if TYPE_CHECKING:
    from ..ops.feature_plan import FeaturePlan

__all__ = ["Identity", "Runner"]

_TICK = 0.1
_MESSAGES = 16  # of one worker, before the others are heard
_DEATHS = 2  # devices that may die with a song before it is given up


@dataclass
class Runner:
    """Everything one run needs; ``run`` does it."""

    summary: Summary
    manifest: Manifest
    finisher: Finisher
    devices: Sequence[Device]
    plans: tuple[FeaturePlan, ...]
    extract: Callable[..., Any]
    quality: str
    workers: int
    threads: int
    timeout: float | None
    memory_limit: int | None
    fail_fast: bool
    progress: bool | str

    def run(self) -> None:
        """Label every planned job; LabellingInterrupted after Ctrl-C or SIGTERM, OutputError when writing fails."""
        self._waiting = deque(Task(job) for job in self.summary.planned)
        self._rows: deque[Row] = deque()
        self._writing: set[Future[None]] = set()
        self._stalled: dict[Worker, Lease] = {}
        self._signal = 0
        self._looked = 0.0
        self._pcm = self.devices[0].pcm
        self.summary.devices = [device.use for device in self.devices]
        began, cpu, own = time.monotonic(), _cpu_seconds(), time.thread_time()
        self._wake_in, self._wake_out = os.pipe()
        for descriptor in (self._wake_in, self._wake_out):
            os.set_blocking(descriptor, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_in, selectors.EVENT_READ, None)
        self._quiet = selectors.DefaultSelector()  # nothing but the wake-up, while no worker is listened to
        self._quiet.register(self._wake_in, selectors.EVENT_READ, None)
        try:
            with (
                _handling_signals(self._on_signal),
                Progress(self.summary, self.progress) as self._progress,
                ThreadPoolExecutor(self.threads, "write") as self._writers,
            ):
                self._work()
        except OSError as error:
            raise _output_error(error, self.finisher.out) from error
        finally:
            self._selector.close()
            self._quiet.close()
            os.close(self._wake_in)
            os.close(self._wake_out)
            self.summary.wall = time.monotonic() - began
            self.summary.cpu_total = _cpu_seconds() - cpu
            self.summary.cpu["books"] = time.thread_time() - own
        if self._signal:
            raise LabellingInterrupted(self._signal, self.summary)

    def _work(self) -> None:
        setup = {
            "extract": self.extract, "plans": self.plans, "quality": self.quality, "pcm": self._pcm,
            "memory_limit": self.memory_limit,
        }  # fmt: skip
        widths = None if self._pcm else [plan.n_bins for plan in self.plans]
        self._pool = Pool(self.workers, setup, widths, self.timeout)
        with contextlib.ExitStack() as stack:
            stack.callback(self._book_rows)
            stack.callback(self._end_writing)
            for device in self.devices:
                stack.callback(device.close)
                device.start(self._hand_over if device.pcm else self._finish, self._wake, self._selector)
            stack.callback(self._pool.close)
            for worker in self._pool.workers:
                self._listen(worker)
            self._loop()

    def _loop(self) -> None:
        while not self._signal:
            for worker in self._pool.idle():
                if not self._waiting:
                    break
                task = self._waiting.popleft()
                worker.submit(task, str(task.job.source.path), task.job.source.semitones)
            if self._settled() or (self.fail_fast and self.summary.stopped_early):
                break
            self._hear_all()
            self._pass_on_stalled()
            self._look_around()

    def _settled(self) -> bool:
        """Move the devices on and book what is finished; whether nothing at all is left to do."""
        last = not self._waiting and not self._pool.busy()
        for device in self.devices:
            for task in device.advance(last):
                self._again(task)
        if all(device.failed for device in self.devices):
            raise ChordfastError(f"no device is left; the last one ended so: {self.devices[-1].failed}")
        self._book_rows()
        under_way = self._writing or any(not device.settled() for device in self.devices)
        return last and not self._waiting and not under_way

    def _hear_all(self) -> None:
        room = self._pcm or any(device.room() for device in self.devices)
        for key, _ in (self._selector if room else self._quiet).select(_TICK):
            if isinstance(key.data, Worker):
                self._hear(key.data)
            elif key.data is not None:
                key.data.listen()
            else:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_in, 1 << 16)

    def _pass_on_stalled(self) -> None:
        for worker, lease in list(self._stalled.items()):
            if self._pass_on(worker, lease):
                del self._stalled[worker]
                self._listen(worker)

    def _look_around(self) -> None:
        """Now and then: songs that take too long, and the progress."""
        now = time.monotonic()
        if now - self._looked > _TICK:
            self._looked = now
            for worker in self._pool.workers:
                worker.settle()
            for worker in self._pool.overdue():
                self._late(worker)
            self._progress.tick()

    def _listen(self, worker: Worker) -> None:
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)

    def _hear(self, worker: Worker) -> None:
        """Take what a worker says, a few messages at most."""
        channel = worker.channel
        for _ in range(_MESSAGES):
            task: Task = worker.task
            said = worker.receive()
            if worker.closed:  # it has died; its successor gets the next song
                self._selector.unregister(channel)
                worker.restart()
                self._listen(worker)
            if isinstance(said, Result):
                worker.task = None
                self._ended(task, said)
                return
            if isinstance(said, Lease) and not self._pass_on(worker, said):
                self._stalled[worker] = said
                self._selector.unregister(channel)
                return
            if said is None:
                return

    def _late(self, worker: Worker) -> None:
        task = worker.task
        self._selector.unregister(worker.channel)
        worker.restart()
        self._listen(worker)
        self._ended(task, Result("timeout", f"took longer than {self.timeout:g} s; see --timeout"))

    def _pass_on(self, worker: Worker, lease: Lease) -> bool:
        """Give samples to the song's device; False while none has room for a song that has none yet."""
        task: Task = worker.task
        if task.lost:
            lease.free()
            return True
        if task.device is None:
            # A song that a device has died with goes alone, so that others do not die with it again, and goes first.
            after = not task.deaths and any(other.task.deaths for other in self._stalled)
            free = [
                device for device in self.devices
                if device.room() and not after and (not task.deaths or device.settled())
            ]  # fmt: skip
            if not free:
                return False
            task.device = min(free, key=lambda device: device.outstanding)
            task.device.begin(task)
        task.seconds += lease.seconds
        task.device.block(task, lease)
        return True

    def _ended(self, task: Task, result: Result) -> None:
        """A worker is through with a song."""
        task.ended = True
        if result.outcome in FAILED:
            self.summary.stopped_early |= self.fail_fast
            if task.device is not None:
                task.device.drop(task)
            self._hand_over(Finished(task.job, result))
        elif task.lost:
            self._again(task)
        elif self._pcm and task.device is None:  # not a single sample
            notes = [result.note] if result.note else []
            result.outcome, result.note = verdict(self.plans, 0, 0.0, 0, result.seconds, result.outcome, notes)
            self._hand_over(Finished(task.job, result))
        else:
            (task.device or self._least_busy()).end(task, result)

    def _least_busy(self) -> Device:
        """The device for features that a worker has computed; of equals the one that has done less."""
        free = [device for device in self.devices if device.room()] or self.devices
        return min(free, key=lambda device: (device.outstanding, device.use.audio))

    def _again(self, task: Task) -> None:
        """A device has died with this song: from the beginning, unless that happens too often."""
        if not task.ended:
            task.lost = True
            return
        if task.deaths >= _DEATHS:
            note = f"{task.deaths} device processes died with this song in work"
            self._hand_over(Finished(task.job, Result("crashed", note)))
            return
        self._waiting.appendleft(Task(task.job, deaths=task.deaths))

    def _hand_over(self, song: Finished) -> None:
        """Finish a song in a thread of its own kind, away from the main one."""
        future = self._writers.submit(self._finish, song)
        self._writing.add(future)
        future.add_done_callback(lambda _: self._wake())

    def _finish(self, song: Finished) -> None:
        self._rows.append(self.finisher.finish(song))

    def _book_rows(self) -> None:
        for future in [future for future in self._writing if future.done()]:
            self._writing.remove(future)
            future.result()
        rows = []
        while self._rows:
            row = self._rows.popleft()
            row.cpu = {name: round(value, 6) for name, value in row.cpu.items()}
            rows.append(row)
        if not rows:
            return
        self.manifest.extend(rows)
        for row in rows:
            self.summary.add(row)
            if row.failed:
                self._progress.failed(row)

    def _end_writing(self) -> None:
        self._writers.shutdown(wait=True)

    def _on_signal(self, signum: int) -> None:
        if self._signal:  # asked twice: leave at once; whatever is on the disk is whole anyway
            for worker in self._pool.workers:
                worker.process.kill()
            os._exit(128 + signum)
        self._signal = signum
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_out, b".")


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
