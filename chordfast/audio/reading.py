"""Readers: decoded blocks from one open file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from .containers import Container

BLOCK_FRAMES = 1 << 17
MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 1000, 768_000
LOUDEST = np.float32(2.0**33)
"""Floating-point samples beyond this are no audio, whatever the scale: damage. 2^31 is that of 32-bit integers."""


@dataclass(frozen=True)
class AudioInfo:
    """What the header says.

    sample_rate in Hz; channels; frames promised (0 when the header does not say); duration in s (of those frames);
    format and subtype as the decoder names them ("FLAC", "PCM_16"); decoder: name and version, "libsndfile 1.2.2".
    """

    sample_rate: int
    channels: int
    frames: int
    duration: float
    format: str
    subtype: str
    decoder: str


class AudioReader:
    """One open recording: a context manager, and an iterator over its blocks, once.

    Blocks are [n, channels], n up to 2^17 (the last one shorter): int16 where the file holds integers of at most
    16 bits, float32 with full scale 1 otherwise, NaN where it would be beyond 2^33. After the last block
    ``frames_read`` is final, and ``truncated`` tells whether the end of the recording is missing: decoding failed in
    the middle, or fewer frames came than the header promised; ``note`` then says why. AudioError when decoding fails
    before the first sample.
    """

    info: AudioInfo

    def __init__(self, path: str | os.PathLike[str], container: Container) -> None:
        self.path = os.fspath(path)
        self.container = container
        self.frames_read = 0
        self.truncated = bool(container.cut)
        self.note = container.cut
        self._blocks: Iterator[NDArray[Any]] | None = None

    @property
    def outcome_hint(self) -> Literal["ok", "truncated"]:
        """``"truncated"`` or ``"ok"``; meaningful after the last block."""
        return "truncated" if self.truncated else "ok"

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[NDArray[Any]]:
        if self._blocks is None:
            self._blocks = self._run()
        return self._blocks

    def __next__(self) -> NDArray[Any]:
        return next(iter(self))

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        raise NotImplementedError

    def _decode(self) -> Iterator[NDArray[Any]]:
        raise NotImplementedError

    def _tolerance(self) -> int:
        """Frames that may be missing from a whole file, because the header only estimates."""
        return 0

    def _run(self) -> Iterator[NDArray[Any]]:
        try:
            for block in self._decode():
                self.frames_read += len(block)
                yield _without_absurd(block)
        except DecodeError as error:
            if not self.frames_read:
                raise AudioError(f"{self.path} cannot be decoded ({error}); is it damaged?") from error
            self._cut(f"decoding failed after {self.frames_read} frames ({error})")
        missing = self.info.frames - self.frames_read
        if missing > self._tolerance():
            self._cut(f"{self.frames_read} of {self.info.frames} frames are there")

    def _cut(self, why: str) -> None:
        self.truncated = True
        self.note = self.note or why


def _without_absurd(block: NDArray[Any]) -> NDArray[Any]:
    """The block with NaN for samples beyond `LOUDEST`, which would overflow in what follows."""
    if block.dtype != np.float32:
        return block
    flat = block.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        if np.dot(flat, flat) < LOUDEST * LOUDEST:  # the usual case at the speed of memory; false for NaN too
            return block
    return np.where(np.isfinite(block) & (np.abs(block) > LOUDEST), np.float32(np.nan), block)


class DecodeError(Exception):
    """Raised by a reader's decoder; AudioReader turns it into an error or into a truncated recording."""


def checked(info: AudioInfo, path: str) -> AudioInfo:
    """The header itself; AudioError when it claims what no recording has."""
    if not 1 <= info.channels <= MAX_CHANNELS:
        raise AudioError(f"{path} has {info.channels} channels; mix it down to at most {MAX_CHANNELS}")
    if not MIN_RATE <= info.sample_rate <= MAX_RATE:
        raise AudioError(
            f"{path} claims a sample rate of {info.sample_rate} Hz; {MIN_RATE} to {MAX_RATE} Hz are supported"
        )
    return info
