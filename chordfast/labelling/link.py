"""Messages between the run and its child processes: one socket that keeps message boundaries, one ring for the data.

A message is a letter and a few packed numbers, or a JSON object where there are words; arrays go through the ring in
blocks of at most 60 s of audio. What a decoding worker says is never unpickled and never trusted: sizes are checked
against what the ring can hold, and a message of any other form ends the worker.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
import time
from typing import Any

import numpy as np

from .ring import Cursor, Memory

LARGEST_MESSAGE = 1 << 16
UNIT_SECONDS = 60.0

READY, START, UNIT, END = b"R", b"S", b"U", b"E"  # said by a child
SONG, FREED = b"s", b"f"  # said by the run, both with the number of blocks that are free again
UNIT_FORM = struct.Struct("<BII")  # array, rows, rows there is room for in the block
FREED_FORM = struct.Struct("<I")  # blocks
PCM_FORM = struct.Struct("<IBB")  # sample rate, channels, 1 where the samples are float32


class Closed(Exception):
    """The other side has gone."""


def send(channel: socket.socket, *parts: bytes) -> None:
    """Send one message; Closed when nobody listens, BlockingIOError where the socket does not wait and is full."""
    try:
        channel.sendmsg(parts)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise Closed from error


def receive(channel: socket.socket, flags: int = 0) -> bytes:
    """One whole message; Closed at the end, BlockingIOError with MSG_DONTWAIT when there is none."""
    try:
        message = channel.recv(LARGEST_MESSAGE, flags)
    except ConnectionResetError as error:
        raise Closed from error
    if not message:
        raise Closed
    return message


def load_setup(descriptor: int) -> dict[str, Any]:
    """What the run left for its child in an inherited file."""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        setup: dict[str, Any] = pickle.Unpickler(file).load()  # written by our own parent
    return setup


def store_setup(setup: dict[str, Any]) -> int:
    """A descriptor, to be inherited, of a file in memory that holds ``setup``."""
    descriptor = os.memfd_create("chordfast-setup")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        pickle.dump(setup, file, pickle.HIGHEST_PROTOCOL)
    return descriptor


class Producer:
    """The child's end: blocks into the ring, messages to the run, requests from it."""

    def __init__(self, channel: socket.socket, descriptor: int, capacity: int) -> None:
        self.channel = channel
        self._memory = Memory(capacity, descriptor)
        self._cursor = Cursor(self._memory.capacity)
        self._requests: list[bytes] = []

    @property
    def largest(self) -> int:
        """Bytes of the largest array that `put` takes: two such blocks and some slack fit at once."""
        return self._cursor.largest // 2

    def request(self) -> bytes:
        """The next request of the run, waited for."""
        while not self._requests:
            self._listen()
        return self._requests.pop(0)

    def reserve(self, size: int) -> int:
        """The offset of a block of ``size`` bytes; waits for room, which is what holds a fast producer back."""
        while (place := self._cursor.place(size)) is None:
            self._listen()
        return place[0]

    def space(self, offset: int, size: int) -> memoryview:
        return self._memory.view[offset : offset + size]

    def put(self, index: int, array: np.ndarray) -> None:
        """Send rows [n, ...] of array ``index``, in several blocks where they are large."""
        rows = max(1, self.largest * len(array) // max(array.nbytes, 1))
        for first in range(0, len(array), rows):
            part = np.ascontiguousarray(array[first : first + rows])
            self.space(self.reserve(part.nbytes), part.nbytes)[:] = memoryview(part).cast("B")
            self.say(UNIT, UNIT_FORM.pack(index, len(part), len(part)))

    def say(self, kind: bytes, body: bytes | dict[str, Any] = b"") -> None:
        send(self.channel, kind, json.dumps(body).encode("ascii") if isinstance(body, dict) else body)

    def _listen(self) -> None:
        self._understand(receive(self.channel))

    def _understand(self, message: bytes) -> None:
        kind = message[:1]
        if kind in (FREED, SONG):
            count = message[1 : 1 + FREED_FORM.size]
            self._cursor.free_oldest(FREED_FORM.unpack(count)[0])
        if kind == SONG:
            self._requests.append(kind + message[1 + FREED_FORM.size :])
        elif kind != FREED:
            self._requests.append(message)


class Units:
    """Gathers the rows of several arrays into blocks of about ``rows[i]`` rows, so that few messages are needed."""

    def __init__(self, producer: Producer, rows: list[int]) -> None:
        self.counts = [0] * len(rows)
        self.seconds = 0.0  # CPU, of handing blocks over on the way
        self._producer = producer
        self._rows = rows
        self._parts: list[list[np.ndarray]] = [[] for _ in rows]
        self._held = [0] * len(rows)

    def take(self, index: int, rows: np.ndarray) -> None:
        if not len(rows):
            return
        self._parts[index].append(rows)
        self._held[index] += len(rows)
        self.counts[index] += len(rows)
        if self._held[index] >= self._rows[index]:
            mark = time.process_time()
            self.flush(index)
            self.seconds += time.process_time() - mark

    def flush(self, index: int) -> None:
        parts = self._parts[index]
        if parts:
            self._producer.put(index, parts[0] if len(parts) == 1 else np.concatenate(parts))
            parts.clear()
            self._held[index] = 0


class Filler:
    """Writes samples straight into blocks of the ring as they come, ``rows`` [n, channels] to a block."""

    def __init__(self, producer: Producer, channels: int, dtype: np.dtype[Any], rows: int) -> None:
        self._producer = producer
        self._width = channels * dtype.itemsize
        self._rows = max(1, min(rows, producer.largest // self._width))
        self._channels, self._dtype = channels, dtype
        self._block: np.ndarray | None = None
        self._filled = 0
        self.count = 0

    def take(self, pcm: np.ndarray) -> None:
        self.count += len(pcm)
        while len(pcm):
            if self._block is None:
                size = self._rows * self._width
                space = self._producer.space(self._producer.reserve(size), size)
                self._block = np.frombuffer(space, self._dtype).reshape(self._rows, self._channels)
            part = pcm[: self._rows - self._filled]
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            pcm = pcm[len(part) :]
            if self._filled == self._rows:
                self.flush()

    def flush(self) -> None:
        if self._block is not None:
            self._producer.say(UNIT, UNIT_FORM.pack(0, self._filled, self._rows))
            self._block, self._filled = None, 0
