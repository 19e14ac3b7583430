"""The child side of a worker process: recordings in, features out as raw bytes. Imports no torch.

A damaged file can take down only this process. Messages go over one socket: a pickled set-up and then one JSON request
a song from the parent (which is trusted); a JSON header and the features' bytes back (which is not: a decoder that was
taken over must not be able to send a pickle).
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import signal
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .._native import native
from ..errors import AudioError, ChordfastError


def main(descriptor: int) -> None:
    """Serve requests on an inherited socket until the parent closes it."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    _die_with_parent()
    with Connection(descriptor) as channel, contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        setup = channel.recv()
        native()  # a build that does not load must end the run, not make every file unreadable
        _limit_memory(setup["memory_limit"])
        channel.send_bytes(b'{"ready":true}')
        while True:
            path = os.fsdecode(channel.recv_bytes())
            _forget_errors()
            header, features = process(path, setup["extract"], setup["plan"], setup["quality"])
            channel.send_bytes(json.dumps(header).encode("ascii"))
            if features is not None:
                channel.send_bytes(memoryview(np.ascontiguousarray(features, np.float32)).cast("B"))


def process(path: str, extract: Any, plan: Any, quality: str) -> tuple[dict[str, Any], Any]:
    """One recording to its header (outcome, note, seconds, CPU seconds, shape) and its features or None."""
    began = time.process_time()
    try:
        song = extract(path, plan, quality)
    except AudioError as error:
        return _failure(error.outcome, str(error), began), None
    except ChordfastError as error:
        return _failure("unreadable", str(error), began), None
    except MemoryError:
        return _failure("crashed", "out of memory in the worker; raise --memory-limit for very long files", began), None
    except Exception as error:
        return _failure("crashed", f"{type(error).__name__}: {error}", began), None
    features = song.features
    carried = song.outcome in ("ok", "truncated") and features.size > 0
    header = {
        "outcome": song.outcome,
        "note": song.note,
        "decoder": song.decoder,
        "seconds": song.duration,
        "cpu": song.seconds,
        "shape": list(features.shape) if carried else None,
    }
    return header, features if carried else None


def _failure(outcome: str, note: str, began: float) -> dict[str, Any]:
    spent = {"decode": time.process_time() - began}
    return {"outcome": outcome, "note": note, "decoder": "", "seconds": 0.0, "cpu": spent, "shape": None}


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


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, even by ``kill -9``; elsewhere the closed socket ends it."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
