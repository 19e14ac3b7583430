"""Which files to label, and the name of each label file: the input tree mirrored under the output folder."""

from __future__ import annotations

import hashlib
import os
import unicodedata
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..annotations import BINARY_FORMATS, FORMATS
from ..annotations.parquet import require_pyarrow
from ..audio import find_audio
from ..errors import UsageError
from ..store import base_and_shift

SUFFIXES = FORMATS | BINARY_FORMATS
NAME_MAX = 255  # bytes in one path component on every common file system


@dataclass(frozen=True)
class Source:
    """One recording: where it lies, its key (POSIX path below the common folder), and the state that decides a redo.

    A version whose pitch is shifted by ``semitones`` has the key of its own that it has in the store.
    """

    path: Path
    key: str
    size: int
    mtime_ns: int
    semitones: int = 0

    @property
    def recording(self) -> str:
        """The key of the recording itself."""
        return base_and_shift(self.key)[0] if self.semitones else self.key


def check_formats(formats: str | Iterable[str]) -> tuple[str, ...]:
    """The formats, each once, in order; UsageError for an unknown one, or for parquet without pyarrow."""
    wanted = tuple(dict.fromkeys([formats] if isinstance(formats, str) else formats))
    if not wanted:
        raise UsageError(f"no output format given; choose from {', '.join(SUFFIXES)}")
    for name in wanted:
        if name not in SUFFIXES:
            raise UsageError(f"unknown format {name!r}; choose from {', '.join(SUFFIXES)}")
    if "parquet" in wanted:
        require_pyarrow()  # now, not at the first song
    return wanted


def suffix(name: str) -> str:
    """The file suffix of a format, with its dot (``.lab``)."""
    return SUFFIXES[name]


def read_list(data: bytes) -> list[Path]:
    """Paths out of a list: one a line, or separated by NUL bytes where there is one (``find -print0``)."""
    parts = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [Path(os.fsdecode(part)) for part in parts if part.strip()]


def collect(
    inputs: Sequence[str | os.PathLike[str]], listed: Iterable[Path] = (), root: str | os.PathLike[str] | None = None
) -> tuple[list[Source], list[str]]:
    """Every recording below ``inputs`` (files and folders) and in ``listed`` (files), each once, sorted by key.

    Keys are paths below ``root``; without it, below the deepest folder that holds all that was named (the folder
    itself where only one folder was named). A named file is taken whatever its suffix; folders give what
    `chordfast.audio.find_audio` finds. A path in ``inputs`` that does not exist is a UsageError; one in ``listed``
    becomes an ``unreadable`` row later, so that one stale line does not stop a long list. The second list says which
    folders could not be searched.
    """
    troubles: list[str] = []
    files: dict[str, None] = {}
    anchors: set[str] = set()
    for given in inputs:
        path = os.path.abspath(given)
        if os.path.isdir(path):
            anchors.add(path)
            files.update((os.path.abspath(found), None) for found in _below(path, troubles))
        else:
            check_exists(given)
            anchors.add(os.path.dirname(path))
            files[path] = None
    for item in listed:
        path = os.path.abspath(item)
        if os.path.isdir(path):
            anchors.add(path)
            files.update((os.path.abspath(found), None) for found in _below(path, troubles))
        else:
            anchors.add(os.path.dirname(path))
            files[path] = None
    base = _base(anchors, root)
    return sorted((_source(path, base) for path in files), key=lambda source: source.key), troubles


def base_folder(
    inputs: Sequence[str | os.PathLike[str]], listed: Iterable[Path] = (), root: str | os.PathLike[str] | None = None
) -> str:
    """The folder below which `collect` of the same arguments counts its keys."""
    paths = map(os.path.abspath, (*inputs, *listed))
    return _base({path if os.path.isdir(path) else os.path.dirname(path) for path in paths}, root)


def _base(anchors: set[str], root: str | os.PathLike[str] | None) -> str:
    if not anchors:
        raise UsageError("nothing to label: name at least one file or folder")
    return os.path.abspath(root) if root is not None else os.path.commonpath(sorted(anchors))


def check_exists(path: str | os.PathLike[str]) -> None:
    """UsageError when there is nothing at ``path``, or nothing that may be seen."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"no such file or folder: {os.fspath(path)}") from None
    except OSError as error:
        raise UsageError(f"cannot read {os.fspath(path)}: {error.strerror}") from error


def _below(folder: str, troubles: list[str]) -> list[Path]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = list(find_audio(folder))
    troubles += [str(warning.message) for warning in caught]
    return found


def _source(path: str, base: str) -> Source:
    relative = os.path.relpath(path, base)
    if relative.split(os.sep)[0] == os.pardir:
        raise UsageError(f"{path} does not lie below the root folder {base}; name a root that holds every input")
    try:
        status = os.stat(path)
        size, mtime = status.st_size, status.st_mtime_ns
    except OSError:
        size, mtime = 0, 0
    return Source(Path(path), Path(relative).as_posix(), size, mtime)


def output_names(keys: Sequence[str], formats: Sequence[str], taken: Collection[str] = ()) -> dict[str, dict[str, str]]:
    """The label files of every key: ``{key: {format: POSIX path below the output folder}}``.

    ``a/song.mp3`` gives ``a/song.lab``. Where two recordings would share a name (``song.mp3`` and ``song.flac``,
    also when they differ only in case or Unicode form, which some file systems do not tell apart), each of them
    keeps its own suffix: ``song.mp3.lab`` and ``song.flac.lab``. Names too long for a file system are cut and
    marked with eight digits of their hash. Names in ``taken`` are given to none (``run.mp3.json``).
    """
    stems = {key: os.path.splitext(key)[0] for key in keys}
    for key in (key for key, stem in stems.items() if any(_folded(stem + suffix(name)) in taken for name in formats)):
        stems[key] = key
    for attempt in range(3):
        groups: dict[str, list[str]] = {}
        for key, stem in stems.items():
            groups.setdefault(_folded(stem), []).append(key)
        clashing = [key for group in groups.values() if len(group) > 1 for key in group]
        if not clashing:
            break
        for key in clashing:  # the second round is for names that differ only in case: their hashes differ
            stems[key] = key if attempt == 0 else f"{key}~{_digest(key)}"
    return {key: {name: _fitted(stem, suffix(name)) for name in formats} for key, stem in stems.items()}


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _fitted(stem: str, ending: str) -> str:
    folder, name = os.path.split(stem)
    room = NAME_MAX - len(os.fsencode(ending))
    raw = os.fsencode(name)
    if len(raw) > room:
        mark = f"~{_digest(stem)}"
        name = raw[: room - len(mark)].decode("utf-8", "ignore") + mark
    return os.path.join(folder, name + ending)
