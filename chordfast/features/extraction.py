"""From a file or samples to constant-Q features, streamed: memory grows with the features, not with the samples.

Several feature plans of one recording come out of one pass: it is decoded, mixed down and resampled once.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, get_args

import numpy as np

from .. import trace
from ..audio import open_audio
from ..errors import UsageError
from ..ops.cqt import CqtStream, cqt
from ..ops.feature_plan import BTC, FeaturePlan
from ..ops.hybrid_plan import HybridPlan
from ..ops.ingest import Quality, ingest
from .hybrid import HybridExtractor
from .mono import Mono, decoder_name, how_it_ended, replaced

SILENCE_PEAK = 1e-4
"""Mono peak (full scale 1) below which a recording is silent: -80 dBFS, three steps of 16 bits, more than dither."""

Plans = FeaturePlan | Sequence[FeaturePlan]
Sink = Callable[[int, np.ndarray], None]
"""Called with a plan's position and frames float32 [t, n_bins] that follow the earlier ones of that plan."""


class Extractor(Protocol):
    """Mono samples of one recording in, frames of one plan out."""

    def push(self, x: np.ndarray) -> np.ndarray | None:
        """Take float32 [n]; return the frames that became complete, [t, n_bins], or None."""

    def finish(self) -> np.ndarray:
        """The remaining frames [t, n_bins]."""


def extractor_for(plan: FeaturePlan, quality: Quality = "relaxed") -> Extractor:
    """What computes the features of ``plan`` from mono samples at its rate, resampled with ``quality``."""
    return HybridExtractor(plan) if isinstance(plan, HybridPlan) else CqtStream(plan)


@dataclass
class Song:
    """Features of one recording and how reading it went.

    features float32 [T, n_bins], for several plans a tuple of such arrays in their order; n_samples of mono audio at
    the plan's rate; duration in s of what could be read; outcome "ok", "truncated" (labelled as far as it goes),
    "silent", "too_short" (less than one hop); note: what was odd about it, or ""; seconds: CPU seconds of "decode",
    "ingest" and "cqt"; peak of the mono mix, full scale 1; decoder: which library read it.
    """

    features: Any
    n_samples: int
    duration: float
    outcome: str
    note: str
    seconds: dict[str, float]
    peak: float
    decoder: str


def check_quality(quality: str) -> Quality:
    """The quality itself; UsageError unless it is "relaxed" or "exact"."""
    if quality not in get_args(Quality):
        raise UsageError(f"unknown quality {quality!r}; choose from {', '.join(sorted(get_args(Quality)))}")
    return cast(Quality, quality)


def plans_of(plans: Plans) -> tuple[FeaturePlan, ...]:
    """One plan or several as a tuple; UsageError for none, or when their sample rates differ."""
    several = tuple(plans) if isinstance(plans, Sequence) else (plans,)
    if len({plan.sample_rate for plan in several}) != 1:
        rates = ", ".join(str(plan.sample_rate) for plan in several) or "none"
        raise UsageError(f"feature plans computed together must share one sample rate; these have: {rates}")
    return several


def features_hash(plans: Plans, quality: str) -> str:
    """16 hexadecimal digits that name the features: the plans (parameters, filters) and the resampling quality."""
    names = "+".join(plan.hash for plan in plans_of(plans))
    return hashlib.sha256(f"{names}:{quality}".encode()).hexdigest()[:16]


def extract(
    source: str | os.PathLike[str] | np.ndarray, sr: int | None = None, plan: FeaturePlan = BTC,
    quality: str = "relaxed",
) -> np.ndarray:  # fmt: skip
    """Constant-Q features, float32 [T, n_bins], of a file or of samples.

    Samples: [N] or [N, C], int16 or floating point (full scale 1), with their rate ``sr`` in Hz; channels are
    averaged, samples that are not finite count as 0. T is ``plan.n_frames``; frame t is centred on
    t * ``plan.frame_period`` s. ``quality`` "exact" resamples as soxr HQ does; "relaxed" is faster and equal within
    the transform's tolerance. AudioError when a file cannot be read, UsageError when the arguments do not fit.
    """
    checked = check_quality(quality)
    if isinstance(source, str | os.PathLike):
        if sr is not None:
            raise UsageError("sr is read from the file; give it with samples only")
        return cast(np.ndarray, extract_song(source, plan, quality).features)
    values, rate = _samples(source, sr)
    mono = ingest(values, rate, checked, target=plan.sample_rate)
    if not isinstance(plan, HybridPlan):
        return cqt(mono, plan)
    extractor = HybridExtractor(plan)
    extractor.push(mono)
    return extractor.finish()


