"""Ground truth: label files that belong to songs, and the class of every frame."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..annotations import FRAME_PERIOD, READABLE, frame_classes, read
from ..errors import LabelError, UsageError
from ..vocabulary import transpose_class
from .frames import IGNORE

TOLERANCE = 1.0
"""Seconds by which labels may run beyond the audio: the silence an encoder cuts."""


def label_files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Label files by their path below the folder without suffix, and by "/" and the bare name where that is unique."""
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; give the folder of label files")
    found: dict[str, Path] = {}
    bare: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in READABLE and path.is_file():
            found.setdefault(path.relative_to(root).with_suffix("").as_posix(), path)
            bare.setdefault(path.stem, []).append(path)
    return {**{f"/{stem}": paths[0] for stem, paths in bare.items() if len(paths) == 1}, **found}


def find_label(files: dict[str, Path], song: str) -> Path | None:
    """The label file of a song's id, which may have an audio suffix, and folders that the labels lack, or lack folders
    that they have; where both have folders, they must be the same."""
    path = Path(song)
    names = [song, path.with_suffix("").as_posix(), path.stem, *([f"/{path.stem}"] if "/" not in song else [])]
    return next((files[name] for name in names if name in files), None)


def song_classes(
    path: Path, frames: int, duration: float, classes: int = 170, shift: int = 0, compat: Iterable[str] = ()
) -> npt.NDArray[np.int16]:
    """Class of every CQT frame of a song, int16 [frames]: of the segment at the frame's centre, i periods after the
    start; X becomes ``IGNORE``, what no segment covers N.

    duration: of the audio, s. shift: semitones by which the audio was moved. ``compat``: "labels" for ChordMini's label
    map with X as a class, "offline_labels" for that of its pseudo-label files, "frames" for its frame rule. Raises
    LabelError for a file that cannot be read or that runs more than ``TOLERANCE`` beyond the audio.
    """
    annotation = read(path)
    end = float(annotation.ends.max(initial=0.0))
    if end > duration + TOLERANCE:
        raise LabelError(
            f"{path}: the labels run to {end:.2f} s, but the recording has {duration:.2f} s; "
            "give the labels of this very recording"
        )
    names = set(compat)
    dialect = "cm_offline" if "offline_labels" in names else "cm_train" if "labels" in names else "default"
    found = frame_classes(
        annotation,
        frames,
        FRAME_PERIOD,
        "cm_train" if "frames" in names else "instant",
        classes=classes,
        dialect=dialect,
        ignore_index=IGNORE if dialect == "default" else None,
    )
    if shift:
        moved = np.array([transpose_class(c, shift, classes) for c in range(classes)])
        found = np.where(found >= 0, moved[np.clip(found, 0, classes - 1)], found)
    return found.astype(np.int16)
