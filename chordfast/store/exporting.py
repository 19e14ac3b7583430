"""A store's songs as files for other programs."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StoreError, UsageError
from ..files import atomic_write
from ..vocabulary import class_labels
from .identity import Array

if TYPE_CHECKING:
    from .reader import Store

FORMATS = ("npz", "chordmini")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}(?=(#[^/]*)?$)")


def export(store: Store, folder: str | os.PathLike[str], format: str = "npz") -> int:
    """Write every song that has frames below ``folder``, its id's folders mirrored; gives the number of songs.

    npz: ``<id>.npz`` with the arrays as they are stored. chordmini: ``<stem>_spec.npy`` (float32 [T, n_bins]),
    ``<stem>.lab`` (the teacher's classes, a line a run of frames, frame i from i to i + 1 frame periods) and
    ``<stem>_logits.npy`` (float32 [T, classes]; only with posteriors); the stem is the id without the suffix of an
    audio file, kept where two songs would share it. UsageError for another format, or an id that points out of the
    folder.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r} of an export; choose {' or '.join(FORMATS)}")
    positions = [i for i, row in enumerate(store.rows) if row.frames]
    names = {i: _inside(store.rows[i].id) for i in positions}
    if format == "chordmini":
        names = _stems(names)
        if not store.identity.teacher:
            raise StoreError(f"the store {store.layout.root} was made without a teacher; export it as npz")
    for position in positions:
        base = Path(folder, names[position])
        base.parent.mkdir(parents=True, exist_ok=True)
        if format == "npz":
            atomic_write(f"{base}.npz", _npz(store, position))
        else:
            _chordmini(store, position, str(base))
    return len(positions)


def _inside(song: str) -> str:
    path = PurePosixPath(song)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in song:
        raise UsageError(f"song {song!r} points out of the folder of an export; label it under another root")
    return str(path)


def _stems(names: dict[int, str]) -> dict[int, str]:
    stems = {i: _SUFFIX.sub("", name) for i, name in names.items()}
    seen: dict[str, int] = {}
    for stem in stems.values():
        seen[stem] = seen.get(stem, 0) + 1
    return {i: stem if seen[stem] == 1 else names[i] for i, stem in stems.items()}


def _npz(store: Store, position: int) -> bytes:
    row = store.rows[position]
    arrays: dict[str, Array] = {name: store.array(position, name) for name in row.crc}
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    return out.getvalue()


def _chordmini(store: Store, position: int, base: str) -> None:
    atomic_write(f"{base}_spec.npy", _npy(store.features(position).astype(np.float32)))
    atomic_write(f"{base}.lab", _lab(store.target(position), store.identity.plan.frame_period, store.identity.classes))
    if store.identity.posteriors != "none":
        atomic_write(f"{base}_logits.npy", _npy(store.teacher_logits(position)))


def _npy(array: Array) -> bytes:
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(array), allow_pickle=False)
    return out.getvalue()


def _lab(target: Array, period: float, classes: int) -> str:
    labels = class_labels(classes)
    edges = np.flatnonzero(np.diff(target)) + 1
    starts, ends = np.r_[0, edges], np.r_[edges, len(target)]
    lines = (
        f"{start * period:.9f}\t{end * period:.9f}\t{labels[target[start]]}\n"
        for start, end in zip(starts, ends, strict=True)
    )
    return "".join(lines)