def extract_samples(pcm: np.ndarray, sr: int | None, plans: Plans = BTC, quality: str = "relaxed") -> Song:
    """Features of samples with their rate, as `extract` takes them, and what `extract_song` tells about a file."""
    values, rate = _samples(pcm, sr)
    gathered = _Gathered(plans)
    channels = 1 if values.ndim == 1 else values.shape[1]
    flow = _Flow(rate, channels, gathered.plans, check_quality(quality), gathered.take)
    flow.feed(values)
    flow.end()
    return gathered.into(flow.song(len(values) / rate, "ok", [], ""))


def extract_song(
    path: str | os.PathLike[str], plans: Plans = BTC, quality: str = "relaxed", semitones: int = 0
) -> Song:  # fmt: skip
    """Features of a file of any length, read block by block; of several plans (a sequence of them) in one pass.

    ``semitones``: how far the pitch of the mono mix is shifted (`chordfast.audio.pitch_shift`) before the transform;
    it is then resampled "exact" in any case. A file that breaks off is "truncated" and gives what could be read;
    AudioError when nothing could be.
    """
    gathered = _Gathered(plans)
    return gathered.into(stream_song(path, gathered.plans, quality, gathered.take, semitones))


def stream_song(
    path: str | os.PathLike[str], plans: Sequence[FeaturePlan], quality: str, sink: Sink, semitones: int = 0
) -> Song:  # fmt: skip
    """As `extract_song`, but the frames go to ``sink`` as they become complete; the Song has no features then."""
    checked = check_quality(quality)
    began = time.process_time()
    with open_audio(path) as reader:
        info = reader.info
        flow = _Flow(info.sample_rate, info.channels, plans_of(plans), checked, sink, semitones)
        flow.seconds["decode"] += flow.mark - began
        blocks = iter(reader)
        while True:
            with trace.stage("decode"):
                block = next(blocks, None)
            flow.lap("decode")
            if block is None:
                break
            flow.feed(block)
        flow.end()
    duration, outcome, notes = how_it_ended(reader)
    return flow.song(duration, outcome, notes, decoder_name(reader, semitones))


def stream_pcm(
    path: str | os.PathLike[str], begin: Callable[[int, int, np.dtype[Any]], None], sink: Callable[[np.ndarray], None]
) -> Song:
    """Decode only: ``begin(sample rate, channels, dtype)`` with the first block, then every block [n, channels] to
    ``sink``. The Song tells nothing about the mono mix: no n_samples, no peak, outcome "ok" or "truncated".
    """
    seconds = {"decode": 0.0, "ring": 0.0}
    mark = time.process_time()
    with open_audio(path) as reader:
        dtype: np.dtype[Any] | None = None
        blocks = iter(reader)
        while True:
            with trace.stage("decode"):
                block = next(blocks, None)
            now = time.process_time()
            seconds["decode"] += now - mark
            if block is None:
                break
            if dtype is None:
                dtype = block.dtype
                begin(reader.info.sample_rate, block.shape[1], dtype)
            with trace.stage("ring"):
                sink(block)
            mark = time.process_time()
            seconds["ring"] += mark - now
    duration, outcome, notes = how_it_ended(reader)
    return Song((), 0, duration, outcome, "; ".join(notes), seconds, 0.0, reader.info.decoder)


