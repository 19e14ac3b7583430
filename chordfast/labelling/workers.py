"""The parent side of the decoding workers: hand out songs, take what they read, notice deaths and hangs."""

from __future__ import annotations

import json
import math
import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ChordfastError
from . import link
from .manifest import OUTCOMES
from .process import Child
from .ring import Cursor

# One thread a worker: the processes are the parallelism.
_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CHORDFAST_THREADS"), "1")
FEATURE_RING = 8 << 20  # bytes; a unit of features takes some 1 MB
PCM_RING = 32 << 20  # bytes; half a minute of stereo in 16 bits takes some 5 MB

HEARD = ("ok", "truncated")  # outcomes of recordings that a model is to see


@dataclass
class Result:
    """What a worker said about one song; ``features``, an array a plan, only where a model is to see it."""

    outcome: str
    note: str = ""
    decoder: str = ""
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    source_hash: str = ""
    features: tuple[np.ndarray, ...] | None = None

    @property
    def frames(self) -> int:
        return 0 if self.features is None else len(self.features[0])


@dataclass(frozen=True)
class PcmFormat:
    """How the samples of a recording lie in the ring: interleaved channels of int16, or float32 with full scale 1."""

    sample_rate: int
    channels: int
    floating: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32 if self.floating else np.int16)

    @property
    def width(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * self.dtype.itemsize


@dataclass
class Lease:
    """A block of PCM that stays in a worker's ring until ``free``."""

    worker: Worker
    cursor: Cursor
    number: int
    offset: int
    rows: int
    format: PcmFormat

    @property
    def seconds(self) -> float:
        return self.rows / self.format.sample_rate

    def free(self) -> None:
        """Hand the room back; nothing to do when the worker has been replaced, and its ring with it."""
        if self.worker.cursor is self.cursor and not self.worker.closed:
            self.worker.free(self.number)


class Worker(Child):
    """One process; ``task`` is what it is busy with (any object), None when idle.

    ``widths``: columns of each feature plan it is to send, or None when it sends PCM. ``limit``: bytes of features one
    song may have.
    """

    module = "chordfast.labelling.worker"
    what = "worker process"
    environment = _ENVIRONMENT

    def __init__(self, index: int, setup: dict[str, Any], widths: Sequence[int] | None, limit: int | None) -> None:
        self.index = index
        self.task: Any = None
        self._widths = widths
        self._limit = limit or 1 << 62
        super().__init__(setup, PCM_RING if widths is None else FEATURE_RING)
        self._forget()

    def _forget(self) -> None:
        self._parts: list[list[np.ndarray]] = [[] for _ in self._widths or ()]
        self._counts = [0] * max(1, len(self._widths or ()))
        self._held = 0
        self._format: PcmFormat | None = None

    def submit(self, task: Any, path: str, semitones: int = 0) -> None:
        """Hand out a song, to be shifted by ``semitones``; only to an idle worker."""
        self.task = task
        self.started = time.monotonic()
        self._forget()
        self.request(os.fsencode(path) + (b"\0%d" % semitones if semitones else b""))

    def receive(self) -> Result | Lease | None:
        """Take one message: a Result ends the song (also when the process has died), a Lease is PCM of it.

        None where nothing is to be done. ChordfastError when the process died before it had started, because every
        later one would do the same.
        """
        try:
            message = self.hear()
            return None if message is None else self._understand(message[:1], message[1:])
        except (link.Closed, OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            return Result("crashed", self.death(error))

    def _understand(self, kind: bytes, body: bytes) -> Result | Lease | None:
        if kind == link.READY and not self.ready:
            self.ready = True
            self.started = time.monotonic()
            return None
        if self.task is None:
            raise ValueError("a message without a song")
        if kind == link.UNIT:
            return self._unit(*_unpacked(link.UNIT_FORM, body))
        if kind == link.START and self._widths is None and self._format is None:
            rate, channels, floating = _unpacked(link.PCM_FORM, body)
            if not (1 <= rate <= 1 << 20 and 1 <= channels <= 64):
                raise ValueError("samples of an impossible format")
            self._format = PcmFormat(rate, channels, bool(floating))
            return None
        if kind == link.END:
            return self._result(json.loads(body))
        raise ValueError("a message of no known kind")

    def _unit(self, index: int, rows: int, room: int) -> Lease | None:
        if index >= len(self._counts):
            raise ValueError("an array nobody asked for")
        self._counts[index] += rows
        if self._widths is not None:
            self._held += rows * self._widths[index] * 4
            if self._held > self._limit:
                raise ValueError("more features than the memory limit allows")
            self._parts[index].append(self.take(rows, room, self._widths[index], np.float32))
            return None
        if self._format is None or rows > room:
            raise ValueError("samples of no announced format")
        offset, number = self.place(room * self._format.width)
        return Lease(self, self.cursor, number, offset, rows, self._format)

    def _result(self, header: dict[str, Any]) -> Result:
        result = Result(
            str(header["outcome"]), str(header["note"]), str(header["decoder"]), float(header["seconds"]),
            {str(name): float(value) for name, value in header["cpu"].items()}, str(header["hash"]),
        )  # fmt: skip
        if result.outcome not in OUTCOMES or not all(map(math.isfinite, (result.seconds, *result.cpu.values()))):
            raise ValueError("an impossible result")
        if result.outcome in HEARD:
            if [int(count) for count in header["rows"]] != self._counts:
                raise ValueError("other data than announced")
            if self._widths is not None and all(self._counts):
                result.features = tuple(
                    parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in self._parts
                )  # fmt: skip
        self._forget()
        return result

    def talks(self) -> bool:
        """Whether a message waits to be received."""
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        return bool(poll.poll(0))

    def restart(self) -> None:
        self.task = None
        self._forget()
        super().restart()


def _unpacked(form: Any, body: bytes) -> tuple[int, ...]:
    if len(body) != form.size:
        raise ValueError("a message of the wrong length")
    numbers: tuple[int, ...] = form.unpack(body)
    return numbers


class Pool:
    """``count`` workers with one set-up, and the songs that took longer than ``timeout`` seconds."""

    def __init__(
        self, count: int, setup: dict[str, Any], widths: Sequence[int] | None, timeout: float | None
    ) -> None:  # fmt: skip
        self.timeout = timeout
        self.workers: list[Worker] = []
        self._checked = time.monotonic()
        try:
            for index in range(count):
                self.workers.append(Worker(index, setup, widths, setup["memory_limit"]))
        except ChordfastError:
            self.close()
            raise

    def idle(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.task is None]

    def busy(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.task is not None]

    def overdue(self) -> list[Worker]:
        """Workers whose song takes too long. Time in which a full ring held a worker back does not count."""
        if self.timeout is None:
            return []
        now, last = time.monotonic(), self._checked
        self._checked = now
        late = []
        for worker in self.busy():
            if worker.cursor.used or not worker.ready:
                worker.started += now - last
            elif now - worker.started > self.timeout and not worker.talks():
                late.append(worker)
        return late

    def close(self) -> None:
        for worker in self.workers:
            worker.task = None
            worker.close()
