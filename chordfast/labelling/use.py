"""How much a device has done, and how much of the time it had nothing to do."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Use:
    """What a device has done: songs, seconds of audio, and seconds it was busy, of those since its first song came."""

    name: str
    files: int = 0
    audio: float = 0.0
    busy: float = 0.0
    since: float = field(default_factory=time.monotonic)
    until: float | None = None
    begun: bool = False

    def begin(self) -> None:
        """A song has come; the first one starts the clock."""
        if not self.begun:
            self.begun, self.since = True, time.monotonic()

    @property
    def idle(self) -> float:
        """Share of the time, 0 ... 1, in which it had nothing to do."""
        elapsed = (self.until or time.monotonic()) - self.since
        return min(1.0, max(0.0, 1.0 - self.busy / elapsed)) if elapsed > 0 else 0.0

    @property
    def speed(self) -> float:
        """Seconds of audio per second."""
        elapsed = (self.until or time.monotonic()) - self.since
        return self.audio / elapsed if elapsed > 0 else 0.0
