"""The child side of a decoding worker: recordings in, features or samples out through the ring. Imports no torch.

A damaged file can take down only this process. What it says is in `chordfast.labelling.link`: blocks of features
(plans in their order) or of PCM while the recording is being read, then a JSON object with how it went.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import socket
import stat
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import trace
from .._native import native
from ..errors import AudioError, ChordfastError
from ..features.extraction import Song, extract_song, stream_pcm, stream_shifted, stream_song
from . import link
from .link import Filler, Producer, Units
from .process import become_child

_NOTE = 4000  # characters


def main(channel: int, setup_file: int, ring: int) -> None:
    """Serve requests on an inherited socket until the parent closes it."""
    become_child()
    with socket.socket(fileno=channel) as connection, contextlib.suppress(link.Closed):
        setup = link.load_setup(setup_file)
        native()  # a build that does not load must end the run, not make every file unreadable
        _limit_memory(setup["memory_limit"])
        producer = Producer(connection, ring, setup["ring"])
        producer.say(link.READY)
        read = _samples if setup["pcm"] else _features
        while True:
            request = producer.request()
            _forget_errors()
            path, _, semitones = request[1:].partition(b"\0")
            work = partial(read, semitones=int(semitones or 0), setup=setup, producer=producer)
            producer.say(link.END, process(os.fsdecode(path), work))


def read_whole(
    path: str, setup: dict[str, Any], semitones: int = 0
) -> tuple[dict[str, Any], tuple[np.ndarray, ...] | None]:
    """What the run is told about a recording, and its features, an array a plan, or None: for others' processes."""
    arrays: tuple[np.ndarray, ...] | None = None

    def read(path: str) -> tuple[Song, list[int]]:
        nonlocal arrays
        song = setup["extract"](path, setup["plans"], setup["quality"], **_shifted(semitones))
        arrays = song.features
        return song, [len(frames) for frames in song.features]

    return process(path, read), arrays


def process(path: str, read: Callable[[str], tuple[Song, list[int]]]) -> dict[str, Any]:
    """Read one recording; returns what the run is told about it. ``read`` gives the song and the rows of each array."""
    spent = {"hash": 0.0}
    began = mark = time.process_time()
    try:
        with trace.stage("hash"):
            source_hash = _source_hash(path)
        spent["hash"] = time.process_time() - mark
        song, rows = read(path)
    except AudioError as error:
        return _failure(error.outcome, str(error), began, spent)
    except ChordfastError as error:
        return _failure("unreadable", str(error), began, spent)
    except MemoryError:
        note = "out of memory in the worker; raise --memory-limit for very long files"
        return _failure("crashed", note, began, spent)
    except link.Closed:
        raise
    except Exception as error:
        return _failure("crashed", f"{type(error).__name__}: {error}", began, spent)
    return {
        "outcome": song.outcome,
        "note": song.note[:_NOTE],
        "decoder": song.decoder,
        "seconds": song.duration,
        "cpu": {**song.seconds, **spent},
        "hash": source_hash,
        "rows": rows,
    }


def _shifted(semitones: int) -> dict[str, int]:
    """What an extractor is told beyond the usual: one that cannot shift need not know of it."""
    return {"semitones": semitones} if semitones else {}


def _features(path: str, semitones: int, setup: dict[str, Any], producer: Producer) -> tuple[Song, list[int]]:
    plans, extract = setup["plans"], setup["extract"]
    units = Units(producer, [max(1, int(link.UNIT_SECONDS / plan.frame_period)) for plan in plans])
    if extract is extract_song:
        song = stream_song(path, plans, setup["quality"], units.take, semitones)
    else:
        song = extract(path, plans if len(plans) > 1 else plans[0], setup["quality"], **_shifted(semitones))
        arrays = song.features if isinstance(song.features, tuple) else (song.features,)
        for index, frames in enumerate(arrays):
            units.take(index, np.ascontiguousarray(frames, np.float32))
    mark = time.process_time()
    with trace.stage("ring"):
        for index in range(len(plans)):
            units.flush(index)
    song.seconds["ring"] = units.seconds + time.process_time() - mark
    return song, units.counts


def _samples(path: str, semitones: int, setup: dict[str, Any], producer: Producer) -> tuple[Song, list[int]]:
    """PCM as decoded, or the mono mix shifted; what needs the mix (silence) is found out where that is computed."""
    filler: Filler | None = None

    def begin(sample_rate: int, channels: int, dtype: np.dtype[Any]) -> None:
        nonlocal filler
        filler = Filler(producer, channels, dtype, int(link.UNIT_SECONDS * sample_rate))
        producer.say(link.START, link.PCM_FORM.pack(sample_rate, channels, dtype == np.float32))

    def take(pcm: np.ndarray) -> None:
        assert filler is not None
        filler.take(pcm)

    if semitones:
        song = stream_shifted(path, semitones, setup["plans"][0].sample_rate, begin, take)
    else:
        song = stream_pcm(path, begin, take)
    if filler is not None:
        filler.flush()
    return song, [filler.count if filler else 0]


def _source_hash(path: str) -> str:
    """SHA-256 of the file's bytes, hexadecimal; "" for what is no file or cannot be read: decoding says that better."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its other end
            return ""
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _failure(outcome: str, note: str, began: float, spent: dict[str, float]) -> dict[str, Any]:
    decode = max(0.0, time.process_time() - began - spent["hash"])
    return {
        "outcome": outcome, "note": note[:_NOTE], "decoder": "", "seconds": 0.0, "cpu": {"decode": decode, **spent},
        "hash": "", "rows": [],
    }  # fmt: skip


def _forget_errors() -> None:
    """Empty the file that is stderr here, so that it holds what this song says, not what the last one said."""
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)


def _limit_memory(limit: int | None) -> None:
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limit:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        ceiling = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))
