"""Trained chord recognisers: fetched by name, or from checkpoint files. Importing this does not import torch."""

from __future__ import annotations

import os
from pathlib import Path

from .base import Recogniser
from .fetch import cached, fetch
from .registry import REGISTRY, Teacher, teacher
from .weights import read_header, read_weights, weights_hash

__all__ = ["REGISTRY", "Recogniser", "Teacher", "fetch", "load", "teacher", "weights_hash"]


def load(name_or_path: str | os.PathLike[str], offline: bool = False) -> Recogniser:
    """A recogniser: "crema" by name, or any checkpoint file (crema, BTC, 2E1D).

    A name is looked up in the cache only: nothing is ever downloaded here, ``chordfast.teachers.fetch`` does that
    (``offline`` only changes what the error advises). Raises ModelError, one sentence, when weights are missing,
    altered or unreadable, and for a name that is neither a teacher nor a file.
    """
    name = os.fspath(name_or_path)
    if name in REGISTRY:
        entry = teacher(name)
        return _crema(cached(name, offline), entry.weights_sha256)
    path = Path(name)
    header = read_header(path)
    if header is not None and header.get("architecture") == "crema":
        return _crema(path, None)
    return _windowed(path)


def _crema(path: Path, expected: str | None) -> Recogniser:
    tensors = read_weights(path, expected)
    from .crema import Crema

    return Crema(tensors, where=str(path))


def _windowed(path: Path) -> Recogniser:
    from ..errors import ModelError

    if not path.exists():
        names = ", ".join(sorted(REGISTRY))
        raise ModelError(f"{path} is neither a checkpoint file nor a teacher's name; give a path or one of: {names}")
    from ..models import load_model
    from .windowed import Windowed

    return Windowed(load_model(path), name=path.stem)
