"""The parent side of a device process: blocks of PCM to it, posteriors from it, and what it had when it died."""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..features.extraction import verdict
from . import device_child as say
from . import link, recognise
from .devices import Task
from .finishing import Finished
from .process import Child
from .ring import Memory
from .use import Use
from .workers import Lease, Result

if TYPE_CHECKING:
    from ..ops.feature_plan import FeaturePlan
    from ..teachers import Recogniser

RING = 32 << 20  # bytes, of what comes back
BATCHES_AHEAD = 3  # of complete songs that a device is given before it has finished others
DEATHS_IN_A_ROW = 3
PATIENCE = 600.0  # seconds for which a device with complete songs may say nothing
_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CHORDFAST_THREADS"), "1")


@dataclass
class _Song:
    """A song that the device has; ``result`` once the worker is through with it."""

    task: Task
    result: Result | None = None
    announced: bool = False


class DeviceProcess(Child):
    """A torch device in a process of its own, "cuda:0" or (for tests, and without a GPU) "cpu-process".

    It reads the samples right from the workers' rings, and is started anew when it dies; its songs are done again.
    """

    module = "chordfast.labelling.device_child"
    what = "device process"
    environment = _ENVIRONMENT
    pcm = True

    def __init__(
        self, name: str, recogniser: Recogniser, precision: str, *, plans: Sequence[FeaturePlan], keep: int | None,
        quality: str, batch_seconds: float,
    ) -> None:  # fmt: skip
        self.name = name
        self.use = Use(name)
        self.outstanding = 0.0
        self.failed = ""
        self._recogniser = recogniser
        self._plans = tuple(plans)
        self._batch_seconds = batch_seconds
        self._widths = {0: (recogniser.classes, np.float32), 1: (plans[keep or 0].n_bins, np.float32), 2: (1, np.uint8)}
        self._deaths = 0
        self._again: list[Task] = []
        self._forget()
        self._arguments = {
            "recogniser": recogniser, "precision": precision, "plans": self._plans, "keep": keep, "quality": quality,
            "device": "cpu" if name.startswith("cpu") else name, "batch_seconds": batch_seconds,
        }  # fmt: skip

    def _forget(self) -> None:
        self._serial = 0
        self._token = 0
        self._outbox: deque[tuple[bytes, int | None]] = deque()
        self._parts: dict[int, list[np.ndarray]] = {}
        self._reason = ""
        self._heard = time.monotonic()
        self._songs: dict[int, _Song] = {}
        self._serials: dict[Task, int] = {}
        self._leases: dict[int, Lease] = {}
        self._rings: dict[int, Memory] = {}

    def start(self, done: Callable[[Finished], None], _: Callable[[], None], selector: selectors.BaseSelector) -> None:
        self._done, self._selector = done, selector
        super().__init__(self._arguments, RING)
        selector.register(self.channel, selectors.EVENT_READ, self)

    def room(self) -> bool:
        if not self.ready or self.failed or any(song.task.deaths for song in self._songs.values()):
            return False
        return self.outstanding < BATCHES_AHEAD * self._batch_seconds

    def begin(self, task: Task) -> None:
        self.use.begin()
        self._serial += 1
        self._songs[self._serial] = _Song(task)
        self._serials[task] = self._serial

    def block(self, task: Task, lease: Lease) -> None:
        serial, form, worker = self._serials[task], lease.format, lease.worker
        if self._rings.get(worker.index) is not worker.memory:
            self._rings[worker.index] = worker.memory
            body = say.RING + say.RING_FORM.pack(worker.index, worker.memory.capacity)
            self._ask(body, descriptor=os.dup(worker.memory.descriptor))
        song = self._songs[serial]
        if not song.announced:
            song.announced = True
            form_of_song = say.BEGIN_FORM.pack(serial, form.sample_rate, form.channels, form.floating)
            self._ask(say.BEGIN + form_of_song)
        self.outstanding += lease.seconds
        self._token += 1
        self._leases[self._token] = lease
        self._ask(say.BLOCK + say.BLOCK_FORM.pack(serial, worker.index, self._token, lease.offset, lease.rows))

    def drop(self, task: Task) -> None:
        serial = self._serials.pop(task, None)
        if serial is not None:
            del self._songs[serial]
            self.outstanding -= task.seconds
            self._ask(say.DROP + say.SONG_FORM.pack(serial))

    def end(self, task: Task, result: Result) -> None:
        serial = self._serials[task]
        self._songs[serial].result = result
        self._ask(say.COMPLETE + say.SONG_FORM.pack(serial))

    def advance(self, last: bool) -> list[Task]:
        self._flush()
        self.settle()
        complete = any(song.result for song in self._songs.values())
        if not complete:
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > PATIENCE and self.process.poll() is None:
            self._reason = f" (it had said nothing for {PATIENCE:g} s)"
            self.process.kill()
        again, self._again = self._again, []
        return again

    def settled(self) -> bool:
        return not self._songs

    def _ask(self, message: bytes, descriptor: int | None = None) -> None:
        """Send in order, never waiting: the device may itself be waiting for us."""
        self._outbox.append((message, descriptor))
        self._flush()

    def _flush(self) -> None:
        while self._outbox:
            message, descriptor = self._outbox[0]
            rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [descriptor]))]
            try:
                self.channel.sendmsg([message], rights, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                pass  # it has gone, as `listen` will hear
            if descriptor is not None:
                os.close(descriptor)
            self._outbox.popleft()

    def listen(self) -> None:
        """Take everything the process has said."""
        try:
            while (message := self.hear()) is not None:
                self._heard = time.monotonic()
                self._understand(message[:1], message[1:])
        except (link.Closed, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._died(error)

    def _understand(self, kind: bytes, body: bytes) -> None:
        if kind == link.READY:
            self.ready = True
        elif kind == say.TAKEN:
            self._leases.pop(say.TAKEN_FORM.unpack(body)[0]).free()
        elif kind == link.UNIT:
            place, rows, room = link.UNIT_FORM.unpack(body)
            width, dtype = self._widths[place]
            self._parts.setdefault(place, []).append(self.take(rows, room, width, dtype))
        elif kind == link.END:
            self._finished(json.loads(body))
        elif kind == say.FAILED:
            self._reason = f" ({json.loads(body)['said']})"
        else:
            raise ValueError("a message of no known kind")

    def _finished(self, said: dict[str, Any]) -> None:
        arrays = {place: np.concatenate(parts) for place, parts in self._parts.items()}
        self._parts = {}
        song = self._songs.pop(int(said["song"]), None)
        if song is None or song.result is None:  # dropped meanwhile
            return
        if {place: len(array) for place, array in arrays.items()} != {int(p): n for p, n in said["rows"].items()}:
            raise ValueError("other data than announced")
        del self._serials[song.task]
        result, busy = song.result, float(said["busy"])
        self.outstanding -= song.task.seconds
        self.use.files += 1
        self.use.audio += result.seconds
        self.use.busy += busy
        self._deaths = 0
        result.cpu["device"] = busy
        notes = [result.note] if result.note else []
        result.outcome, result.note = verdict(
            self._plans, int(said["samples"]), float(said["peak"]), int(said["non_finite"]), result.seconds,
            result.outcome, notes,
        )  # fmt: skip
        finished = Finished(song.task.job, result, device=self.name)
        if result.outcome in ("ok", "truncated"):
            finished.posteriors, finished.features = arrays[0], arrays.get(1)
            finished.agreement = arrays[2][:, 0] if 2 in arrays else None
            recognise.check(self._recogniser.name, [finished.posteriors], [None])
        self._done(finished)

    def _died(self, error: Exception) -> None:
        """Its songs go back; a fresh process takes its place, unless it keeps dying."""
        self._selector.unregister(self.channel)
        how = self.death(error) + self._reason
        for lease in self._leases.values():
            lease.free()
        for _, descriptor in self._outbox:
            if descriptor is not None:
                os.close(descriptor)
        for song in self._songs.values():
            song.task.deaths += 1
        self._again += [song.task for song in self._songs.values()]
        self._forget()
        self.outstanding = 0.0
        self._deaths += 1
        if self._deaths >= DEATHS_IN_A_ROW:
            self.failed = f"{self.name}: {how}"
            return
        self.restart()
        self._selector.register(self.channel, selectors.EVENT_READ, self)

    def close(self) -> None:
        self.use.until = time.monotonic()
        super().close()
