"""Labelling on a Ray cluster: decoders on processors, models on processors or GPUs, the books with the caller.

    import ray
    from chordfast.integrations.ray import label_on_ray
    ray.init(address="auto")
    label_on_ray("/shared/music", "labels/", models=8, gpus_per_model=1)

Plans, manifest, store, resume and label files are those of `chordfast.label_folder`, and so are the bytes that are
written. Recordings must have the same paths on all nodes; labels are written where this runs. For many machines without
Ray there are shards (``chordfast label --num-shards``), which need nobody to be alive but themselves.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ChordfastError, UsageError
from ..labelling import LabellingInterrupted, Summary, label_folder
from ..labelling.finishing import Finished, Finisher
from ..labelling.manifest import Manifest
from ..labelling.progress import Progress
from ..labelling.recognise import find_recogniser, plans_for, recognise
from ..labelling.summary import Job
from ..labelling.use import Use
from ..labelling.worker import read_whole
from ..labelling.workers import HEARD, Result

try:
    import ray
    from ray.exceptions import GetTimeoutError, RayError, RayTaskError
except ImportError as error:
    raise UsageError("labelling on Ray needs ray: pip install 'chordfast[ray]'") from error

_DEATHS = 2  # actors that may die with a song before it is given up
_TICK = 0.5  # seconds between looks at songs that take too long


class _Decoder:
    """Stage 1, an actor a processor: one recording to its header and its features."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._setup = setup

    def started(self) -> bool:
        return True

    def read(self, path: bytes, semitones: int) -> tuple[dict[str, Any], Any]:
        return read_whole(os.fsdecode(path), self._setup, semitones)


class _Model:
    """Stage 2, an actor a GPU (or processor): features of several songs to posteriors and agreement."""

    def __init__(self, model: Any, offline: bool, device: str) -> None:
        from ..labelling.on_device import recogniser_on

        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._recogniser = recogniser_on(find_recogniser(model, offline), device, "fp32")
        self._wanted = len(plans_for(self._recogniser))
        if device == "cpu":
            import torch

            torch.set_num_threads(1)

    def started(self) -> bool:
        return True

    def compute(self, *songs: Any) -> list[tuple[Any, Any]]:
        inputs = [song[: self._wanted] if self._wanted > 1 else song[0] for song in songs]
        heard = recognise(self._recogniser, inputs)
        agreement: list[Any] = [None] * len(songs) if heard.agreement is None else list(heard.agreement)
        return list(zip(heard.posteriors, agreement, strict=True))


@dataclass(eq=False)
class _Song:
    job: Job
    deaths: int = 0
    began: float = 0.0
    result: Result | None = None
    frames: int = 0
    features: Any = None  # reference in Ray's object store


@dataclass
class _Cluster:
    """How the stages are spread: actors of each, resources of a model actor, frames a batch."""

    model: Any
    offline: bool
    decoders: int
    models: int
    gpus_per_model: float
    batch_frames: int


@dataclass
class _Actor:
    """An actor and what it is at: a song or a batch."""

    make: Any
    handle: Any = None
    task: Any = None
    reference: Any = None
    use: Use = field(default_factory=lambda: Use("ray"))

    def __post_init__(self) -> None:
        self.handle = self.make()

    def again(self) -> None:
        """Another actor in place of one that died or hangs."""
        ray.kill(self.handle, no_restart=True)
        self.handle = self.make()


