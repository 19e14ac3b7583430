"""The child side of a device process: blocks of PCM from the workers' rings in, posteriors out through its own ring."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from typing import Any

import numpy as np

from . import link
from .process import become_child
from .ring import Memory
from .workers import PcmFormat

RING, BEGIN, BLOCK, COMPLETE, DROP = b"r", b"b", b"p", b"c", b"d"  # said by the run
TAKEN, FAILED = b"t", b"x"  # said by the device, besides what every child says
RING_FORM = struct.Struct("<IQ")  # worker, bytes; the descriptor comes with it
BEGIN_FORM = struct.Struct("<IIBB")  # song, sample rate, channels, floating
BLOCK_FORM = struct.Struct("<IIQQI")  # song, worker, token, offset, rows
SONG_FORM = struct.Struct("<I")
TAKEN_FORM = struct.Struct("<Q")  # token of the block
IN_FLIGHT = 2  # batches that the device computes or has computed


def main(channel: int, setup_file: int, ring: int) -> None:
    """Serve the run on an inherited socket until it closes."""
    become_child()
    with socket.socket(fileno=channel) as connection, contextlib.suppress(link.Closed):
        setup = link.load_setup(setup_file)
        producer = _Producer(connection, ring, setup["ring"])
        served = Service(producer, setup)
        producer.say(link.READY)
        try:
            served.run()
        except link.Closed:
            raise
        except Exception as error:
            producer.say(FAILED, {"kind": type(error).__name__, "said": str(error)[:4000]})
            raise


class _Producer(link.Producer):
    """Takes the descriptors of the workers' rings, too."""

    def __init__(self, channel: socket.socket, descriptor: int, capacity: int) -> None:
        super().__init__(channel, descriptor, capacity)
        self.rings: dict[int, Memory] = {}

    def _listen(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self.channel, link.LARGEST_MESSAGE, 1)
        if not message:
            raise link.Closed
        if descriptors:  # from here on this worker's blocks lie in another ring; all earlier ones have been copied
            message += struct.pack("<i", descriptors[0])
        self._understand(message)

    def waiting(self, seconds: float | None) -> bool:
        """Whether a request is there, or comes within ``seconds`` (None: however long it takes)."""
        while not self._requests:
            if not select.select([self.channel], [], [], seconds)[0]:
                return False
            self._listen()
        return True


class Service:
    """The device's work: an idle device starts with what is complete, a busy one gathers a batch meanwhile."""

    def __init__(self, producer: _Producer, setup: dict[str, Any]) -> None:
        import torch

        from .engine import Engine, Pcm, Running
        from .on_device import recogniser_on

        torch.set_num_threads(1)
        self._producer = producer
        recogniser = recogniser_on(setup["recogniser"], setup["device"], setup["precision"])
        self._engine = Engine(recogniser, setup["plans"], setup["keep"], setup["quality"], setup["device"])
        self._batch_seconds = setup["batch_seconds"]
        self._new = Pcm
        self._songs: dict[int, Pcm] = {}
        self._complete: list[Pcm] = []
        self._running: list[Running] = []

    def run(self) -> None:
        while True:
            idle = not self._running
            patience = None if idle and not self._complete else 0.0 if idle or self._startable() else 0.001
            if self._producer.waiting(patience):
                request = self._producer.request()
                self._take(request[:1], request[1:])
            elif self._complete and idle:
                self._start()
            if self._startable():
                self._start()
            while self._running and self._running[0].done():
                self._give(self._running.pop(0))

    def _startable(self) -> bool:
        """Whether a whole batch is complete and may start beside the one that runs."""
        if len(self._running) >= IN_FLIGHT:
            return False
        return sum(song.seconds for song in self._complete) >= self._batch_seconds

    def _take(self, kind: bytes, body: bytes) -> None:
        if kind == BLOCK:
            serial, worker, token, offset, rows = BLOCK_FORM.unpack(body)
            song = self._songs[serial]
            memory, form = self._producer.rings[worker], song.format
            view = memory.view[offset : offset + rows * form.width]
            block = np.frombuffer(view, form.dtype).reshape(rows, form.channels)
            song.blocks.append(self._engine.upload(block))
            self._producer.say(TAKEN, TAKEN_FORM.pack(token))
        elif kind == COMPLETE:
            self._complete.append(self._songs.pop(SONG_FORM.unpack(body)[0]))
        elif kind == BEGIN:
            serial, rate, channels, floating = BEGIN_FORM.unpack(body)
            self._songs[serial] = self._new(serial, PcmFormat(rate, channels, bool(floating)))
        elif kind == DROP:
            self._songs.pop(SONG_FORM.unpack(body)[0], None)
        elif kind == RING:
            worker, capacity = RING_FORM.unpack(body[: RING_FORM.size])
            if (old := self._producer.rings.pop(worker, None)) is not None:
                old.close()
            self._producer.rings[worker] = Memory(capacity, struct.unpack("<i", body[RING_FORM.size :])[0])

    def _start(self) -> None:
        batch, seconds = [], 0.0
        while self._complete and seconds < self._batch_seconds:
            batch.append(self._complete.pop(0))
            seconds += batch[-1].seconds
        self._running.append(self._engine.start(batch))

    def _give(self, running: Any) -> None:
        songs, busy = running.results()
        whole = sum(song.samples for song in songs) or 1
        for song in songs:
            for place, array in song.arrays.items():
                rows = array if array.ndim == 2 else array[:, None]
                self._producer.put(place, rows)
            said = {
                "song": song.serial, "samples": song.samples, "peak": song.peak, "non_finite": song.non_finite,
                "busy": busy * song.samples / whole, "rows": {p: len(a) for p, a in song.arrays.items()},
            }  # fmt: skip
            self._producer.say(link.END, said)
