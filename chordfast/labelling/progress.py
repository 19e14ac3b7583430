"""Progress on stderr: live bars on a terminal, elsewhere a JSON object a line every few seconds."""

from __future__ import annotations

import json
import sys
import time
from typing import IO, Any

from ..errors import UsageError
from .manifest import Row
from .summary import Summary, span
from .use import Use

MODES = ("auto", "rich", "json", "plain", "none")
LINE_INTERVAL = 5.0  # seconds between lines where there is no terminal, in the first minute; later
LONG_INTERVAL = 30.0
LIVE_INTERVAL = 0.2


def check_mode(mode: bool | str) -> str:
    """One of `MODES`; True is "auto", False "none". UsageError for another word."""
    if isinstance(mode, bool):
        return "auto" if mode else "none"
    if mode not in MODES:
        raise UsageError(f"unknown progress {mode!r}; choose from {', '.join(MODES)}")
    return mode


class Progress:
    """Says how far a run is; a context manager. "auto" is "rich" on a terminal and "json" elsewhere."""

    def __init__(self, summary: Summary, mode: bool | str = True, stream: IO[str] | None = None) -> None:
        self.summary = summary
        self.stream = stream if stream is not None else sys.stderr
        self.mode = check_mode(mode)
        if self.mode == "auto":
            self.mode = "rich" if self.stream.isatty() else "json"
        self.files = len(summary.planned)
        self.total = sum(job.source.size for job in summary.planned)
        self.began = time.monotonic()
        self._next = self.began + (0.0 if self.mode == "rich" else LINE_INTERVAL)
        self._bars: _Bars | None = None

    def __enter__(self) -> Progress:
        if self.mode == "rich":
            self._bars = _Bars(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()
        elif self.mode == "json" and self.summary.labelled:
            self._say_json("end", **self._numbers())

    @property
    def left(self) -> float | None:
        """Seconds; None while nothing is known. Bytes stand in for hours, which nobody knows before decoding."""
        done = self.summary.bytes
        if not done or self.summary.labelled >= self.files:
            return None
        return (time.monotonic() - self.began) * (self.total - done) / done

    def status(self) -> str:
        """``120/1000 files, 8.20 h of audio, 650 x real time, 12 min 03 s left, 3 failed``"""
        summary, elapsed = self.summary, time.monotonic() - self.began
        text = [f"{summary.labelled}/{self.files} files", f"{summary.audio / 3600:.2f} h of audio"]
        if summary.audio and elapsed > 0:
            text.append(f"{summary.audio / elapsed:.0f} x real time")
        if (left := self.left) is not None:
            text.append(f"{span(left)} left")
        if failed := self._failed():
            text.append(f"{failed} failed")
        return ", ".join(text)

    def failed(self, row: Row) -> None:
        """Report a failure when it happens."""
        if self.mode == "json":
            self._say_json("failed", path=row.path, outcome=row.outcome, note=row.note)
        else:
            self._say(f"{row.outcome}: {row.path}: {row.note}")

    def tick(self) -> None:
        """Called from the main loop, often; says something only when it is time."""
        now = time.monotonic()
        if self.mode == "none" or now < self._next:
            return
        if self._bars is not None:
            self._next = now + LIVE_INTERVAL
            self._bars.update()
            return
        self._next = now + (LINE_INTERVAL if now < self.began + 60 else LONG_INTERVAL)
        if self.mode == "json":
            self._say_json("progress", **self._numbers())
        else:
            self._say("; ".join([self.status(), *map(device_status, pools(self.summary))]))

    def _failed(self) -> int:
        return sum(row.failed for row in self.summary.failures)

    def _numbers(self) -> dict[str, Any]:
        elapsed, left = time.monotonic() - self.began, self.left
        return {
            "files": self.summary.labelled, "of": self.files, "hours": round(self.summary.audio / 3600, 4),
            "speed": round(self.summary.audio / elapsed, 1) if elapsed > 0 else 0.0, "failed": self._failed(),
            "seconds": round(elapsed, 1), "left": None if left is None else round(left, 1),
            "devices": [
                {"name": use.name, "files": use.files, "hours": round(use.audio / 3600, 4),
                 "speed": round(use.speed, 1), "idle": round(use.idle, 3)}
                for use in self.summary.devices
            ],
        }  # fmt: skip

    def _say_json(self, event: str, **values: Any) -> None:
        print(json.dumps({"event": event, **values}), file=self.stream, flush=True)  # pure ASCII, whatever a path holds

    def _say(self, text: str) -> None:
        if self.mode == "none":
            return
        safe = text.encode("utf-8", "backslashreplace").decode("utf-8")  # file names need not be valid text
        if self._bars is not None:
            self._bars.print(safe)
        else:
            print(safe, file=self.stream, flush=True)


def pools(summary: Summary) -> list[Use]:
    """The devices worth a line of their own: those that are not threads of this process."""
    return [use for use in summary.devices if use.name != "cpu"]


def device_status(use: Use) -> str:
    """``cuda:0: 12 files, 0.80 h, 9000 x real time, idle 12 %``"""
    return f"{use.name}: {use.files} files, {use.audio / 3600:.2f} h, {use.speed:.0f} x real time, idle {use.idle:.0%}"


class _Bars:
    """A bar for the run and one for each device, filled as far as it is busy."""

    def __init__(self, progress: Progress) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        self._progress = progress
        self._bars = Bars(
            BarColumn(), TextColumn("{task.description}", markup=False), console=Console(file=progress.stream),
            transient=True, auto_refresh=False,
        )  # fmt: skip
        self._run = self._bars.add_task(progress.status(), total=max(progress.total, 1))
        self._devices = [self._bars.add_task(use.name, total=1.0) for use in pools(progress.summary)]
        self._bars.start()

    def update(self) -> None:
        summary = self._progress.summary
        for task, use in zip(self._devices, pools(summary), strict=True):
            self._bars.update(task, completed=1.0 - use.idle, description=device_status(use))
        self._bars.update(self._run, completed=summary.bytes, description=self._progress.status(), refresh=True)

    def print(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        self._bars.stop()
