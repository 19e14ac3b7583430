"""The parent side of the worker processes: start, hand out songs, take features back, notice deaths and hangs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing import BufferTooShort
from multiprocessing.connection import Connection
from typing import IO, Any

import numpy as np

from ..errors import ChordfastError

_BOOTSTRAP = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2]); "
    "from chordfast.labelling.worker import main; main(int(sys.argv[1]))"
)
# One thread a worker: the processes are the parallelism.
_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CHORDFAST_THREADS"), "1")
_LARGEST_HEADER = 1 << 20


@dataclass
class Result:
    """What a worker said about one song; ``features`` only where a model is to see it."""

    outcome: str
    note: str = ""
    decoder: str = ""
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    features: np.ndarray | None = None


class Worker:
    """One process; ``task`` is what it is busy with (any object), None when idle."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._setup = setup
        self.task: Any = None
        self._spawn()

    def _spawn(self) -> None:
        try:
            ours, theirs = socket.socketpair()
            self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
            arguments = [str(theirs.fileno()), json.dumps([os.fspath(entry) for entry in sys.path])]
            with theirs:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _BOOTSTRAP, *arguments],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    env={**os.environ, **_ENVIRONMENT},
                    process_group=0,  # a Ctrl-C at the terminal reaches the parent only
                )
        except OSError as error:
            raise ChordfastError(f"cannot start a worker process: {error.strerror}; try fewer --jobs") from error
        self.channel = Connection(ours.detach())
        self.ready = False
        self.started = time.monotonic()
        with contextlib.suppress(OSError):  # dead already: the first receive tells
            self.channel.send(self._setup)

    def submit(self, task: Any, path: str) -> None:
        """Hand out a song; only to an idle worker."""
        self.task = task
        self.started = time.monotonic()
        with contextlib.suppress(OSError):
            self.channel.send_bytes(os.fsencode(path))

    def receive(self) -> Result | None:
        """Take the next message: None for a sign of life, a Result for a song (also when the process has died).

        ChordfastError when the process died before it had started, because every later one would do the same.
        """
        try:
            header = json.loads(self.channel.recv_bytes(_LARGEST_HEADER))
            if header.get("ready"):
                self.ready = True
                self.started = time.monotonic()
                return None
            result = Result(
                str(header["outcome"]), str(header["note"]), str(header["decoder"]), float(header["seconds"]),
                {str(name): float(value) for name, value in header["cpu"].items()},
            )  # fmt: skip
            if header["shape"] is not None:
                frames, bins = map(int, header["shape"])
                result.features = np.empty((frames, bins), np.float32)
                if self.channel.recv_bytes_into(memoryview(result.features).cast("B")) != result.features.nbytes:
                    raise ValueError("fewer features than announced")
        except (EOFError, OSError, ValueError, KeyError, TypeError, AttributeError, BufferTooShort) as error:
            result = Result("crashed", self._death(error))
        self.task = None
        return result

    def _death(self, error: Exception) -> str:
        """Say how the process ended; one that lives on after breaking off or talking nonsense is killed."""
        broke_off = isinstance(error, EOFError | OSError)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2.0 if broke_off else 0)  # its own exit status, where it has one
        alive = self.process.poll() is None
        self.kill()
        code = self.process.returncode
        self._log.seek(0)
        words = self._log.read(4096).decode("utf-8", "replace").strip().splitlines()
        said = f" ({words[-1 if not self.ready else 0].strip()})" if words else ""
        if not self.ready:
            raise ChordfastError(f"a worker process could not start: exit code {code}{said}")
        if alive:
            return f"the worker process sent a malformed message: {error}{said}"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"the worker process {how}{said}"

    def kill(self) -> None:
        """End the process at once and reap it; safe to repeat."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if not self.channel.closed:
            self.channel.close()

    def close(self) -> None:
        self.kill()
        self._log.close()

    def restart(self) -> None:
        """A fresh process in place of a dead or hung one."""
        self.close()
        self.task = None
        self._spawn()


class Pool:
    """``count`` workers with one set-up: the extract function, the feature plan, the quality, the memory limit."""

    def __init__(self, count: int, setup: dict[str, Any], timeout: float | None) -> None:
        self.timeout = timeout
        self.workers: list[Worker] = []
        try:
            for _ in range(count):
                self.workers.append(Worker(setup))
        except ChordfastError:
            self.close()
            raise

    def idle(self) -> Iterable[Worker]:
        return (worker for worker in self.workers if worker.task is None)

    def busy(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.task is not None]

    def receive(self, worker: Worker) -> tuple[Any, Result] | None:
        """The task and result of a worker that has something to say; a dead one is replaced."""
        task = worker.task
        result = worker.receive()
        if result is None:
            return None
        if worker.channel.closed:
            worker.restart()
        return task, result

    def overdue(self) -> list[tuple[Any, Result]]:
        """Songs that took longer than the timeout; their workers are killed and replaced."""
        late: list[tuple[Any, Result]] = []
        if self.timeout is None:
            return late
        now = time.monotonic()
        for worker in self.busy():
            if worker.ready and now - worker.started > self.timeout and not worker.channel.poll():
                late.append((worker.task, Result("timeout", f"took longer than {self.timeout:g} s; see --timeout")))
                worker.restart()
        return late

    def close(self) -> None:
        for worker in self.workers:
            worker.task = None
            worker.close()
