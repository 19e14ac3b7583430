"""libsndfile through soundfile: WAV, AIFF, FLAC, Ogg Vorbis and Opus, MP3, AU, CAF, W64."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from ..errors import AudioError
from .containers import Container
from .reading import BLOCK_FRAMES, AudioInfo, AudioReader, DecodeError, checked

_INT16 = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "ULAW", "ALAW"})
_FLOAT = frozenset({"PCM_24", "PCM_32", "FLOAT", "DOUBLE", "VORBIS", "OPUS"}) | {
    f"MPEG_LAYER_{layer}" for layer in ("I", "II", "III")
}
_UNKNOWN_LENGTH = 1 << 60
_RETRY_FRAMES = 256
_TAGS_BYTES = 1 << 14  # tags and one read-ahead may follow the last MPEG frame


class SoundfileReader(AudioReader):
    """Reads through libsndfile; AudioError for codecs off the allow-list, DecodeError when it cannot open the file."""

    def __init__(self, path: str | os.PathLike[str], container: Container) -> None:
        super().__init__(path, container)
        try:
            # By descriptor: any file name the system knows will do, and the position can be asked for.
            self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            self._file = self._open()
        except (soundfile.SoundFileError, RuntimeError) as error:
            os.close(self._handle)
            raise DecodeError(_reason(error)) from error
        try:
            file = self._file
            frames = file.frames if 0 <= file.frames < _UNKNOWN_LENGTH and not container.estimated else 0
            if file.subtype not in _INT16 | _FLOAT:
                raise AudioError(f"{path} holds {file.subtype_info}, which is not decoded; convert it to WAV or FLAC")
            decoder = f"libsndfile {soundfile.__libsndfile_version__}"
            self.info = checked(
                AudioInfo(
                    sample_rate=file.samplerate,
                    channels=file.channels,
                    frames=frames,
                    duration=frames / max(1, file.samplerate),
                    format=file.format,
                    subtype=file.subtype,
                    decoder=decoder,
                ),
                self.path,
            )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _open(self) -> soundfile.SoundFile:
        if self.container.unsure:  # libsndfile goes by the suffix then
            return soundfile.SoundFile(os.fsencode(self.path) if os.name == "posix" else self.path)
        os.lseek(self._handle, 0, os.SEEK_SET)
        return soundfile.SoundFile(self._handle, closefd=False)

    def _decode(self) -> Iterator[NDArray[Any]]:
        size = BLOCK_FRAMES
        while True:
            start = self.frames_read
            try:
                block = self._read(size)
            except DecodeError as error:
                if size == _RETRY_FRAMES:
                    raise
                # What was decoded before the damage is lost with the block: once more, in small ones. Seeking may
                # fail in a damaged file, so decode from the start.
                size = _RETRY_FRAMES
                try:
                    self._file.close()
                    self._file = self._open()
                    for position in range(0, start, BLOCK_FRAMES):
                        self._read(min(BLOCK_FRAMES, start - position))
                except (soundfile.SoundFileError, RuntimeError) as again:
                    raise error from again
                continue
            if len(block):
                yield block
            if len(block) < size:
                break
        # libsndfile never reads past its estimate of the length, even when that was too short.
        left = os.fstat(self._handle).st_size - os.lseek(self._handle, 0, os.SEEK_CUR)
        if self.container.estimated and left > _TAGS_BYTES:
            self._cut("its MPEG header does not tell the length; install chordfast[av] to read all of it")

    def _read(self, size: int) -> NDArray[Any]:
        dtype = np.int16 if self.info.subtype in _INT16 else np.float32
        block = np.empty((size, self.info.channels), dtype)
        try:
            # Not read(): that asks for the position before and after, and cuts what is asked for to the promise.
            count = self._file.buffer_read_into(block, "int16" if dtype is np.int16 else "float32")
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise DecodeError(_reason(error)) from error
        return block[:count]

    def _tolerance(self) -> int:
        # Encoders round lengths to codec frames (MPEG 1152 samples, Opus at most 120 ms) and leave padding in or out.
        return {"MP3": 2 * 1152, "OGG": 5760}.get(self.info.format, 0)


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or str(error)
    return text.strip().rstrip(".").replace("File does not exist or is not a regular file (possibly a pipe?)", "") or (
        "no valid audio data"
    )
