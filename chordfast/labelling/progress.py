"""Progress on stderr: a live bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import IO, Any

from .manifest import Row
from .summary import Summary, span

PLAIN_INTERVAL = 5.0  # seconds between lines where there is no terminal, in the first minute; later
LONG_INTERVAL = 30.0
LIVE_INTERVAL = 0.2


class Progress:
    """Says how far a run is. ``show=False`` says nothing; used as a context manager."""

    def __init__(self, summary: Summary, show: bool | str = True, stream: IO[str] | None = None) -> None:
        self.summary = summary
        self.stream = stream if stream is not None else sys.stderr
        self.show = show = show not in (False, "none")
        self.files = len(summary.planned)
        self.total = sum(job.source.size for job in summary.planned)
        self.began = time.monotonic()
        self._next = self.began + PLAIN_INTERVAL
        self._bar: Any = None
        self._task: Any = None
        if show and self.stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                BarColumn(), TextColumn("{task.description}", markup=False), console=Console(file=self.stream),
                transient=True, auto_refresh=False,
            )  # fmt: skip
            self._task = self._bar.add_task(self.status(), total=max(self.total, 1))
            self._next = self.began

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def status(self) -> str:
        """``120/1000 files, 8.20 h of audio, 650 x real time, 12 min 03 s left, 3 failed``"""
        summary, elapsed = self.summary, time.monotonic() - self.began
        text = [f"{summary.labelled}/{self.files} files", f"{summary.audio / 3600:.2f} h of audio"]
        if summary.audio and elapsed > 0:
            text.append(f"{summary.audio / elapsed:.0f} x real time")
        # Bytes stand in for hours, which nobody knows before decoding.
        if summary.bytes and summary.labelled < self.files:
            text.append(f"{span(elapsed * (self.total - summary.bytes) / summary.bytes)} left")
        if failed := sum(row.failed for row in summary.failures):
            text.append(f"{failed} failed")
        return ", ".join(text)

    def failed(self, row: Row) -> None:
        """Report a failure when it happens."""
        self._say(f"{row.outcome}: {row.path}: {row.note}")

    def tick(self) -> None:
        """Called from the main loop, often; prints only when it is time."""
        now = time.monotonic()
        if not self.show or now < self._next:
            return
        if self._bar is not None:
            self._next = now + LIVE_INTERVAL
            self._bar.update(self._task, completed=self.summary.bytes, description=self.status(), refresh=True)
        else:
            self._next = now + (PLAIN_INTERVAL if now < self.began + 60 else LONG_INTERVAL)
            self._say(self.status())

    def _say(self, text: str) -> None:
        if not self.show:
            return
        safe = text.encode("utf-8", "backslashreplace").decode("utf-8")  # file names need not be valid text
        if self._bar is not None:
            self._bar.console.print(safe, markup=False, highlight=False, soft_wrap=True)
        else:
            print(safe, file=self.stream, flush=True)
