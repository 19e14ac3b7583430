"""A ring of blocks in shared memory: one producer process, one consumer that hands the room back in order.

The memory holds nothing but data. Where the next block lies follows from the sizes of those before it, so both sides
compute it and no offset is ever sent: a producer that was taken over can spoil its own data, never the consumer's
bounds. The memory is sealed against shrinking, so that reading it cannot fault either.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections import deque

ALIGNMENT = 64


class Cursor:
    """The places of blocks in a ring of ``capacity`` bytes; every block lies in one piece."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self._head = 0
        self._costs: deque[int] = deque()
        self._first = 0  # number of the oldest block
        self._done: set[int] = set()

    @property
    def largest(self) -> int:
        """Bytes of the largest block that always fits once everything before it is freed."""
        return self.capacity // 2

    def place(self, size: int) -> tuple[int, int] | None:
        """(offset, number) of the next block of ``size`` bytes; None while there is no room.

        ValueError for a block that is larger than half of the ring: it might never fit.
        """
        if not 0 <= size <= self.largest:
            raise ValueError(f"a block of {size} bytes does not fit a ring of {self.capacity}")
        whole = -(-size // ALIGNMENT) * ALIGNMENT
        wraps = self._head + whole > self.capacity
        skipped = self.capacity - self._head if wraps else 0
        if self.used + skipped + whole > self.capacity:
            return None
        offset = 0 if wraps else self._head
        self._head = offset + whole
        self.used += skipped + whole
        self._costs.append(skipped + whole)
        return offset, self._first + len(self._costs) - 1

    def free(self, number: int) -> int:
        """Mark a block as read; returns how many blocks, oldest first, have become room with it."""
        if not self._first <= number < self._first + len(self._costs) or number in self._done:
            raise ValueError(f"block {number} is not in the ring")
        self._done.add(number)
        before = self._first
        while self._first in self._done:
            self._done.remove(self._first)
            self.used -= self._costs.popleft()
            self._first += 1
        return self._first - before

    def free_oldest(self, count: int) -> None:
        """Take back the room of the ``count`` oldest blocks, as the consumer said."""
        for _ in range(count):
            self.free(self._first)


class Memory:
    """``capacity`` bytes that processes share by descriptor; pages are only taken once they are written."""

    def __init__(self, capacity: int, descriptor: int | None = None) -> None:
        self.capacity = -(-capacity // mmap.PAGESIZE) * mmap.PAGESIZE
        if descriptor is None:
            self.descriptor = os.memfd_create("chordfast", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.descriptor, self.capacity)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        else:
            self.descriptor = descriptor
        self._map = mmap.mmap(self.descriptor, self.capacity)
        self.view = memoryview(self._map)

    def close(self) -> None:
        """Give the memory back; arrays that still look at it keep it until they go."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            self.view = memoryview(b"")
            with contextlib.suppress(BufferError):  # of such arrays
                self._map.close()
