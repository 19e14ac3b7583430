"""From decoded blocks to the mono samples that features are computed of, and how reading a recording ended."""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np

from .. import trace
from ..audio import AudioReader
from ..audio.pitch_shift import PitchShift, shifter_name
from ..ops.ingest import IngestStream, Quality


class Mono:
    """PCM blocks to mono samples at ``rate`` Hz, shifted by ``semitones``; ``seconds``: CPU seconds of each stage."""

    def __init__(self, sr: int, channels: int, rate: int, quality: Quality, semitones: int = 0) -> None:
        self.seconds: dict[str, float] = defaultdict(float, decode=0.0, ingest=0.0)
        # "relaxed" is right up to 5.6 kHz only, and a shift downwards fetches what is above.
        self._ingest = IngestStream(sr, channels, "exact" if semitones else quality, target=rate)
        self._shift = PitchShift(semitones, rate) if semitones else None
        self.mark = time.process_time()

    @property
    def non_finite(self) -> int:
        """Input samples so far that were NaN or infinite."""
        return self._ingest.non_finite

    def lap(self, stage: str) -> None:
        """The time since the last call belongs to ``stage``."""
        now = time.process_time()
        self.seconds[stage] += now - self.mark
        self.mark = now

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Take [n, channels]; return the samples that are ready, float32 [m]."""
        with trace.stage("ingest"):
            mono = self._ingest.push(pcm)
        self.lap("ingest")
        return self._shifted(mono, last=False)

    def finish(self) -> np.ndarray:
        """The remaining samples, float32 [m]."""
        mono = self._ingest.finish()
        self.lap("ingest")
        return self._shifted(mono, last=True)

    def _shifted(self, mono: np.ndarray, last: bool) -> np.ndarray:
        if self._shift is None:
            return mono
        with trace.stage("shift"):
            mono = self._shift.push(mono)
            if last:
                mono = np.concatenate([mono, self._shift.finish()])
        self.lap("shift")
        return mono


def how_it_ended(reader: AudioReader) -> tuple[float, str, list[str]]:
    """Duration in s, outcome and notes of a recording that was read to its end."""
    info = reader.info
    duration, notes = reader.frames_read / info.sample_rate, []
    if reader.truncated:
        promised = f" of {info.duration:.2f} s" if info.frames > reader.frames_read else ""
        notes.append(f"breaks off after {duration:.2f} s{promised}: {reader.note}")
    return duration, reader.outcome_hint, notes


def decoder_name(reader: AudioReader, semitones: int) -> str:
    """Which libraries read the recording, and shifted it."""
    return f"{reader.info.decoder}, {shifter_name()}" if semitones else reader.info.decoder


def replaced(non_finite: int) -> str:
    """The note about samples that are no numbers."""
    return f"{non_finite} non-finite samples replaced by 0"