@dataclass
class RayRunner:
    """A run of `label_folder` on a cluster; takes what `chordfast.labelling.runner.Runner` takes, and ``cluster``."""

    cluster: _Cluster
    summary: Summary
    manifest: Manifest
    finisher: Finisher
    devices: Any
    plans: tuple[Any, ...]
    extract: Any
    quality: str
    workers: int
    threads: int
    timeout: float | None
    memory_limit: int | None
    fail_fast: bool
    progress: bool | str

    def run(self) -> None:
        """Label every planned job; LabellingInterrupted after Ctrl-C, ChordfastError when the cluster is lost."""
        self._waiting = deque(_Song(job) for job in self.summary.planned)
        self._ready: list[_Song] = []
        began = time.monotonic()
        setup = {"extract": self.extract, "plans": self.plans, "quality": self.quality}
        decoder = ray.remote(num_cpus=1)(_Decoder)
        where = self.cluster
        device = "cuda" if where.gpus_per_model else "cpu"
        model = ray.remote(num_cpus=0 if where.gpus_per_model else 1, num_gpus=where.gpus_per_model)(_Model)
        shared = where.model if isinstance(where.model, str) else ray.put(where.model)
        try:
            count = min(where.decoders, len(self.summary.planned))
            self._decoders = [_Actor(partial(decoder.remote, setup)) for _ in range(count)]
            self._models = [_Actor(partial(model.remote, shared, where.offline, device)) for _ in range(where.models)]
            self._await_start()
            self.summary.devices = [actor.use for actor in self._models]
            with Progress(self.summary, self.progress) as self._progress:
                self._loop()
        except KeyboardInterrupt:
            raise LabellingInterrupted(2, self.summary) from None
        except ConnectionError as error:
            raise ChordfastError(
                f"the connection to the Ray cluster is lost ({error}); start again, what is done is kept"
            ) from error
        finally:
            for actor in (*getattr(self, "_decoders", ()), *getattr(self, "_models", ())):
                ray.kill(actor.handle, no_restart=True)
            self.summary.wall = time.monotonic() - began

    def _await_start(self) -> None:
        """What keeps an actor from starting (no chordfast on a node, no weights) would otherwise fail every song."""
        try:
            ray.get([actor.handle.started.remote() for actor in (*self._decoders, *self._models)])
        except RayError as error:
            cause = getattr(error, "cause", None) or error
            why = cause if isinstance(cause, ChordfastError) else str(error).strip().splitlines()[-1]
            raise ChordfastError(f"an actor could not start on the Ray cluster: {why}") from error

    def _loop(self) -> None:
        while True:
            self._hand_out()
            busy = {actor.reference: actor for actor in (*self._decoders, *self._models) if actor.task is not None}
            if not busy:
                return
            if self.fail_fast and self.summary.stopped_early:
                return
            done, _ = ray.wait(list(busy), num_returns=1, timeout=_TICK, fetch_local=False)
            for reference in done:
                actor = busy[reference]
                (self._read if isinstance(actor.task, _Song) else self._computed)(actor)
            self._end_late()
            self._progress.tick()

    def _hand_out(self) -> None:
        """Songs to idle decoders while few frames wait for a model, batches to idle models."""
        where = self.cluster
        for actor in self._decoders:
            waiting = sum(song.frames for song in self._ready)
            if actor.task is None and self._waiting and waiting < (where.models + 1) * where.batch_frames:
                song = actor.task = self._waiting.popleft()
                song.began = time.monotonic()
                request = os.fsencode(song.job.source.path), song.job.source.semitones
                actor.reference, song.features = actor.handle.read.options(num_returns=2).remote(*request)
        last = not self._waiting and all(actor.task is None for actor in self._decoders)
        for actor in self._models:
            enough = sum(song.frames for song in self._ready) >= where.batch_frames
            if actor.task is None and self._ready and (last or enough):
                batch = [self._ready.pop(0)]
                while self._ready and sum(song.frames for song in (*batch, self._ready[0])) <= where.batch_frames:
                    batch.append(self._ready.pop(0))
                actor.task = batch
                actor.reference = actor.handle.compute.remote(*(song.features for song in batch))

    def _read(self, actor: _Actor) -> None:
        """A decoder is through with its song, or has died with it."""
        song, actor.task = actor.task, None
        try:
            header = ray.get(actor.reference)
        except RayError as error:
            actor.again()
            self._died(song, error)
            return
        rows = header.pop("rows")
        song.result = Result(source_hash=header.pop("hash"), **header)
        heard = song.result.outcome in HEARD and all(rows)
        song.frames = min(rows) if heard else 0
        row = self.finisher.row(song.job, song.result)
        if not heard:
            self.summary.stopped_early |= self.fail_fast and row.failed
            self._book(Finished(song.job, song.result))
        else:
            self._ready.append(song)

    def _computed(self, actor: _Actor) -> None:
        batch, actor.task = actor.task, None
        try:
            found = ray.get(actor.reference)
            # From another node only where a store wants them.
            kept = ray.get([song.features for song in batch]) if self.finisher.store is not None else None
        except RayError as error:  # a model died, or the node that held the features
            if isinstance(error, RayTaskError) and not isinstance(error.cause, RayError):
                # The model's own complaint is the same on every node.
                raise error.cause if isinstance(error.cause, ChordfastError) else error from None
            actor.again()
            for song in batch:
                self._died(song, error)
            return
        for index, (song, (posteriors, agreement)) in enumerate(zip(batch, found, strict=True)):
            features = None if kept is None else kept[index][self._stored]
            assert song.result is not None
            self._book(Finished(song.job, song.result, posteriors, agreement, features, "ray"))
            actor.use.files += 1
            actor.use.audio += song.result.seconds
            song.features = None  # Ray may forget them

    @property
    def _stored(self) -> int:
        from ..ops.feature_plan import BTC

        return self.plans.index(BTC)

    def _died(self, song: _Song, error: RayError) -> None:
        """From the beginning, elsewhere; unless that happens too often with this song."""
        song.deaths += 1
        song.features = song.result = None
        song.frames = 0
        if song.deaths < _DEATHS:
            self._waiting.appendleft(song)
            return
        why = str(error).strip().splitlines()[0]
        self._book(Finished(song.job, Result("crashed", f"{song.deaths} Ray actors ended with this song: {why}")))

    def _end_late(self) -> None:
        for actor in self._decoders:
            song = actor.task
            if self.timeout is None or song is None or time.monotonic() - song.began < self.timeout:
                continue
            try:
                ray.get(actor.reference, timeout=0)  # finished after all, or not
            except GetTimeoutError:
                actor.task = None
                actor.again()
                self._book(Finished(song.job, Result("timeout", f"took longer than {self.timeout:g} s")))
            except RayError:
                pass  # the next round hears of it

    def _book(self, song: Finished) -> None:
        row = self.finisher.finish(song)
        row.cpu = {name: round(value, 6) for name, value in row.cpu.items()}
        self.manifest.append(row)
        self.summary.add(row)
        if row.failed:
            self._progress.failed(row)


