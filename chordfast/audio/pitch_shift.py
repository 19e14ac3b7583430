"""Pitch shifting of mono audio at unchanged speed, by Signalsmith Stretch (package python-stretch, MIT)."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import UsageError

MOST = 12
"""Semitones by which audio is shifted at most, up or down."""

# Samples at 22050 Hz. The package's own choice, 0.12 s, moves notes below 100 Hz by up to half a semitone.
_BLOCK, _INTERVAL = 8192, 2048
PIECE = 300.0  # seconds shifted at once; with the copies that the package makes, some 130 MB
_MARGIN, _FADE = 2.0, 0.1  # seconds: heard on both sides of a piece; from one piece into the next
_ITEM = re.compile(r"\s*([+-]?\d+)\s*(?:\.\.\s*([+-]?\d+)\s*)?")


def parse_semitones(text: str) -> tuple[int, ...]:
    """The semitones of a range "-5..6" or a list "-2,1,3": ascending, each once, without 0.

    UsageError for anything else, and for what lies beyond ``MOST``.
    """
    found: list[int] = []
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise _wrong(text)
        low = int(match[1])
        high = low if match[2] is None else int(match[2])
        if not -MOST <= low <= high <= MOST:
            raise _wrong(text)
        found += range(low, high + 1)
    return check_semitones(found)


def check_semitones(semitones: Iterable[int]) -> tuple[int, ...]:
    """Ascending, each once, without 0, which is the recording itself; UsageError beyond ``MOST`` or if none is left."""
    given = list(semitones)
    found = tuple(sorted({int(step) for step in given} - {0}))
    if not found or found[0] < -MOST or found[-1] > MOST or any(step != int(step) for step in given):
        raise _wrong(",".join(map(str, given)))
    return found


def _wrong(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is no pitch shift; give semitones from -{MOST} to {MOST}, not 0 alone, as a range (-5..6) or a list "
        "(-2,1,3)"
    )


def require_stretch() -> Any:
    """The package's module; UsageError, saying how to install it, when it is missing."""
    try:
        return importlib.import_module("python_stretch.Signalsmith")
    except ImportError as error:
        raise UsageError("shifting the pitch needs python-stretch: pip install 'chordfast[pitch]'") from error


def shifter_name() -> str:
    """Name and version of what shifts, for the manifest."""
    require_stretch()
    return f"python-stretch {importlib.import_module('python_stretch').__version__}"


class PitchShift:
    """Mono samples of one recording in, as many out, moved by ``semitones`` (-12 ... 12, not 0) at unchanged times.

    The result depends on the samples alone, not on the blocks they come in. Recordings of more than ``piece`` s are
    shifted in pieces of that length, which fade into each other in 0.1 s, so that memory does not grow with them.
    UsageError for other semitones, or without python-stretch.
    """

    def __init__(self, semitones: int, sample_rate: int = 22050, piece: float = PIECE) -> None:
        (self._semitones,) = check_semitones([semitones])
        self._stretch = require_stretch().Stretch
        self._sizes = tuple(round(size * sample_rate / 22050) for size in (_BLOCK, _INTERVAL))
        self._piece, self._margin, self._fade = (round(t * sample_rate) for t in (piece, _MARGIN, _FADE))
        angle = np.linspace(0, np.pi / 2, self._fade, dtype=np.float32)
        self._falling, self._rising = np.cos(angle), np.sin(angle)  # two pieces differ in phase: their powers add up
        self._held: list[np.ndarray] = []
        self._count = 0
        self._lead = 0  # samples held that only the piece before gives out
        self._before: np.ndarray | None = None  # end of the piece before, which fades out

    def push(self, x: np.ndarray) -> np.ndarray:
        """Take float32 [n]; return the samples that are ready, float32 [m], m often 0."""
        self._held.append(x)
        self._count += len(x)
        size = self._piece + self._fade + self._margin
        ready = []
        while self._count > self._lead + size:
            held = np.concatenate(self._held)
            moved = self._joined(self._shifted(held[: self._lead + size])[self._lead :])
            ready.append(moved[: self._piece])
            self._before = moved[self._piece : self._piece + self._fade].copy()
            end = self._lead + self._piece
            self._lead = min(self._margin, end)
            rest = held[end - self._lead :].copy()
            self._held, self._count = [rest], len(rest)
        return np.concatenate(ready) if ready else np.empty(0, np.float32)

    def finish(self) -> np.ndarray:
        """The remaining samples, float32 [m]."""
        held = np.concatenate(self._held) if self._held else np.empty(0, np.float32)
        self._held, self._count = [], 0
        return self._joined(self._shifted(held)[self._lead :])

    def _shifted(self, x: np.ndarray) -> np.ndarray:
        if not len(x):
            return x
        stretch = self._stretch(0)  # seeded; keeps the length, and takes its own delay away
        stretch.configure(1, *self._sizes)
        stretch.setTransposeSemitones(self._semitones)
        moved: np.ndarray = stretch.process(np.ascontiguousarray(x, np.float32)[None])[0]
        return moved

    def _joined(self, x: np.ndarray) -> np.ndarray:
        if self._before is not None:
            x[: self._fade] = self._before * self._falling + x[: self._fade] * self._rising
        return x


def shift(mono: np.ndarray, semitones: int, sample_rate: int = 22050) -> np.ndarray:
    """All samples of a recording, float32 [n], moved by ``semitones``: `PitchShift` in one call."""
    flow = PitchShift(semitones, sample_rate)
    return np.concatenate([flow.push(np.asarray(mono, np.float32)), flow.finish()])
