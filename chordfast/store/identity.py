"""What a store was made with; two different identities never mix in one folder."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import StoreError, UsageError
from ..ops.feature_plan import BTC, FeaturePlan

FORMAT = "chordfast-store"
VERSION = 1
FLOOR = 1e-12
"""Probabilities are not told apart below this one: log-probabilities end at ln 1e-12 = -27.6."""
POSTERIORS = ("topk", "full8", "full", "none")
STEP = -math.log(FLOOR) / 255
"""From one value of a "full8" log-probability to the next: 0.108, so that ln p is kept to 0.054."""

_WORDS = {
    "plan": "a feature plan of",
    "plan_hash": "feature plan's hash",
    "features_hash": "features' hash (plan and resampling)",
    "teacher_hash": "teacher's weights",
    "options_hash": "decoding options",
    "posteriors": "kind of posteriors",
    "top": "number of top classes",
    "kd_temperature": "distillation temperature",
}


@dataclass(frozen=True)
class StoreIdentity:
    """Everything that decides what the arrays of a store mean.

    plan: of the features; plan_hash is its ``.hash`` (kept from the file when read, so that another version of the
    transform is told apart). features_hash: plan and resampling quality together. teacher: its name ("" for a store of
    features alone), teacher_hash: SHA-256 of its weights; classes: length of a posterior. options_hash: of the
    decoding options. posteriors: "topk" keeps the ``top`` likeliest classes of a frame and the mass of the others,
    "full8" all in a byte each (ln p in steps of ``STEP``), "full" all, "none" only the likeliest class and its
    confidence. kd_temperature: of ``kd_confidence``.
    UsageError when a value is impossible.
    """

    plan: FeaturePlan = BTC
    features_hash: str = ""
    teacher: str = ""
    teacher_hash: str = ""
    classes: int = 170
    options_hash: str = ""
    posteriors: Literal["topk", "full", "full8", "none"] = "topk"
    top: int = 8
    kd_temperature: float = 3.0
    plan_hash: str = ""

    def __post_init__(self) -> None:
        if not 2 <= self.classes <= 0x7FFF:
            raise UsageError(f"store: {self.classes} classes; give a number from 2 to 32767")
        if self.posteriors not in POSTERIORS:
            raise UsageError(f"store: posteriors are {self.posteriors!r}; choose from {', '.join(POSTERIORS)}")
        if self.posteriors == "topk" and not 1 <= self.top < self.classes:
            raise UsageError(f"store: top {self.top} of {self.classes} classes; give 1 ... {self.classes - 1}, or full")
        if not (math.isfinite(self.kd_temperature) and self.kd_temperature > 0):
            raise UsageError(f"store: kd_temperature is {self.kd_temperature!r}; give a positive number")
        if not self.plan_hash:
            object.__setattr__(self, "plan_hash", self.plan.hash)

    def to_json(self) -> str:
        """The text of ``store.json``: the same bytes for the same identity."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "store.json") -> StoreIdentity:
        """Read ``to_json``'s text; StoreError when it is something else or of a later version."""
        try:
            data: Any = json.loads(text)
            if data["format"] != FORMAT:
                raise ValueError("another format")
            version = data["version"]
            known = {field.name for field in fields(cls)}
            values = {name: value for name, value in data.items() if name in known}
            if version == VERSION:
                return cls(**{**values, "plan": FeaturePlan(**data["plan"])})
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"{where} is not the description of a store ({' '.join(str(error).split())[:120]}); "
                "name the folder given to --store, or make the store again"
            ) from error
        raise StoreError(f"{where} has version {version!r}, not {VERSION}; read it with the chordfast that wrote it")

    @property
    def hash(self) -> str:
        """SHA-256 of the text, 16 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def difference(self, other: StoreIdentity) -> str | None:
        """The first field in which ``other`` differs, in words with both values; None when nothing differs."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if mine != theirs:
                return f"{_WORDS.get(field.name, field.name)} {_short(mine)} instead of {_short(theirs)}"
        return None

    def arrays(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Name -> (type, shape of one frame) of every array of a song, widest type first, so that all are aligned.

        ``agreement`` is there only for songs whose teacher gives it.
        """
        f16, i16 = np.dtype("<f2"), np.dtype("<i2")
        found: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        if self.teacher and self.posteriors == "topk":
            found["rest"] = (np.dtype("<f4"), ())
        found["features"] = (f16, (self.plan.n_bins,))
        if self.teacher:
            found.update(target=(i16, ()), confidence=(f16, ()), kd_confidence=(f16, ()))
            if self.posteriors == "topk":
                found.update(top_class=(i16, (self.top,)), top_log_probability=(f16, (self.top,)))
            elif self.posteriors == "full":
                found["log_probability"] = (f16, (self.classes,))
            if self.posteriors == "full8":
                found["log_probability"] = (np.dtype("u1"), (self.classes,))
            found["agreement"] = (np.dtype("u1"), ())
        return found

    def frame_bytes(self, agreement: bool = False) -> int:
        """Bytes of one frame over all arrays."""
        return sum(
            dtype.itemsize * math.prod(shape)
            for name, (dtype, shape) in self.arrays().items()
            if agreement or name != "agreement"
        )


def _short(value: object) -> str:
    if isinstance(value, FeaturePlan):
        return f"{value.n_bins} bins, {value.bins_per_octave} to the octave, hop {value.hop}, {value.output}"
    text = str(value) or "none"
    return text if len(text) <= 20 else text[:16] + "…"


Array = npt.NDArray[Any]