def label_on_ray(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    model: Any = "btc",
    *,
    decoders: int | None = None,
    models: int = 1,
    gpus_per_model: float = 0,
    batch_frames: int = 1 << 14,
    offline: bool = False,
    **settings: Any,
) -> Summary:
    """Label files and folders on the Ray cluster this process is connected to (``ray.init`` first).

    Args:
        inputs, out, model, offline, and ``settings``: as for `chordfast.label_folder` (formats, store, timeout, ...).
        decoders: actors that read recordings and compute features, a processor each; default: the cluster's
            processors less those of the models. models: actors of the network, on ``gpus_per_model`` GPUs each, or on a
            processor where that is 0. jobs, threads and memory_limit mean nothing here: that is the cluster's matter.
        batch_frames: frames a model sees at once; decoders rest while more than a batch a model waits.

    An actor that dies is replaced and its song or batch done again, a song with which two have died is booked as
    "crashed". Raises UsageError when Ray is not initialised or the cluster has too little, and as label_folder does.
    """
    if not ray.is_initialized():
        raise UsageError("Ray is not initialised; call ray.init(address=...) first")
    there = ray.cluster_resources()
    own = models if not gpus_per_model else 0
    if decoders is None:
        decoders = max(1, int(there.get("CPU", 0)) - own)
    for name, wanted in (("CPU", decoders + own), ("GPU", models * gpus_per_model)):
        if wanted > there.get(name, 0):
            raise UsageError(
                f"{decoders} decoders and {models} models want {wanted:g} {name}, the Ray cluster has "
                f"{there.get(name, 0):g}; ask for fewer, or add nodes"
            )
    shown = os.fspath(model) if isinstance(model, str | os.PathLike) else model
    cluster = _Cluster(shown, offline, decoders, models, gpus_per_model, batch_frames)
    given = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    return label_folder(
        [Path(name) for name in given], out, model, offline=offline, batch_frames=batch_frames,
        runner=partial(RayRunner, cluster), **settings,
    )  # fmt: skip
