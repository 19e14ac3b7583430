"""Files of a teacher's weights: safetensors that carry their origin, their terms and a hash of their own."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from ..errors import ModelError
from ..files import atomic_write
from .registry import Teacher

_HEADER_LIMIT = 100 << 20  # bytes, as in the safetensors format


def weights_hash(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 (hexadecimal) over the sorted names, shapes and little-endian float32 values of a set of tensors.

    Unlike a file's hash it does not change with the metadata or the layout of the file around them.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name], dtype="<f4")
        digest.update(f"{name} {list(values.shape)}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def write_weights(entry: Teacher, tensors: Mapping[str, np.ndarray], target: Path, source: str) -> None:
    """A safetensors file that says what it holds, where it came from and on what terms."""
    provenance = {
        "source": source,
        "distribution": entry.requirement,
        "wheel_sha256": entry.wheel_sha256,
        "members": dict(entry.members),
        "licence": entry.licence,
    }
    header = {
        "format": "pt",
        "chordfast": "1",
        "architecture": entry.architecture,
        "num_classes": "170",
        "vocabulary": "btc170",
        "weights_sha256": weights_hash(tensors),
        "provenance": json.dumps(provenance),
    }
    # The format stores bytes as they lie, so they must lie in C order.
    data = safetensors.numpy.save({name: np.ascontiguousarray(values) for name, values in tensors.items()}, header)
    try:
        atomic_write(target, data)
    except OSError as error:
        raise ModelError(f"{target} cannot be written ({error.strerror}); choose another place") from error


def read_header(path: str | os.PathLike[str]) -> dict[str, str] | None:
    """The metadata of a safetensors file; None when ``path`` is no such file. Reads nothing but the header."""
    try:
        with open(path, "rb") as handle:
            size = int.from_bytes(handle.read(8), "little")
            if size > _HEADER_LIMIT:
                return None
            header = json.loads(handle.read(size))
        metadata = header.get("__metadata__") or {}
        return {str(key): str(value) for key, value in metadata.items()}
    except (OSError, ValueError, AttributeError):
        return None


def read_weights(path: Path, expected: str | None = None) -> dict[str, np.ndarray]:
    """Tensors of a file that ``write_weights`` wrote.

    ModelError when it cannot be read, or when the tensors' hash is not ``expected`` (by default the recorded one).
    """
    try:
        data = path.read_bytes()
        tensors = safetensors.numpy.load(data)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{path} is damaged as a safetensors file ({error}); remove it and fetch the model again"
        ) from error
    wanted = expected or (read_header(path) or {}).get("weights_sha256")
    if wanted != weights_hash(tensors):
        raise ModelError(
            f"{path} was altered: its weights do not have the expected hash; remove it and fetch the model again"
        )
    return tensors
