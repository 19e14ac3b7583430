"""From a song's features and posteriors to the arrays of the store, and the row that describes them."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from ..errors import StoreError
from .identity import FLOOR, STEP, Array, StoreIdentity

OUTCOMES = ("ok", "truncated", "silent", "too_short", "unreadable", "crashed", "timeout")
WITH_FRAMES = frozenset({"ok", "truncated"})
NO_AGREEMENT = 255
"""Value of ``agreement`` for songs without one that lie in a shard with others that have one."""

_BLOCK = 256  # frames worked on at once: temporaries stay in the cache
_SLACK = 2  # frames by which the posteriors of another feature plan may be longer or shorter


@dataclass
class SongRecord:
    """A song to be stored.

    id: its key, unique in the store (the path below the music folder); source_hash: of the recording's bytes;
    outcome: one of ``OUTCOMES``; duration in seconds. For outcome ok and truncated: features [T, n_bins], any float
    type; posteriors [T, classes], probabilities >= 0 (each frame is divided by its sum), None in a store without a
    teacher; agreement [T], whole numbers 0 ... 254, optional. Arrays of other outcomes are not stored.
    """

    id: str
    source_hash: str
    outcome: str
    duration: float
    features: Array | None = None
    posteriors: Array | None = None
    agreement: Array | None = None


@dataclass(frozen=True)
class Row:
    """A song of a store.

    frames: 0 when it failed; confidence: mean over the frames, None without them; generation: 0, and one more each
    time the song was stored anew; writer: who stored it; shard: file it lies in from frame ``offset`` on, "" while the
    song still has a file of its own; crc: CRC-32 of each of its arrays.
    """

    id: str
    source_hash: str
    outcome: str
    duration: float
    frames: int
    confidence: float | None
    generation: int
    writer: str
    crc: Mapping[str, int] = field(default_factory=dict)
    shard: str = ""
    offset: int = 0

    def to_json(self) -> str:
        return json.dumps({f.name: getattr(self, f.name) for f in fields(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Row:
        """ValueError, KeyError or TypeError when the text is not a row."""
        row = cls(**json.loads(text))
        row.check()
        return row

    def check(self) -> None:
        """ValueError when a value is of the wrong type or impossible."""
        whole = (self.frames, self.generation, self.offset, *self.crc.values())
        if not all(type(value) is int and value >= 0 for value in whole):
            raise ValueError("a number is not a whole one")
        if not all(isinstance(value, str) for value in (self.id, self.source_hash, self.writer, self.shard)):
            raise ValueError("a name is not a text")
        if self.outcome not in OUTCOMES or not isinstance(self.duration, float):
            raise ValueError(f"outcome {self.outcome!r} or duration {self.duration!r} is impossible")
        if not (self.confidence is None or isinstance(self.confidence, float)):
            raise ValueError("confidence is no number")

    def same_content(self, other: Row) -> bool:
        """Whether both rows describe the same recording, result and bytes."""
        names = ("id", "source_hash", "outcome", "duration", "frames", "crc")
        return all(getattr(self, name) == getattr(other, name) for name in names)


def frame_bytes(row: Row, identity: StoreIdentity) -> int:
    """Bytes of one frame of a song."""
    return identity.frame_bytes("agreement" in row.crc)


def reduce(record: SongRecord, identity: StoreIdentity) -> dict[str, Array]:
    """The arrays of a song in the store's types and order; none when the outcome has no frames.

    StoreError, with the song's name, when an array is missing, has another shape, or holds a value that is not finite.
    """
    try:
        return _reduce(record, identity)
    except ValueError as error:
        raise StoreError(f"song {record.id}: {error}; it was not stored") from None


def _reduce(record: SongRecord, identity: StoreIdentity) -> dict[str, Array]:
    if record.outcome not in OUTCOMES:
        raise ValueError(f"outcome {record.outcome!r} is none of {', '.join(OUTCOMES)}")
    if not (math.isfinite(record.duration) and record.duration >= 0):
        raise ValueError(f"duration {record.duration} is no length in seconds")
    if record.outcome not in WITH_FRAMES:
        return {}
    features = _features(record.features, identity)
    if not identity.teacher:
        if record.posteriors is not None:
            raise ValueError("there are posteriors, but the store was made without a teacher")
        return {"features": features}
    posteriors = record.posteriors
    if posteriors is None or posteriors.ndim != 2 or posteriors.shape[1] != identity.classes:
        shape = None if posteriors is None else posteriors.shape
        raise ValueError(f"posteriors have shape {shape}, the store has {identity.classes} classes")
    frames = min(len(features), len(posteriors))
    if max(len(features), len(posteriors)) - frames > _SLACK:
        raise ValueError(f"{len(features)} frames of features but {len(posteriors)} of posteriors")
    blocks = [_distribution(posteriors[i : i + _BLOCK], identity) for i in range(0, max(frames, 1), _BLOCK)]
    arrays = {name: np.concatenate([block[name] for block in blocks])[:frames] for name in blocks[0]}
    arrays["features"] = features[:frames]
    if record.agreement is not None:
        arrays["agreement"] = _agreement(record.agreement, len(posteriors))[:frames]
    return {name: arrays[name] for name in identity.arrays() if name in arrays}


def _features(features: Array | None, identity: StoreIdentity) -> Array:
    if features is None or features.ndim != 2 or features.shape[1] != identity.plan.n_bins:
        shape = None if features is None else features.shape
        raise ValueError(f"features have shape {shape}, the store's plan has {identity.plan.n_bins} bins")
    narrow = np.empty(features.shape, "<f2")
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(0, len(narrow), _BLOCK):
            narrow[i : i + _BLOCK] = features[i : i + _BLOCK]
            if not np.isfinite(narrow[i : i + _BLOCK]).all():
                raise ValueError("features are not finite, or too large for 16 bits")
    return narrow


def _agreement(agreement: Array, frames: int) -> Array:
    if agreement.shape != (frames,):
        raise ValueError(f"agreement has shape {agreement.shape} for {frames} frames")
    if frames and not 0 <= agreement.min() <= agreement.max() < NO_AGREEMENT:
        raise ValueError("agreement lies outside 0 ... 254")
    return agreement.astype("u1")


def _distribution(posteriors: Array, identity: StoreIdentity) -> dict[str, Array]:
    """The arrays made of posteriors [T, K]; ValueError when they are no probabilities."""
    p = np.array(posteriors, np.float32, order="C")
    total = p.sum(axis=1, dtype=np.float64)[:, None]
    if p.size and not (p.min() >= 0 and np.isfinite(total).all() and (total > 0).all()):
        raise ValueError("posteriors are not probabilities (negative, not finite, or all 0 in a frame)")
    p = (p / total).astype(np.float32)
    floored = np.log(np.maximum(p, np.float32(FLOOR)))
    tempered = np.exp(floored / np.float32(identity.kd_temperature))
    found = {
        "target": p.argmax(axis=1).astype("<i2"),
        "confidence": p.max(axis=1, initial=0).astype("<f2"),
        "kd_confidence": (tempered.max(axis=1, initial=0) / tempered.sum(axis=1)).astype("<f2"),
    }
    if identity.posteriors == "full":
        found["log_probability"] = floored.astype("<f2")
    elif identity.posteriors == "full8":
        found["log_probability"] = np.rint(floored / np.float32(-STEP)).astype("u1")
    elif identity.posteriors == "topk":
        best = _top(p, identity.top)
        found["top_class"] = best.astype("<i2")
        found["top_log_probability"] = np.take_along_axis(floored, best, axis=1).astype("<f2")
        # Adding up what is left keeps masses far below the rounding of 1 - sum.
        np.put_along_axis(p, best, 0, axis=1)
        found["rest"] = p.sum(axis=1, dtype=np.float64).astype("<f4")
    return found


def _top(p: Array, k: int) -> Array:
    """The k likeliest classes of each frame, descending, the lower class first where two are equal: int64 [T, k]."""
    # Non-negative floats sort like their bits; with the class in the low bits no two keys are equal.
    keys = (p.view(np.int32).astype(np.int64) << 16) | np.arange(0x7FFF, 0x7FFF - p.shape[1], -1)
    best = np.sort(np.partition(keys, p.shape[1] - k, axis=1)[:, -k:], axis=1)[:, ::-1]
    return 0x7FFF - (best & 0xFFFF)


def checksums(arrays: Mapping[str, Array]) -> dict[str, int]:
    """CRC-32 of every array's bytes in C order."""
    return {name: zlib.crc32(np.ascontiguousarray(array).data) for name, array in arrays.items()}
