"""A corpus out of a store: which songs, which targets, and their frames in memory or mapped."""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import ChordfastError, LabelError, StoreError, UsageError
from ..ops.feature_plan import FeaturePlan
from ..store import Row, Store, StoreIdentity, base_and_shift, shifted_id
from ..store.identity import STEP
from .balance import quality_weights
from .corpus import Corpus
from .frames import IGNORE, DenseTeacher, Frames, TopTeacher, transposed_logits
from .labels import find_label, label_files, song_classes
from .recipe import Recipe
from .split import Split, choose, match, read_split, split_songs

_TEACHER_ARRAYS = {
    "full": ("log_probability",),
    "full8": ("log_probability",),
    "topk": ("top_class", "top_log_probability", "rest"),
    "none": (),
}


class Mapped:
    """Arrays that stay in the store's mapped files: rows [B, T] of consecutive frames of one song each."""

    def __init__(self, store: Store, positions: list[int], first: npt.NDArray[np.int64]) -> None:
        self.store, self.positions, self.first = store, positions, first

    def _gather(self, rows: Tensor, out: npt.NDArray[Any], read: Callable[..., npt.NDArray[Any]]) -> Tensor:
        starts = rows[:, 0].cpu().numpy()
        songs = np.searchsorted(self.first, starts, side="right") - 1
        for window, song, start in zip(out, songs, starts - self.first[songs], strict=True):
            piece = read(self.positions[song], int(start), int(start) + len(window))
            window[: len(piece)] = piece
        return torch.from_numpy(out).to(rows.device)


class MappedFeatures(Mapped):
    """Features, float16 [B, T, n_bins]; zeros behind a song's end."""

    def __getitem__(self, rows: Tensor) -> Tensor:
        out = np.zeros((*rows.shape, self.store.identity.plan.n_bins), np.float16)
        return self._gather(rows, out, self.store.features)

    def song(self, song: int) -> Tensor:
        return torch.from_numpy(np.array(self.store.features(self.positions[song])))


class MappedTeacher(Mapped):
    """A teacher's log-probabilities."""

    def logits(self, rows: Tensor, shift: Tensor | None) -> Tensor:
        out = np.zeros((*rows.shape, self.store.identity.classes), np.float32)
        return transposed_logits(self._gather(rows, out, self.store.teacher_logits), shift)

    def to(self, device: torch.device) -> MappedTeacher:
        return self


def read_store(
    store: Store,
    recipe: Recipe,
    labels: str | os.PathLike[str] | None,
    split: str | os.PathLike[str] | Split | None,
    *,
    teacher: str | None,
    skip: bool,
    plan: FeaturePlan,
    warn: Callable[[str], None],
) -> Corpus:
    """See ``Corpus.from_store``."""
    _check(store, recipe, labels, teacher, plan)
    rows = [row for row in store.rows if row.frames > 0]
    ids, found = _divided(store, rows, recipe, labels, split, skip, warn)
    _check_shifted(store, ids.train, recipe)
    kept, train, val = _choose_rows(rows, ids, recipe, found)
    return _assemble(store, kept, Split(train, val, []), ids, recipe, found)


def divided(
    store: Store,
    recipe: Recipe,
    labels: str | os.PathLike[str] | None = None,
    split: str | os.PathLike[str] | Split | None = None,
    *,
    skip: bool = False,
) -> Split:
    """The song ids of each part, as ``Corpus.from_store`` with the same arguments divides the store; raises as it."""
    _check(store, recipe, labels, None, store.identity.plan)
    rows = [row for row in store.rows if row.frames > 0]
    return _divided(store, rows, recipe, labels, split, skip, lambda _: None)[0]


def _divided(
    store: Store, rows: list[Row], recipe: Recipe, labels: Any, split: Any, skip: bool, warn: Callable[[str], None]
) -> tuple[Split, dict[str, npt.NDArray[np.int16]]]:
    """The songs of each part by id, and with labels the targets of every song."""
    settings = recipe.data
    bases = list(dict.fromkeys(base_and_shift(row.id)[0] for row in rows))
    bases = [bases[i] for i in choose(len(bases), settings.max_songs, recipe.seed)]
    named = read_split(split) if isinstance(split, str | os.PathLike) else split
    ids = None
    if named is not None:
        where = str(split) if isinstance(split, str | os.PathLike) else "the split"
        ids = Split(*([bases[i] for i in part] for part in match(named, bases, where)))
    found: dict[str, npt.NDArray[np.int16]] = {}
    if settings.targets == "labels":
        # Songs that a split leaves out, or keeps for a test, need no labels.
        asked = set(bases) if ids is None else {*ids.train, *ids.val}
        found = _labelled(rows, asked, labels, store.identity.classes, recipe, skip, warn)
        labelled = {base_and_shift(song)[0] for song in found}
        bases = [base for base in bases if base in labelled]
        if ids is not None:
            ids = Split([s for s in ids.train if s in labelled], [s for s in ids.val if s in labelled], ids.test)
    if ids is None:
        parts = split_songs(
            len(bases), settings.train, settings.val, recipe.seed, settings.ensure_train, settings.ensure_val
        )
        ids = Split(*([bases[i] for i in part] for part in parts))
    for name, part in (("train", ids.train), ("val", ids.val)):
        if not part:
            raise UsageError(
                f"the store {store.layout.root}: no song is left to {name} ({len(bases)} songs with frames and "
                "targets); add songs, or change the split"
            )
    return ids, found