def stream_shifted(
    path: str | os.PathLike[str], semitones: int, sample_rate: int, begin: Callable[[int, int, np.dtype[Any]], None],
    sink: Callable[[np.ndarray], None],
) -> Song:  # fmt: skip
    """As `stream_pcm`, of the mono mix at ``sample_rate`` Hz with its pitch shifted: blocks [n, 1] of float32."""
    mark = time.process_time()
    with open_audio(path) as reader:
        mono = Mono(reader.info.sample_rate, reader.info.channels, sample_rate, "exact", semitones)
        mono.seconds["decode"] += mono.mark - mark
        begin(sample_rate, 1, np.dtype(np.float32))
        blocks = iter(reader)
        while True:
            with trace.stage("decode"):
                block = next(blocks, None)
            mono.lap("decode")
            ready = mono.finish() if block is None else mono.push(block)
            with trace.stage("ring"):
                sink(ready[:, None])
            mono.lap("ring")
            if block is None:
                break
    duration, outcome, notes = how_it_ended(reader)
    if mono.non_finite:
        notes.append(replaced(mono.non_finite))
    told = "; ".join(notes)
    return Song((), 0, duration, outcome, told, dict(mono.seconds), 0.0, decoder_name(reader, semitones))


def verdict(
    plans: Sequence[FeaturePlan], n_samples: int, peak: float, non_finite: int, duration: float, outcome: str,
    notes: list[str],
) -> tuple[str, str]:  # fmt: skip
    """Outcome and note of a recording with ``n_samples`` of mono audio; too short and silent outweigh truncated."""
    longest = max(plans, key=lambda plan: plan.hop)
    notes = list(notes)
    if n_samples < longest.hop:
        outcome = "too_short"
        notes.append(f"{duration:.4g} s; one frame takes {longest.frame_period:.4g} s")
    elif peak < SILENCE_PEAK:
        outcome = "silent"
        notes.append(f"peak {peak:.1e} of full scale")
    if non_finite:
        notes.append(replaced(non_finite))
    return outcome, "; ".join(notes)


class _Gathered:
    """A sink that keeps everything."""

    def __init__(self, plans: Plans) -> None:
        self.plans = plans_of(plans)
        self._single = not isinstance(plans, Sequence)
        self._parts: list[list[np.ndarray]] = [[] for _ in self.plans]

    def take(self, index: int, frames: np.ndarray) -> None:
        self._parts[index].append(frames)

    def into(self, song: Song) -> Song:
        arrays = tuple(np.concatenate(parts) for parts in self._parts)
        song.features = arrays[0] if self._single else arrays
        return song


class _Flow(Mono):
    """PCM blocks to features of every plan, with the CPU time of each stage."""

    def __init__(
        self, sr: int, channels: int, plans: Sequence[FeaturePlan], quality: Quality, sink: Sink, semitones: int = 0
    ) -> None:  # fmt: skip
        self.plans = plans
        self.n_samples = 0
        self.peak = 0.0
        self._sink = sink
        self._extractors = [extractor_for(plan, quality) for plan in plans]
        super().__init__(sr, channels, plans[0].sample_rate, quality, semitones)
        self.seconds["cqt"] = 0.0

    def feed(self, pcm: np.ndarray) -> None:
        self._transform(self.push(pcm))

    def end(self) -> None:
        self._transform(self.finish())
        with trace.stage("cqt"):
            rest = [extractor.finish() for extractor in self._extractors]
        self.lap("cqt")
        for index, frames in enumerate(rest):
            self._sink(index, frames)
        self.mark = time.process_time()

    def _transform(self, mono: np.ndarray) -> None:
        self.n_samples += len(mono)
        if len(mono):
            self.peak = max(self.peak, float(mono.max()), -float(mono.min()))
        self.lap("ingest")
        if not len(mono):
            return
        with trace.stage("cqt"):
            found = [extractor.push(mono) for extractor in self._extractors]
        self.lap("cqt")
        for index, frames in enumerate(found):
            if frames is not None and len(frames):
                self._sink(index, frames)
        self.mark = time.process_time()

    def song(self, duration: float, outcome: str, notes: list[str], decoder: str) -> Song:
        outcome, note = verdict(
            self.plans, self.n_samples, self.peak, self.non_finite, duration, outcome, notes
        )  # fmt: skip
        return Song((), self.n_samples, duration, outcome, note, dict(self.seconds), self.peak, decoder)


def _samples(pcm: np.ndarray, sr: int | None) -> tuple[np.ndarray, int]:
    if sr is None:
        raise UsageError("samples need their rate: give sr, in Hz")
    return np.asarray(pcm), sr  # ingest checks the rest
