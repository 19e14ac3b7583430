"""A device that only takes its time: to see whether decoding would keep so many devices busy, without having them."""

from __future__ import annotations

import queue
import selectors
import threading
import time
from collections.abc import Callable

import numpy as np

from ..vocabulary import N_CLASS
from .devices import Task
from .finishing import Finished
from .use import Use
from .workers import Lease, Result


class SimulatedDevice:
    """Needs ``per_second`` seconds for a second of audio, and hears no chord anywhere ("N"): never for real labels.

    ``ahead``: seconds of audio it is given before it has finished others. Everything but the computing is as with a
    device process: songs come block by block through the workers' rings.
    """

    pcm = True
    failed = ""

    def __init__(self, name: str, per_second: float, ahead: float = 3600.0, frame_period: float = 2048 / 22050) -> None:
        self.name = name
        self.use = Use(name)
        self.outstanding = 0.0
        self._per_second, self._ahead, self._period = per_second, ahead, frame_period
        self._under_way = 0
        self._queue: queue.SimpleQueue[tuple[Task, Result] | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[float] = queue.SimpleQueue()

    def start(self, done: Callable[[Finished], None], wake: Callable[[], None], _: selectors.BaseSelector) -> None:
        self._done, self._wake = done, wake
        self._thread = threading.Thread(target=self._compute, name=self.name, daemon=True)
        self._thread.start()

    def room(self) -> bool:
        return self.outstanding < self._ahead

    def begin(self, task: Task) -> None:
        self._under_way += 1
        self.use.begin()

    def block(self, task: Task, lease: Lease) -> None:
        self.outstanding += lease.seconds
        lease.free()

    def drop(self, task: Task) -> None:
        self._under_way -= 1
        self.outstanding -= task.seconds

    def end(self, task: Task, result: Result) -> None:
        self._queue.put((task, result))

    def _compute(self) -> None:
        due = time.monotonic()
        while (song := self._queue.get()) is not None:
            task, result = song
            cost = result.seconds * self._per_second
            due = max(due, time.monotonic()) + cost  # sleeping too long is made up for
            time.sleep(max(0.0, due - time.monotonic()))
            self.use.busy += cost
            self.use.files += 1
            self.use.audio += result.seconds
            heard = np.zeros((max(1, int(result.seconds / self._period)), 170), np.float32)
            heard[:, N_CLASS] = 1.0
            self._done(Finished(task.job, result, heard, device=self.name))
            self._ended.put(task.seconds)
            self._wake()

    def advance(self, last: bool) -> list[Task]:
        while not self._ended.empty():
            self.outstanding -= self._ended.get()
            self._under_way -= 1
        return []

    def settled(self) -> bool:
        return self._under_way == 0

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self.use.until = time.monotonic()