def _check_shifted(store: Store, train: list[str], recipe: Recipe) -> None:
    """StoreError unless every training song is there shifted by all that the recipe asks for; one may have failed."""
    wanted = recipe.augment.semitones()
    versions = [(song, shifted_id(song, step)) for song in train for step in wanted]
    lacking = [name for song, name in versions if name not in store or _stale(store, song, name)]
    if lacking:
        raise StoreError(
            f"the store {store.layout.root} lacks {len(lacking)} shifted versions of the {len(train)} training songs "
            f"(say, {lacking[0]}); make them with chordfast label --pitch-shift {wanted[0]}..{wanted[-1]}"
        )


def _stale(store: Store, song: str, version: str) -> bool:
    """Whether a shifted version was made from other bytes than the song that is there now."""
    row = store.row(version)
    return row.frames > 0 and song in store and row.source_hash != store.row(song).source_hash


def _check(store: Store, recipe: Recipe, labels: Any, teacher: str | None, plan: FeaturePlan) -> None:
    store.require(plan=plan)
    identity, settings = store.identity, recipe.data
    if teacher is not None and teacher not in (identity.teacher, identity.teacher_hash):
        raise StoreError(
            f"the store {store.layout.root} was made with teacher {identity.teacher or 'none'}, not {teacher}; "
            "name another store, or label its music again"
        )
    if recipe.loss.kd and "kd" not in recipe.compat:
        store.require(logits=True)
    if settings.targets == "pseudo":
        if not identity.teacher:
            raise StoreError(f"the store {store.layout.root} has no pseudo-labels; label its music with a teacher")
        if labels is not None:
            raise UsageError("a label folder was given, but data.targets is pseudo; set data.targets=labels")
        return
    if labels is None:
        raise UsageError(f"{recipe.name} trains on labels; give their folder")
    if settings.min_confidence or settings.agreement_only or settings.weight_by in ("confidence", "agreement"):
        raise UsageError(
            "data.min_confidence, agreement_only, and weight_by confidence or agreement choose pseudo-labels; "
            "leave them out here"
        )


def _labelled(
    rows: list[Row], bases: set[str], folder: Any, classes: int, recipe: Recipe, skip: bool, warn: Callable[[str], None]
) -> dict[str, npt.NDArray[np.int16]]:
    """Targets by song id; songs without labels, or with wrong ones, refused or left out."""
    files = label_files(folder)
    found, missing, wrong = {}, [], []
    for row in rows:
        base, shift = base_and_shift(row.id)
        if base not in bases or not recipe.augment.uses(shift):
            continue
        path = find_label(files, base)
        if path is None:
            missing.append(row.id)
            continue
        try:
            found[row.id] = song_classes(path, row.frames, row.duration, classes, shift, recipe.compat)
        except LabelError as error:
            if not skip:
                raise
            wrong.append(str(error))
    if missing and not skip:
        raise LabelError(
            f"{folder} has no label file for {len(missing)} of the songs (say, {missing[0]!r}); "
            "add them, or leave such songs out with --skip-unlabelled"
        )
    if missing:
        warn(f"{len(missing)} songs without labels were left out (say, {missing[0]!r})")
    for sentence in wrong:
        warn(f"left out: {sentence}")
    return found


def _choose_rows(
    rows: list[Row], ids: Split, recipe: Recipe, found: dict[str, Any]
) -> tuple[list[Row], list[int], list[int]]:
    """The songs to load, and which of them train and validate; shifted renderings only train."""
    train_ids, val_ids = set(ids.train), set(ids.val)
    kept: list[Row] = []
    train, val = [], []
    for row in rows:
        base, shift = base_and_shift(row.id)
        if recipe.data.targets == "labels" and row.id not in found:
            continue
        if base in train_ids and recipe.augment.uses(shift):
            train.append(len(kept))
        elif base in val_ids and not shift:
            val.append(len(kept))
        else:
            continue
        kept.append(row)
    return kept, train, val


