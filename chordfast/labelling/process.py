"""The parent side of a child process: start it, talk to it through a socket and a ring, say how it ended."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import IO, Any

import numpy as np

from ..errors import ChordfastError
from . import link
from .ring import Cursor, Memory

_BOOTSTRAP = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[5]); "
    "from importlib import import_module as load; load(sys.argv[1]).main(*map(int, sys.argv[2:5]))"
)
BUSY_WAIT = 2.0  # seconds a process may take to end after it broke off


class Child:
    """A Python process of its own with ``module.main(socket, set-up, ring)``; its ring carries arrays to us."""

    module = ""
    what = "process"
    environment: dict[str, str] = {}  # noqa: RUF012 - replaced, never changed

    def __init__(self, setup: dict[str, Any], ring: int) -> None:
        self._setup = setup
        self._ring = ring
        self._spawn()

    def _spawn(self) -> None:
        try:
            self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.memory = Memory(self._ring)
            self.cursor = Cursor(self.memory.capacity)
            self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
            setup = link.store_setup({**self._setup, "ring": self.memory.capacity})
            numbers = [theirs.fileno(), setup, self.memory.descriptor]
            search = json.dumps([os.fspath(entry) for entry in sys.path])
            with theirs, os.fdopen(setup, "rb"):
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _BOOTSTRAP, self.module, *map(str, numbers), search],
                    pass_fds=numbers,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    env={**os.environ, **self.environment},
                    process_group=0,  # a Ctrl-C at the terminal reaches the parent only
                )
        except OSError as error:
            hint = "raise the file size limit (ulimit -f)" if error.errno == errno.EFBIG else "try fewer --jobs"
            raise ChordfastError(f"cannot start a {self.what}: {error.strerror}; {hint}") from error
        self.ready = False
        self.closed = False
        self.owed = self._owed_bytes = 0
        self.started = time.monotonic()

    def tell(self, *parts: bytes) -> None:
        """Send a request without waiting; a process that is gone or does not read shows at the next `hear`."""
        with contextlib.suppress(OSError):
            self.channel.sendmsg(parts, (), socket.MSG_DONTWAIT)

    def hear(self) -> bytes | None:
        """The next message, None when there is none now; link.Closed when the process has gone."""
        try:
            return link.receive(self.channel, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def place(self, size: int) -> tuple[int, int]:
        """Offset and number of the ring's next block; ValueError when the process claims more than there is room."""
        place = self.cursor.place(size)
        if place is None:
            raise ValueError("more data than the ring holds")
        return place

    def free(self, number: int) -> None:
        """Let the process have the room of a block again: it hears of it in time, not block by block."""
        before = self.cursor.used
        self.owed += self.cursor.free(number)
        self._owed_bytes += before - self.cursor.used
        if self._owed_bytes > self.cursor.capacity // 4:
            self.settle()

    def settle(self) -> None:
        """Tell the process of blocks that are free; while it does not read, that waits for another call."""
        if self.owed and not self.closed:
            try:
                self.channel.sendmsg([link.FREED, link.FREED_FORM.pack(self.owed)], (), socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                pass  # it has gone, as the next `hear` will show
            self.owed = self._owed_bytes = 0

    def request(self, body: bytes) -> None:
        """Ask for the next piece of work; free blocks are told of with it."""
        self.tell(link.SONG, link.FREED_FORM.pack(self.owed), body)
        self.owed = self._owed_bytes = 0

    def take(self, rows: int, room: int, width: int, dtype: Any) -> np.ndarray:
        """A copy of the next block, of ``room`` rows, as [rows, width]."""
        if rows > room:
            raise ValueError("more rows than the block has")
        size = room * width * np.dtype(dtype).itemsize
        offset, number = self.place(size)
        array = np.frombuffer(self.memory.view[offset : offset + size], dtype).reshape(room, width)[:rows].copy()
        self.free(number)
        return array

    def death(self, error: Exception) -> str:
        """Say how the process ended; one that lives on after breaking off or talking nonsense is killed.

        ChordfastError when it died before it had started, because every later one would do the same.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(BUSY_WAIT if isinstance(error, link.Closed) else 0)  # its own exit status if it has one
        alive = self.process.poll() is None
        self.kill()
        code = self.process.returncode
        self._log.seek(0)
        words = self._log.read(4096).decode("utf-8", "replace").strip().splitlines()
        said = f" ({words[-1 if not self.ready else 0].strip()})" if words else ""
        if not self.ready:
            raise ChordfastError(f"a {self.what} could not start: exit code {code}{said}")
        if alive:
            return f"the {self.what} sent a malformed message: {error}{said}"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"the {self.what} {how}{said}"

    def kill(self) -> None:
        """End the process at once and reap it; safe to repeat."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.closed = True
        self.channel.close()
        self.memory.close()

    def close(self) -> None:
        self.kill()
        self._log.close()

    def restart(self) -> None:
        """A fresh process with a fresh ring in place of a dead or hung one."""
        self.close()
        self._spawn()


def become_child() -> None:
    """In a child: leave Ctrl-C to the parent, show where a crash happened, and die when the parent dies."""
    import faulthandler

    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; elsewhere the closed socket ends it
