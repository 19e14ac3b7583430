"""FFmpeg through PyAV (the extra ``chordfast[av]``): what libsndfile does not read, such as AAC in .m4a."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from .containers import Container
from .reading import BLOCK_FRAMES, AudioInfo, AudioReader, DecodeError, checked

# The demuxer is named, never probed: a playlist posing as audio would make FFmpeg open other files.
_DEMUXERS = {
    "mp4": "mov", "matroska": "matroska", "aac": "aac", "asf": "asf", "ogg": "ogg", "flac": "flac", "mp3": "mp3",
    "wav": "wav", "aiff": "aiff", "caf": "caf", "au": "au", "w64": "w64",
}  # fmt: skip


class AvReader(AudioReader):
    """Reads through FFmpeg; ImportError without PyAV, DecodeError when it cannot open the file."""

    def __init__(self, path: str | os.PathLike[str], container: Container) -> None:
        import av

        super().__init__(path, container)
        self._av = av
        self._raw = open(path, "rb")  # noqa: SIM115 - closed in close()
        self._container: Any = None
        try:
            self._container = av.open(self._raw, format=_DEMUXERS[container.kind])
            if not self._container.streams.audio:
                raise AudioError(f"{path} has no audio track")
            stream = self._container.streams.audio[0]
            if stream.codec_context is None:
                raise DecodeError("FFmpeg knows no decoder for its audio track")
            rate = int(stream.rate or 0)
            seconds = 0.0 if container.estimated else _seconds(self._container, stream)
            library = ".".join(str(part) for part in av.library_versions["libavcodec"])
            decoder = f"PyAV {av.__version__} (libavcodec {library})"
            info = AudioInfo(
                sample_rate=rate,
                channels=stream.channels,
                frames=round(seconds * rate),
                duration=seconds,
                format=container.kind,
                subtype=stream.codec_context.name,
                decoder=decoder,
            )
            self.info = checked(info, self.path)
        except (av.error.FFmpegError, ValueError, OSError) as error:
            self.close()
            raise DecodeError(_reason(error)) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._raw.close()

    def _decode(self) -> Iterator[NDArray[Any]]:
        pending: list[NDArray[Any]] = []
        waiting = 0
        try:
            for frame in self._container.decode(self._container.streams.audio[0]):
                if frame.sample_rate != self.info.sample_rate or frame.layout.nb_channels != self.info.channels:
                    raise DecodeError("the sample rate or the number of channels changes")
                pending.append(_interleaved(frame, self.info.channels))
                waiting += len(pending[-1])
                if waiting >= BLOCK_FRAMES:
                    yield np.concatenate(pending)
                    pending, waiting = [], 0
        except (self._av.error.FFmpegError, ValueError) as error:
            if pending:
                yield np.concatenate(pending)
            raise DecodeError(_reason(error)) from error
        if pending:
            yield np.concatenate(pending)
        elif not self.frames_read:
            raise DecodeError("no audio in it")

    def _tolerance(self) -> int:
        # Durations include the encoder's padding, are rounded to milliseconds, or are estimates.
        return max(self.info.sample_rate // 4, self.info.frames // 200)


def _seconds(container: Any, stream: Any) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration is not None else 0.0


def _interleaved(frame: Any, channels: int) -> NDArray[Any]:
    """[n, channels] int16 or float32 from a decoded frame of any sample format."""
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.int16) - 128) << 8
    elif samples.dtype == np.int32:
        samples = samples.astype(np.float32) * np.float32(2.0**-31)
    elif samples.dtype != np.int16:
        samples = samples.astype(np.float32, copy=False)
    return np.ascontiguousarray(samples)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).strip().rstrip(".")