def _assemble(
    store: Store, rows: list[Row], parts: Split, ids: Split, recipe: Recipe, found: dict[str, npt.NDArray[np.int16]]
) -> Corpus:
    identity, settings = store.identity, recipe.data
    frames = np.array([row.frames for row in rows], dtype=np.int64)
    first = np.concatenate(([0], np.cumsum(frames)[:-1])).astype(np.int64)
    total = int(frames.sum())
    distil = recipe.loss.kd and bool(identity.teacher) and identity.posteriors != "none"
    large = ["features", *(_TEACHER_ARRAYS[identity.posteriors] if distil else ())]
    kinds = identity.arrays()
    gigabytes = total * sum(kinds[n][0].itemsize * math.prod(kinds[n][1]) for n in large) / 1e9
    resident = gigabytes <= settings.memory_gb
    wanted: dict[str, npt.NDArray[Any]] = {}
    names = [*(large if resident else []), *(["target"] if settings.targets == "pseudo" else [])]
    for name in names:
        dtype, shape = kinds[name]
        wanted[name] = np.empty((total, *shape), dtype)
    target = wanted.setdefault("target", np.empty(total, np.int16))
    weight = np.ones(total, np.float16) if settings.weight_by in ("confidence", "agreement") else None
    train = set(parts.train)
    digest = hashlib.sha256(f"{identity.hash} {recipe.data}".encode())
    agreeing = _agreement_of_all(store, rows) if settings.agreement_only or settings.weight_by == "agreement" else 1
    for position, (row, at) in enumerate(zip(rows, first.tolist(), strict=True)):
        place = slice(at, at + row.frames)
        for name in names:
            wanted[name][place] = _checked(store, row, name)
        if row.id in found:
            target[place] = found[row.id]
        if position in train:
            _filter(store, row, recipe, agreeing, target[place], None if weight is None else weight[place])
        digest.update(f"{row.id} {row.source_hash} {row.frames} {dict(row.crc)}".encode() + target[place].tobytes())
    if settings.weight_by == "quality":
        trains = np.repeat(np.isin(np.arange(len(rows)), parts.train), frames)
        weight = quality_weights(target, trains, identity.classes)
    tensors = {name: torch.from_numpy(array) for name, array in wanted.items()}
    positions = [store.position(row.id) for row in rows]
    features: Any = tensors["features"] if resident else MappedFeatures(store, positions, first)
    teacher: Any = _teacher(tensors, identity)
    if distil and not resident:
        teacher = MappedTeacher(store, positions, first)
    kind = "in memory" if resident else "read from the mapped store"
    hours = total * identity.plan.frame_period / 3600
    data = Frames(
        features,
        tensors["target"],
        None if weight is None else torch.from_numpy(weight),
        teacher,
        identity.classes,
        identity.plan.bins_per_octave // 12,
    )
    note = (
        f"{len(parts.train)} songs train and {len(parts.val)} validate, {hours:.1f} h; {len(ids.test)} kept for "
        f"testing; {' and '.join(['features', *(['posteriors'] if distil else [])])} {gigabytes:.2f} GB, {kind}"
    )
    return Corpus(
        [row.id for row in rows], first, frames, parts, data, identity.plan, identity.plan_hash, identity.teacher,
        identity.teacher_hash, digest.hexdigest(), [note], ids,
    )  # fmt: skip


def _teacher(tensors: dict[str, Tensor], identity: StoreIdentity) -> DenseTeacher | TopTeacher | None:
    if "log_probability" in tensors:
        return DenseTeacher(tensors["log_probability"], -STEP if identity.posteriors == "full8" else 1.0)
    if "top_class" in tensors:
        names = ("top_class", "top_log_probability", "rest")
        classes, log_probability, rest = (tensors[name] for name in names)
        return TopTeacher(classes, log_probability, rest, identity.classes)
    return None


def _checked(store: Store, row: Row, name: str) -> npt.NDArray[Any]:
    """An array of a song, its checksum compared while it is at hand."""
    array = store.array(row.id, name)
    if zlib.crc32(np.ascontiguousarray(array).data) != row.crc.get(name):
        raise StoreError(
            f"the store {store.layout.root} is damaged ({name} of {row.id}); run chordfast store verify, and "
            "label that song again"
        )
    return array


def _agreement_of_all(store: Store, rows: list[Row]) -> int:
    """The agreement of full accord: the greatest there is."""
    most = 0
    for row in rows:
        values = store.agreement(row.id)
        if values is None:
            raise ChordfastError(
                f"the store {store.layout.root} has no agreement for {row.id}; it takes a combined teacher (crema+lv)"
            )
        most = max(most, int(values.max(initial=0)))
    return max(most, 1)


def _filter(
    store: Store,
    row: Row,
    recipe: Recipe,
    agreeing: int,
    target: npt.NDArray[np.int16],
    weight: npt.NDArray[np.float16] | None,
) -> None:
    """Mark the training frames that do not count, and weigh the others; in place."""
    settings = recipe.data
    if settings.min_confidence > 0:
        target[store.confidence(row.id) < settings.min_confidence] = IGNORE
    if settings.agreement_only or settings.weight_by == "agreement":
        agreement = store.agreement(row.id)
        assert agreement is not None
        if settings.agreement_only:
            target[agreement < agreeing] = IGNORE
        if weight is not None and settings.weight_by == "agreement":
            weight[:] = agreement / agreeing
    if weight is not None and settings.weight_by == "confidence":
        weight[:] = store.confidence(row.id)
