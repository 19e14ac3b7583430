"""The data of a run: songs of a store with targets, divided into parts by song."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import UsageError
from ..ops.feature_plan import BTC, FeaturePlan
from ..store import Store
from .frames import IGNORE, DenseTeacher, Frames
from .recipe import Recipe
from .split import Split


@dataclass
class Corpus:
    """Songs, their frames, and which of them train, validate and test.

    ids [S]; first, frames int64 [S]: where a song's frames lie in ``data``; parts: positions of songs. plan: of the
    features; teacher: name and hash of what made the posteriors ("" without); hash: of everything that was read.
    ``notes`` are sentences for people, on what was left out and how large it is; split_ids: the parts by song id, with
    the songs for testing, which are not loaded.
    """

    ids: list[str]
    first: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    parts: Split
    data: Frames
    plan: FeaturePlan = BTC
    plan_hash: str = BTC.hash
    teacher: str = ""
    teacher_hash: str = ""
    hash: str = ""
    notes: list[str] = field(default_factory=list)
    split_ids: Split | None = None

    @property
    def classes(self) -> int:
        return self.data.classes

    def hours(self, part: Sequence[int]) -> float:
        """Hours of audio of some songs."""
        return float(self.frames[list(part)].sum()) * self.plan.frame_period / 3600

    def statistics(self, part: Sequence[int]) -> tuple[float, float]:
        """Mean and population standard deviation over all values of some songs' features, in float64."""
        total = square = count = 0.0
        for song in part:
            values = self.features(song).double()
            total += float(values.sum())
            square += float(values.square().sum())
            count += values.numel()
        mean = total / max(count, 1)
        return mean, max(square / max(count, 1) - mean * mean, 0.0) ** 0.5

    def features(self, song: int) -> torch.Tensor:
        """Raw features of a song [T, n_bins]."""
        table: Any = self.data.features
        if isinstance(table, torch.Tensor):
            return table[int(self.first[song]) : int(self.first[song] + self.frames[song])]
        return table.song(song)

    @staticmethod
    def from_arrays(
        features: Sequence[npt.ArrayLike],
        targets: Sequence[npt.ArrayLike],
        teacher_logits: Sequence[npt.ArrayLike] | None = None,
        *,
        classes: int = 170,
        ids: Sequence[str] | None = None,
        parts: Split | None = None,
        weights: Sequence[npt.ArrayLike] | None = None,
        plan: FeaturePlan = BTC,
    ) -> Corpus:
        """A corpus out of arrays, one of each kind a song: features [T, n_bins] raw log-CQT, targets [T] classes
        (-100: does not count), teacher logits [T, K], weights [T].

        parts: positions of songs; by default all songs train and validate. Raises UsageError when lengths differ.
        """
        arrays = [np.asarray(x) for x in features]
        lengths = np.array([len(x) for x in arrays], dtype=np.int64)
        kinds: dict[str, Sequence[npt.ArrayLike] | None] = {
            "targets": targets, "teacher_logits": teacher_logits, "weights": weights
        }  # fmt: skip
        joined: dict[str, Any] = {}
        for name, values in kinds.items():
            if values is None:
                continue
            if [len(np.asarray(x)) for x in values] != lengths.tolist():
                raise UsageError(f"{name} have other lengths than the features; give one row a frame for each song")
            joined[name] = np.concatenate([np.asarray(x) for x in values])
        target = joined["targets"].astype(np.int16)
        _check_targets(target, classes)
        logits = joined.get("teacher_logits")
        if logits is not None and logits.shape[1:] != (classes,):
            raise UsageError(
                f"teacher logits have shape {list(logits.shape)}, the targets {classes} classes; give the same"
            )
        table = np.concatenate(arrays)
        dtype = np.float16 if table.dtype == np.float16 else np.float32
        table = table.astype(dtype, copy=False)
        everything = list(range(len(arrays)))
        names = list(ids) if ids is not None else [f"song {i}" for i in everything]
        return Corpus(
            names,
            np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64),
            lengths,
            parts or Split(everything, everything, []),
            Frames(
                torch.from_numpy(table),
                torch.from_numpy(target),
                torch.from_numpy(np.asarray(joined["weights"], np.float16)) if "weights" in joined else None,
                None if logits is None else DenseTeacher(torch.from_numpy(np.ascontiguousarray(logits))),
                classes,
                plan.bins_per_octave // 12,
            ),
            plan,
            plan.hash,
            hash=hashlib.sha256(table.tobytes() + target.tobytes()).hexdigest(),
        )

    @staticmethod
    def from_store(
        store: Store | str | os.PathLike[str],
        recipe: Recipe,
        labels: str | os.PathLike[str] | None = None,
        split: str | os.PathLike[str] | Split | None = None,
        *,
        teacher: str | None = None,
        skip: bool = False,
        plan: FeaturePlan = BTC,
        warn: Callable[[str], None] | None = None,
    ) -> Corpus:
        """The songs of a store, with its pseudo-labels or the labels of a folder as targets.

        Args:
            recipe: its ``data`` says what becomes a target; its seed and ratios divide the songs without a ``split``.
            labels: folder of label files named like the songs, to any depth.
            split: file {"train": [...], "val": [...], "test": [...]}, or song ids.
            teacher: name or hash of the teacher whose posteriors must be in the store.
            skip: leave songs without usable labels out, with a warning, instead of refusing.

        Raises UsageError, LabelError, StoreError: one sentence each for a store of another plan or teacher, missing
        labels, labels that do not fit the audio, a part without songs.
        """
        from .reading import read_store

        return read_store(
            store if isinstance(store, Store) else Store(Path(store)),
            recipe, labels, split, teacher=teacher, skip=skip, plan=plan, warn=warn or (lambda _: None),
        )  # fmt: skip


def _check_targets(target: npt.NDArray[np.int16], classes: int) -> None:
    wrong = (target != IGNORE) & ((target < 0) | (target >= classes))
    if wrong.any():
        raise UsageError(
            f"a target is class {int(target[np.argmax(wrong)])}, but there are {classes} classes; "
            f"give 0 to {classes - 1}, or {IGNORE} where a frame does not count"
        )
