"""PCM to posteriors on one torch device: ingest, constant-Q transform and model on ragged batches of whole songs.

On a GPU the blocks of a song are copied from pinned memory on a stream of their own while another stream computes, and
results come back asynchronously; nothing waits before they are asked for. On a CPU the same code runs step by step.
The device holds a song's samples until all of it is there, 10 MB a minute of 16-bit stereo.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .. import trace
from ..ops.cqt import cqt_flat
from ..ops.feature_plan import FeaturePlan
from ..ops.ingest import Quality, ingest_flat
from .workers import PcmFormat

if TYPE_CHECKING:
    from ..teachers import Recogniser


@dataclass
class Pcm:
    """A song on the device: its blocks [n, channels] in order."""

    serial: int
    format: PcmFormat
    blocks: list[Tensor] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(map(len, self.blocks)) / self.format.sample_rate


@dataclass
class Heard:
    """Of one song: mono samples, peak and non-finite ones among them; arrays by their place in `ARRAYS`, if any."""

    serial: int
    samples: int
    peak: float
    non_finite: int
    arrays: dict[int, np.ndarray]


POSTERIORS, FEATURES, AGREEMENT = range(3)
_Batch = list[tuple[int, int, dict[int, Tensor]]]


@dataclass
class Running:
    """A batch that the device is computing."""

    songs: _Batch
    peaks: Tensor
    non_finite: Tensor
    began: Any
    ended: Any

    def done(self) -> bool:
        return self.ended is None or bool(self.ended.query())

    def results(self) -> tuple[list[Heard], float]:
        """What was heard in every song, and the seconds the device took; waits for it."""
        if self.ended is not None:
            self.ended.synchronize()
            busy = self.began.elapsed_time(self.ended) / 1000
        else:
            busy = self.began
        peaks, bad = self.peaks.tolist(), self.non_finite.tolist()
        return [
            Heard(serial, samples, peak, count, {place: tensor.numpy() for place, tensor in arrays.items()})
            for (serial, samples, arrays), peak, count in zip(self.songs, peaks, bad, strict=True)
        ], busy


class Engine:
    """``recogniser`` as it is on ``device``; ``plans`` are its feature plans, then those that only the store wants.

    ``keep``: which plan's features are given back.
    """

    def __init__(
        self, recogniser: Recogniser, plans: Sequence[FeaturePlan], keep: int | None, quality: Quality, device: str
    ) -> None:
        self._recogniser = recogniser
        self._plans = tuple(plans)
        self._wanted = len(getattr(recogniser, "plans", (recogniser.plan,)))
        self._keep = keep
        self._quality: Quality = quality
        self.device = torch.device(device)
        self._on_gpu = self.device.type == "cuda"
        self._tensors = hasattr(recogniser, "on")  # takes and gives tensors on its device
        if self._on_gpu:
            torch.cuda.set_device(self.device)
            self._copying, self._computing = torch.cuda.Stream(self.device), torch.cuda.Stream(self.device)

    def upload(self, block: np.ndarray) -> Tensor:
        """A copy of PCM [n, channels] on the device; ``block`` may change as soon as this returns."""
        with trace.stage("upload"):
            if not self._on_gpu:
                return torch.from_numpy(block.copy())
            staged = torch.empty(block.shape, dtype=_TYPES[block.dtype], pin_memory=True)
            staged.numpy()[:] = block
            with torch.cuda.stream(self._copying):
                return staged.to(self.device, non_blocking=True)

    @contextlib.contextmanager
    def _stream(self) -> Iterator[None]:
        if not self._on_gpu:
            yield
            return
        self._computing.wait_stream(self._copying)
        with torch.cuda.stream(self._computing):
            yield

    def start(self, songs: Sequence[Pcm]) -> Running:
        """Compute a batch of songs; their blocks belong to it from here on."""
        with torch.inference_mode(), self._stream():
            began = self._now()
            mono, bad = self._mono(songs)
            samples = [len(song) for song in mono]
            peaks = torch.stack([_peak(song) for song in mono])
            found = self._posteriors(mono)
            batch = [
                (song.serial, count, {place: self._back(tensor) for place, tensor in arrays.items()})
                for song, count, arrays in zip(songs, samples, found, strict=True)
            ]
            peaks, bad = self._back(peaks), self._back(bad)
            ended = self._now()
        if not self._on_gpu:
            return Running(batch, peaks, bad, ended - began, None)
        return Running(batch, peaks, bad, began, ended)

    def _now(self) -> Any:
        if not self._on_gpu:
            return time.monotonic()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _back(self, tensor: Tensor) -> Tensor:
        """On its way to the host, in pinned memory where it comes from a GPU."""
        if not tensor.is_cuda:
            return tensor
        target = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return target.copy_(tensor, non_blocking=True)

    def _mono(self, songs: Sequence[Pcm]) -> tuple[list[Tensor], Tensor]:
        """Mono samples of every song, and its count of samples that are not finite; songs of one format go together."""
        groups: dict[PcmFormat, list[int]] = defaultdict(list)
        for place, song in enumerate(songs):
            groups[song.format].append(place)
        mono: list[Tensor] = [torch.empty(0)] * len(songs)
        counts: list[Tensor] = [torch.empty(0)] * len(songs)
        with trace.stage("ingest"):
            for form, places in groups.items():
                blocks = [block for place in places for block in songs[place].blocks]
                if self._on_gpu:
                    for block in blocks:  # made on the other stream: not to be reused before this one has read it
                        block.record_stream(self._computing)
                lengths = [sum(map(len, songs[place].blocks)) for place in places]
                pcm = torch.cat(blocks) if len(blocks) > 1 else blocks[0]
                offsets = np.cumsum([0, *lengths]).tolist()
                rate = self._plans[0].sample_rate
                flat, bounds, bad = ingest_flat(pcm, offsets, form.sample_rate, self._quality, rate)
                for place, first, end, count in zip(places, bounds[:-1], bounds[1:], bad, strict=True):
                    mono[place], counts[place] = flat[int(first) : int(end)], count
        return mono, torch.stack(counts)

    def _posteriors(self, mono: list[Tensor]) -> list[dict[int, Tensor]]:
        """Arrays of every song; none of one too short for a single hop."""
        hop = max(plan.hop for plan in self._plans)
        heard = [place for place, song in enumerate(mono) if len(song) >= hop]
        arrays: list[dict[int, Tensor]] = [{} for _ in mono]
        if not heard:
            return arrays
        samples = torch.cat([mono[place] for place in heard])
        offsets = np.cumsum([0, *(len(mono[place]) for place in heard)]).tolist()
        with trace.stage("cqt"):
            features = []
            for plan in self._plans:
                frames, bounds = cqt_flat(samples, offsets, plan)
                features.append(list(frames.split(np.diff(bounds.numpy()).tolist())))
        inputs = [parts if self._wanted > 1 else parts[0] for parts in zip(*features[: self._wanted], strict=True)]
        with trace.stage("model"):
            posteriors, agreement = self._recognise(inputs)
        for index, place in enumerate(heard):
            arrays[place][POSTERIORS] = posteriors[index]
            if agreement is not None:
                arrays[place][AGREEMENT] = agreement[index]
            if self._keep is not None:
                arrays[place][FEATURES] = features[self._keep][index]
        return arrays

    def _recognise(self, inputs: list[Any]) -> tuple[list[Tensor], list[Tensor] | None]:
        if not self._tensors:
            inputs = [_arrays(song) for song in inputs]
        if hasattr(self._recogniser, "recognise"):
            said = self._recogniser.recognise(inputs)
            agreement = None if said.agreement is None else list(map(torch.as_tensor, said.agreement))
            return list(map(torch.as_tensor, said.posteriors)), agreement
        return list(map(torch.as_tensor, self._recogniser.posteriors(inputs))), None


_TYPES = {np.dtype(np.int16): torch.int16, np.dtype(np.float32): torch.float32}


def _peak(mono: Tensor) -> Tensor:
    return mono.abs().amax() if len(mono) else mono.new_zeros(())


def _arrays(song: Any) -> Any:
    return tuple(part.cpu().numpy() for part in song) if isinstance(song, tuple) else song.cpu().numpy()
