"""The ring: places, order of freeing, bounds; and arrays that travel through it in another process."""

from __future__ import annotations

import os
import socket
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chordfast.labelling import link
from chordfast.labelling.link import Filler, Producer, Units
from chordfast.labelling.ring import ALIGNMENT, Cursor, Memory


def test_places_follow_each_other_and_wrap() -> None:
    cursor = Cursor(1024)
    assert cursor.place(500) == (0, 0)
    assert cursor.place(300) == (512, 1)
    assert cursor.place(256) is None  # 192 bytes are left at the end, 0 at the start
    assert cursor.free(0) == 1
    assert cursor.place(256) == (0, 2)
    assert cursor.used == 1024 - 512 + 256
    with pytest.raises(ValueError, match="513 bytes does not fit"):
        cursor.place(513)


def test_room_comes_back_in_order() -> None:
    cursor = Cursor(1024)
    for number in range(4):
        assert cursor.place(200) == (256 * number, number)
    assert cursor.free(2) == 0
    assert cursor.free(1) == 0
    assert cursor.place(64) is None
    assert cursor.free(0) == 3
    assert cursor.used == 256
    for number in (0, 2, 4, -1):
        with pytest.raises(ValueError, match="is not in the ring"):
            cursor.free(number)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2048), st.integers(0, 5)), max_size=60))
def test_blocks_never_overlap_and_both_sides_agree(steps: list[tuple[int, int]]) -> None:
    mine, theirs = Cursor(4096), Cursor(4096)
    live: dict[int, tuple[int, int]] = {}
    for size, pick in steps:
        place = mine.place(size)
        assert place == theirs.place(size)
        if place is not None:
            offset, number = place
            assert 0 <= offset <= offset + size <= 4096
            assert offset % ALIGNMENT == 0
            assert all(offset + size <= first or offset >= end for first, end in live.values())
            live[number] = (offset, offset + size)
        if live and (place is None or pick):
            number = sorted(live)[pick % len(live)]
            del live[number]
            theirs.free_oldest(mine.free(number))
    for number in list(live):
        theirs.free_oldest(mine.free(number))
    assert mine.used == theirs.used == 0
    assert mine.place(mine.largest) is not None  # the largest block fits an empty ring wherever the head is


def test_memory_cannot_be_shrunk() -> None:
    memory = Memory(10_000)
    assert memory.capacity == 12288
    for size in (0, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(memory.descriptor, size)
    memory.close()
    memory.close()


class Reader:
    """The run's end of a producer in a thread: reads every unit and frees it."""

    def __init__(self, capacity: int) -> None:
        self.channel, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.memory = Memory(capacity)
        self.cursor = Cursor(self.memory.capacity)
        self.producer = Producer(self.theirs, os.dup(self.memory.descriptor), self.memory.capacity)
        self.sizes: list[int] = []

    def read(self, width: int, dtype: type) -> np.ndarray:
        parts = []
        while (message := link.receive(self.channel))[:1] == link.UNIT:
            _, rows, room = link.UNIT_FORM.unpack(message[1:])
            place = self.cursor.place(room * width * np.dtype(dtype).itemsize)
            assert place is not None
            start = self.memory.view[place[0] :]
            parts.append(np.frombuffer(start, dtype, rows * width).reshape(rows, width).copy())
            self.sizes.append(rows)
            link.send(self.channel, link.FREED, link.FREED_FORM.pack(self.cursor.free(place[1])))
        return np.concatenate(parts)


def test_arrays_arrive_whole_through_a_small_ring() -> None:
    reader = Reader(16384)
    array = np.random.default_rng(0).standard_normal((5000, 7)).astype(np.float32)

    def produce() -> None:
        units = Units(reader.producer, [100])
        for first in range(0, 5000, 37):
            units.take(0, array[first : first + 37])
        units.flush(0)
        assert units.counts == [5000]
        reader.producer.say(link.END)

    thread = threading.Thread(target=produce)
    thread.start()
    np.testing.assert_array_equal(reader.read(7, np.float32), array)
    thread.join()
    assert max(reader.sizes) <= 146  # a quarter of the ring


def test_samples_are_written_into_blocks_of_the_ring() -> None:
    reader = Reader(16384)
    pcm = np.random.default_rng(0).integers(-32768, 32767, (20_001, 2), np.int16)

    def produce() -> None:
        filler = Filler(reader.producer, 2, np.dtype(np.int16), 1000)
        for first in range(0, len(pcm), 1717):
            filler.take(pcm[first : first + 1717])
        filler.flush()
        filler.flush()
        reader.producer.say(link.END)

    thread = threading.Thread(target=produce)
    thread.start()
    np.testing.assert_array_equal(reader.read(2, np.int16), pcm)
    thread.join()
    assert reader.sizes == [1000] * 20 + [1]


def test_requests_that_come_while_waiting_for_room_are_kept() -> None:
    reader = Reader(4096)
    link.send(reader.channel, link.SONG, link.FREED_FORM.pack(0), b"next")
    thread = threading.Thread(target=lambda: reader.producer.put(0, np.zeros((4, 1024), np.uint8)))
    thread.start()
    link.send(reader.channel, link.SONG, link.FREED_FORM.pack(0), b"after")
    for _ in range(4):
        link.receive(reader.channel)
        place = reader.cursor.place(1024)
        assert place is not None
        link.send(reader.channel, link.FREED, link.FREED_FORM.pack(reader.cursor.free(place[1])))
    thread.join()
    assert reader.producer.request() == b"snext"
    assert reader.producer.request() == b"safter"
    reader.channel.close()
    with pytest.raises(link.Closed):
        reader.producer.request()
