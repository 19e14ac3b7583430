"""Reading a store at random: shards mapped into memory, no locks, while writers may be at work."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import StoreError, UsageError
from ..ops.feature_plan import FeaturePlan
from .identity import FLOOR, STEP, Array, StoreIdentity
from .layout import Layout, newest, scan
from .record import NO_AGREEMENT, Row
from .tensors import Mapped

PADDING = {"target": -1, "agreement": NO_AGREEMENT}
"""What stands behind the end of a song in ``read_windows``; 0 in the other arrays."""

_PARTS_MAPPED = 4096  # a process may map 65530 files
Song = str | int


class Store:
    """A store to read: the newest row of every song, sorted by name, and views of their arrays.

    Songs are named by id or by position in ``rows``. start and stop count frames; stop may lie beyond the end and is
    the end by default. What writers store after opening is not seen. Many processes may read at once; after a fork
    each child may go on with the same object.

    Raises StoreError when the folder is no store or damaged; UsageError without pyarrow where songs are sealed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.layout = Layout(Path(path))
        self.identity: StoreIdentity = self.layout.read_identity()
        self._arrays = self.identity.arrays()
        self.all_rows: list[Row] = scan(self.layout, self.identity)
        self.rows: list[Row] = list(newest(self.all_rows).values())
        self._positions = {row.id: i for i, row in enumerate(self.rows)}
        self._mapped: dict[str, Mapping[str, Array]] = {}
        self._parts_mapped: list[str] = []

    def __getstate__(self) -> dict[str, Any]:
        """Without the mappings: another process makes its own."""
        return {**self.__dict__, "_mapped": {}, "_parts_mapped": []}

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, song: str) -> bool:
        return song in self._positions

    def position(self, song: Song) -> int:
        """Where a song stands in ``rows``; UsageError when there is none of this id, or no such position."""
        if isinstance(song, str):
            try:
                return self._positions[song]
            except KeyError:
                raise UsageError(f"no song {song!r} in the store {self.layout.root}; its rows name them") from None
        if not 0 <= song < len(self.rows):
            raise UsageError(f"no song {song} in the store {self.layout.root} of {len(self.rows)} songs")
        return int(song)

    def row(self, song: Song) -> Row:
        return self.rows[self.position(song)]

    def require(
        self,
        plan: FeaturePlan | str | None = None,
        teacher: str | None = None,
        teacher_hash: str | None = None,
        classes: int | None = None,
        features_hash: str | None = None,
        logits: bool = False,
    ) -> Store:
        """This store, if it was made with all that is given (a plan, or its hash); StoreError names what differs.

        logits: the posteriors must have been kept.
        """
        mine, where = self.identity, f"the store {self.layout.root}"
        if plan is not None and (plan if isinstance(plan, str) else plan.hash) != mine.plan_hash:
            raise StoreError(f"{where} has features of another plan ({mine.plan_hash}); label its music again for this")
        for name, wanted in {"teacher": teacher, "teacher_hash": teacher_hash, "classes": classes,
                             "features_hash": features_hash}.items():  # fmt: skip
            if wanted is not None and wanted != getattr(mine, name):
                raise StoreError(
                    f"{where} has {name} {getattr(mine, name) or 'none'} instead of {wanted}; name another store, "
                    "or label its music again"
                )
        if logits and (not mine.teacher or mine.posteriors == "none"):
            raise StoreError(f"{where} was made without posteriors; label its music again with full or topk ones")
        return self

    def array(self, song: Song, name: str, start: int = 0, stop: int | None = None) -> Array:
        """One of ``identity.arrays()`` as it is stored, a view."""
        return self._view(song, name, start, stop)

    def features(self, song: Song, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float16]:
        """float16 [n, n_bins], a view of the file."""
        return self._view(song, "features", start, stop)

    def target(self, song: Song, start: int = 0, stop: int | None = None) -> npt.NDArray[np.int16]:
        """The teacher's likeliest class (the lowest of equal ones): int16 [n], a view."""
        return self._view(song, "target", start, stop)

    def confidence(self, song: Song, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        """Probability of ``target``: float32 [n], 0 ... 1, kept to 2.5e-4."""
        return self._view(song, "confidence", start, stop).astype(np.float32)

    def kd_confidence(self, song: Song, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        """Greatest entry of softmax(ln p / kd_temperature): float32 [n], 0 ... 1, kept to 2.5e-4."""
        return self._view(song, "kd_confidence", start, stop).astype(np.float32)

    def agreement(self, song: Song, start: int = 0, stop: int | None = None) -> npt.NDArray[np.uint8] | None:
        """What the record's ``agreement`` was: uint8 [n], a view; None when the song has none."""
        if "agreement" not in self.row(song).crc:
            return None
        return self._view(song, "agreement", start, stop)

    def teacher_logits(self, song: Song, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        """Log-probabilities of the teacher, float32 [n, classes]; their softmax is the stored distribution.

        From "topk" the classes that were not kept share the remaining mass equally; from "full8" values are right to
        0.054. Nothing is below ln 1e-12.
        StoreError when the store was made without posteriors.
        """
        self.require(logits=True)
        found = np.empty((len(self.features(song, start, stop)), self.identity.classes), np.float32)
        self._fill_logits(song, start, stop, found)
        return found

    def _fill_logits(self, song: Song, start: int, stop: int | None, out: Array) -> None:
        if self.identity.posteriors == "full8":
            np.multiply(self._view(song, "log_probability", start, stop), np.float32(-STEP), out=out)
            return
        if self.identity.posteriors == "full":
            out[:] = self._view(song, "log_probability", start, stop)
            return
        names = ("top_class", "top_log_probability", "rest")
        top_class, top_log, rest = (self._view(song, name, start, stop) for name in names)
        if not (top_class.view(np.uint16) < self.identity.classes).all():
            raise StoreError(f"{self.layout.file(self.row(song))} is damaged (a class); run chordfast store verify")
        expand(top_class, top_log, rest, out)

    def read_windows(
        self,
        positions: Sequence[int] | npt.NDArray[Any],
        starts: Sequence[int] | npt.NDArray[Any],
        length: int,
        names: Sequence[str] = ("features", "target"),
        out: dict[str, Array] | None = None,
    ) -> dict[str, Array]:
        """A batch: ``length`` frames from ``starts[i]`` of song ``positions[i]`` for each of the B windows.

        names: of "features", "target", "confidence", "kd_confidence", "agreement", "teacher_logits". Gives arrays
        [B, length, ...] by name in the types of the methods (features float16), and "valid", int64 [B]: frames before
        the song's end; behind stand ``PADDING`` values. out: what an earlier call of the same size gave, to be filled
        anew.
        """
        count = len(positions)
        if out is None:
            out = self._batch(count, length, names)
        valid = out["valid"]
        stored, logits = [name for name in names if name != "teacher_logits"], "teacher_logits" in names
        if logits:
            self.require(logits=True)
        for i in range(count):
            row, start = self.rows[positions[i]], int(starts[i])
            if not 0 <= start <= row.frames:
                raise UsageError(f"frame {start} of song {row.id}, which has {row.frames}; give one of these")
            n = min(length, row.frames - start)
            valid[i] = n
            for name in stored:
                target = out[name][i]
                if name == "agreement" and name not in row.crc:
                    target[:] = NO_AGREEMENT
                    continue
                target[:n] = self._view(int(positions[i]), name, start, start + n)
                target[n:] = PADDING.get(name, 0)
            if logits:
                target = out["teacher_logits"][i]
                self._fill_logits(int(positions[i]), start, start + n, target[:n])
                target[n:] = 0
        return out

    def _batch(self, count: int, length: int, names: Sequence[str]) -> dict[str, Array]:
        out: dict[str, Array] = {"valid": np.empty(count, np.int64)}
        for name in names:
            if name == "teacher_logits":
                out[name] = np.empty((count, length, self.identity.classes), np.float32)
                continue
            if name not in self._arrays:
                known = [*self._arrays, *(["teacher_logits"] if self.identity.teacher else [])]
                raise UsageError(f"the store {self.layout.root} has no {name}; choose from {', '.join(known)}")
            dtype, shape = self._arrays[name]
            if name in ("confidence", "kd_confidence"):
                dtype = np.dtype(np.float32)
            out[name] = np.empty((count, length, *shape), dtype)
        return out

    def verify(self, progress: Callable[[int, int], None] | None = None) -> list[Any]:
        """`chordfast.store.verify` of this store's folder."""
        from .verifying import verify

        return verify(self.layout.root, progress)

    def export(self, folder: str | os.PathLike[str], format: str = "npz") -> int:
        """`chordfast.store.export` of this store."""
        from .exporting import export

        return export(self, folder, format)

    def _view(self, song: Song, name: str, start: int, stop: int | None) -> Array:
        position = self.position(song)
        row = self.rows[position]
        if start < 0 or (stop is not None and stop < start):
            raise UsageError(f"frames {start} to {stop} of song {row.id}; give a start from 0 and a stop behind it")
        key = row.shard or row.id
        arrays = self._mapped.get(key)
        if arrays is None:
            arrays = self._map(position)
            row = self.rows[position]
        try:
            array = arrays[name]
        except KeyError:
            if not row.frames and name in self._arrays:
                dtype, shape = self._arrays[name]
                return np.empty((0, *shape), dtype)
            raise StoreError(f"the store {self.layout.root} has no {name}; it was made without a teacher") from None
        end = row.frames if stop is None or stop > row.frames else stop
        return array[row.offset + min(start, row.frames) : row.offset + end]

    def _map(self, position: int) -> Mapping[str, Array]:
        """Map the file of a song; where it was sealed meanwhile, find its shard."""
        row = self.rows[position]
        try:
            mapped = Mapped(self.layout.file(row))
        except FileNotFoundError:
            self._relocate()
            row = self.rows[position]
            try:
                mapped = Mapped(self.layout.file(row))
            except FileNotFoundError:
                raise StoreError(
                    f"{self.layout.file(row)} is missing; copy it back, or delete the store and label its music again"
                ) from None
        check_shapes(mapped, self.identity, None if row.shard else row.frames)
        if mapped.arrays and len(next(iter(mapped.arrays.values()))) < row.offset + row.frames:
            raise StoreError(f"{mapped.path} is shorter than its index says; run chordfast store verify")
        if not row.shard:
            self._parts_mapped.append(row.id)
            if len(self._parts_mapped) > _PARTS_MAPPED:
                self._mapped.pop(self._parts_mapped.pop(0), None)
        self._mapped[row.shard or row.id] = mapped.arrays
        return mapped.arrays

    def _relocate(self) -> None:
        rows = {(row.writer, row.id, row.generation): row for row in scan(self.layout, self.identity)}
        self.rows = [rows.get((row.writer, row.id, row.generation), row) for row in self.rows]


def check_shapes(mapped: Mapped, identity: StoreIdentity, frames: int | None) -> None:
    """StoreError unless a file's arrays have the identity's types, and all the same number of frames."""
    known = identity.arrays()
    if mapped.metadata.get("identity") != identity.hash:
        raise StoreError(f"{mapped.path} was made for another store; move it out of this one")
    if frames is None and mapped.metadata.get("shard") != mapped.path.stem:
        raise StoreError(f"{mapped.path} is damaged (it was another shard); run chordfast store verify")
    if frames is None and not set(known) - {"agreement"} <= set(mapped.arrays):
        raise StoreError(f"{mapped.path} is damaged (an array is missing); run chordfast store verify")
    for name, array in mapped.arrays.items():
        if frames is None:
            frames = len(array) if array.ndim else 0
        if name not in known or (array.dtype, array.shape) != (known[name][0], (frames, *known[name][1])):
            raise StoreError(f"{mapped.path} is damaged (array {name[:40]}); run chordfast store verify")


def expand(top_class: Array, top_log: Array, rest: Array, out: Array) -> None:
    """Fill out [n, classes] with log-probabilities: of the top k [n, k], and the others' mass [n] spread equally."""
    frames, classes = out.shape
    others = np.maximum(rest / np.float32(classes - top_class.shape[1]), np.float32(FLOOR))
    out[:] = np.log(others)[:, None]
    out[np.arange(frames)[:, None], top_class] = top_log
