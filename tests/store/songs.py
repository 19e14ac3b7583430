"""Songs, stores and their bytes for the tests of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chordfast.store import SongRecord, StoreIdentity, StoreWriter

Array = Any


def identity(**changes: Any) -> StoreIdentity:
    values: dict[str, Any] = {"features_hash": "f" * 16, "teacher": "crema", "teacher_hash": "c" * 64,
                              "options_hash": "0" * 16, **changes}  # fmt: skip
    return StoreIdentity(**values)


def posteriors(seed: int, frames: int, classes: int = 170) -> Array:
    """Probabilities as a confident teacher gives them: a few classes hold nearly all, the others go down to 1e-9."""
    logits = np.random.default_rng(seed).normal(0, 8, (frames, classes))
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def song(number: int, frames: int | None = None, seed: int | None = None, **changes: Any) -> SongRecord:
    seed = number if seed is None else seed
    frames = 20 + 13 * (number % 7) if frames is None else frames
    features = np.random.default_rng(1000 + seed).uniform(-13.8, 3, (frames, 144)).astype(np.float32)
    values: dict[str, Any] = {"id": f"folder {number % 3}/{number:03d}.mp3", "source_hash": f"{seed:064x}",
                              "outcome": "ok", "duration": frames * 0.0929, "features": features,
                              "posteriors": posteriors(seed, frames), **changes}  # fmt: skip
    return SongRecord(**values)


def failed(name: str, outcome: str = "unreadable") -> SongRecord:
    return SongRecord(name, "e" * 64, outcome, 0.0)


def fill(path: Path, records: list[SongRecord], seal: bool = True, **arguments: Any) -> None:
    made = arguments.pop("identity", None) or identity()
    with StoreWriter(path, made, **arguments) as writer:
        for record in records:
            writer.add(record)
        if seal:
            writer.seal()


def contents(path: Path) -> dict[str, bytes]:
    """Every file but the locks, by its path."""
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.parent.name != "locks"
    }
