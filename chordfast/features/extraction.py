"""From a file or samples to constant-Q features, streamed: memory grows with the features, not with the samples."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np

from .. import trace
from ..audio import open_audio
from ..errors import UsageError
from ..ops.cqt import CqtStream, cqt
from ..ops.feature_plan import BTC, FeaturePlan
from ..ops.ingest import IngestStream, Quality, ingest

SILENCE_PEAK = 1e-4
"""Mono peak (full scale 1) below which a recording is silent: -80 dBFS, three steps of 16 bits, more than dither."""


@dataclass
class Song:
    """Features of one recording and how reading it went.

    features float32 [T, n_bins]; n_samples of mono audio at the plan's rate; duration in s of what could be read;
    outcome "ok", "truncated" (labelled as far as it goes), "silent", "too_short" (less than one hop); note: what was
    odd about it, or ""; seconds: CPU seconds of "decode", "ingest" and "cqt"; peak of the mono mix, full scale 1;
    decoder: which library read it.
    """

    features: np.ndarray
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


def features_hash(plan: FeaturePlan, quality: str) -> str:
    """16 hexadecimal digits that name the features: the plan (parameters, filters) and the resampling quality."""
    return hashlib.sha256(f"{plan.hash}:{quality}".encode()).hexdigest()[:16]


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
        return extract_song(source, plan, quality).features
    values, rate = _samples(source, sr)
    return cqt(ingest(values, rate, checked, target=plan.sample_rate), plan)


def extract_samples(pcm: np.ndarray, sr: int | None, plan: FeaturePlan = BTC, quality: str = "relaxed") -> Song:
    """Features of samples with their rate, as `extract` takes them, and what `extract_song` tells about a file."""
    values, rate = _samples(pcm, sr)
    flow = _Flow(rate, 1 if values.ndim == 1 else values.shape[1], plan, check_quality(quality))
    flow.push(values)
    features = flow.finish()
    return flow.song(features, len(values) / rate, "ok", [], "")


def extract_song(path: str | os.PathLike[str], plan: FeaturePlan = BTC, quality: str = "relaxed") -> Song:
    """Features of a file of any length, read block by block.

    A file that breaks off is "truncated" and gives what could be read; AudioError when nothing could be.
    """
    checked = check_quality(quality)
    began = time.process_time()
    with open_audio(path) as reader:
        info = reader.info
        flow = _Flow(info.sample_rate, info.channels, plan, checked)
        flow.seconds["decode"] += flow.mark - began
        blocks = iter(reader)
        while True:
            with trace.stage("decode"):
                block = next(blocks, None)
            flow.lap("decode")
            if block is None:
                break
            flow.push(block)
        features = flow.finish()
    duration, notes = reader.frames_read / info.sample_rate, []
    if reader.truncated:
        promised = f" of {info.duration:.2f} s" if info.frames > reader.frames_read else ""
        notes.append(f"breaks off after {duration:.2f} s{promised}: {reader.note}")
    return flow.song(features, duration, reader.outcome_hint, notes, info.decoder)


class _Flow:
    """PCM blocks to features, with the CPU time of each stage."""

    def __init__(self, sr: int, channels: int, plan: FeaturePlan, quality: Quality) -> None:
        self.plan = plan
        self.seconds = {"decode": 0.0, "ingest": 0.0, "cqt": 0.0}
        self.n_samples = 0
        self.peak = 0.0
        self._parts: list[np.ndarray] = []
        self._ingest = IngestStream(sr, channels, quality, target=plan.sample_rate)
        self._cqt = CqtStream(plan)
        self.mark = time.process_time()

    def lap(self, stage: str) -> None:
        now = time.process_time()
        self.seconds[stage] += now - self.mark
        self.mark = now

    def push(self, pcm: np.ndarray) -> None:
        with trace.stage("ingest"):
            mono = self._ingest.push(pcm)
        self._transform(mono)

    def finish(self) -> np.ndarray:
        self._transform(self._ingest.finish())
        self._parts.append(self._cqt.finish())
        features = np.concatenate(self._parts)
        self._parts.clear()
        self.lap("cqt")
        return features

    def _transform(self, mono: np.ndarray) -> None:
        self.n_samples += len(mono)
        if len(mono):
            self.peak = max(self.peak, float(mono.max()), -float(mono.min()))
        self.lap("ingest")
        if len(mono):
            with trace.stage("cqt"):
                self._parts.append(self._cqt.push(mono))
        self.lap("cqt")

    def song(self, features: np.ndarray, duration: float, outcome: str, notes: list[str], decoder: str) -> Song:
        """The verdict: too short and silent outweigh truncated."""
        if self.n_samples < self.plan.hop:
            outcome = "too_short"
            notes.append(f"{duration:.4g} s; one frame takes {self.plan.frame_period:.4g} s")
        elif self.peak < SILENCE_PEAK:
            outcome = "silent"
            notes.append(f"peak {self.peak:.1e} of full scale")
        if count := self._ingest.non_finite:
            notes.append(f"{count} non-finite samples replaced by 0")
        return Song(features, self.n_samples, duration, outcome, "; ".join(notes), self.seconds, self.peak, decoder)


def _samples(pcm: np.ndarray, sr: int | None) -> tuple[np.ndarray, int]:
    if sr is None:
        raise UsageError("samples need their rate: give sr, in Hz")
    return np.asarray(pcm), sr  # ingest checks the rest
