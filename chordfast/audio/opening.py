"""The way in: which decoder gets a file, and what is said when none does."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import AudioError
from .containers import Container, inspect
from .reading import AudioReader, DecodeError

_SOUNDFILE = frozenset({"wav", "aiff", "flac", "ogg", "mp3", "au", "caf", "w64"})
_NAMES = {"mp4": "MP4 audio", "matroska": "Matroska or WebM", "asf": "Windows Media"}


def open_audio(path: str | os.PathLike[str]) -> AudioReader:
    """Open a recording; use the result as a context manager and iterate over its blocks.

    libsndfile reads it where it can, FFmpeg (through PyAV, when installed) what is left: .m4a, .webm, .wma, and files
    that libsndfile refuses. A file of no samples at all opens and gives no blocks. AudioError (outcome
    ``unreadable``) for what is missing, no file, empty, unknown, damaged from the start, of a codec that is not
    decoded on purpose, or with more than 8 channels or a rate outside 1 .. 768 kHz.
    """
    container = _inspect(path)
    if container.refused:
        raise AudioError(f"{path} holds {container.refused}, which is not decoded; convert it to WAV or FLAC")
    readers = [_soundfile, _av] if container.kind in _SOUNDFILE else [_av]
    if container.estimated:  # libsndfile would stop at the estimate
        readers.reverse()
    why = ""
    for reader in readers:
        try:
            return reader(path, container)
        except DecodeError as error:
            why = why or str(error)
        except ImportError:
            if len(readers) == 1:
                name = _NAMES.get(container.kind, container.kind.upper())
                raise AudioError(f"{path} ({name}) needs FFmpeg to be read; install chordfast[av]") from None
    raise AudioError(f"{path} cannot be decoded ({why}); is it damaged?")


def _soundfile(path: str | os.PathLike[str], container: Container) -> AudioReader:
    from .with_soundfile import SoundfileReader

    return SoundfileReader(path, container)


def _av(path: str | os.PathLike[str], container: Container) -> AudioReader:
    from .with_av import AvReader

    return AvReader(path, container)


def _inspect(path: str | os.PathLike[str]) -> Container:
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(f"{path} is a folder, not a recording")
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{path} is not a regular file; copy the recording to one")
        if status.st_size == 0:
            raise AudioError(f"{path} is empty (0 bytes)")
        with open(path, "rb") as file:
            container = inspect(file)
    except OSError as error:
        raise AudioError(f"{path} cannot be opened: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:  # a null character in the name
        raise AudioError(f"{os.fspath(path)!r} is not a file name ({error})") from error
    if not container.kind:
        # MPEG audio may start with stray bytes; its decoder searches for the first frame itself.
        if Path(os.fspath(path)).suffix.lower() in (".mp3", ".mp2"):
            return Container("mp3", unsure=True)
        raise AudioError(f"{path} is not audio of a known format (WAV, FLAC, Ogg, MP3, AIFF, M4A, ... are read)")
    return container
