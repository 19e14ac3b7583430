"""What computes the model: one interface for threads of this process, processes on GPUs, and simulations.

Features or samples of songs go in, rows of the manifest come out. A device of ``pcm`` is given a song block by block
while it is being decoded; one without is given whole songs of features.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .finishing import Finished
from .summary import Job
from .use import Use
from .workers import Lease, Result


@dataclass(eq=False)
class Task:
    """A song on its way. ``deaths``: devices that died with it; ``lost``: its first blocks went with one of them."""

    job: Job
    device: Device | None = None
    deaths: int = 0
    lost: bool = False
    ended: bool = False
    seconds: float = 0.0


class Device(Protocol):
    """See the module; ``start`` comes first, ``close`` last, and everything is called from the run's main thread."""

    name: str
    pcm: bool
    use: Use
    outstanding: float
    """Seconds of audio it has been given and not finished."""

    failed: str
    """Why it takes no more songs for good, "" while it does."""

    def start(
        self, done: Callable[[Finished], None], wake: Callable[[], None], selector: selectors.BaseSelector
    ) -> None:  # fmt: skip
        """Begin. ``done`` takes each finished song, from any thread; ``wake`` makes the main thread come round.

        A device with a socket registers itself with ``selector``; its ``listen`` is called when there is a message.
        """

    def room(self) -> bool:
        """Whether it wants another song now."""

    def begin(self, task: Task) -> None:
        """A song will come block by block."""

    def block(self, task: Task, lease: Lease) -> None:
        """The next block of that song; to be freed soon, it keeps a worker's ring full."""

    def drop(self, task: Task) -> None:
        """That song will not be completed."""

    def end(self, task: Task, result: Result) -> None:
        """A song is complete: its last block has come, or ``result.features`` holds all of it."""

    def advance(self, last: bool) -> list[Task]:
        """Move on; ``last``: no more songs will come. Returns songs that must be done again from the beginning."""

    def settled(self) -> bool:
        """Whether nothing is under way."""

    def close(self) -> None:
        """Stop at once, or after the batch that runs."""
