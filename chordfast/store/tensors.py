"""Safetensors files: written in one place, C-contiguous; read by mapping them into memory, distrustfully.

A file is the header's length (uint64, little-endian), the header (JSON: type, shape and byte range of every array,
strings under ``__metadata__``), then the arrays' bytes without gaps.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from .identity import Array

Shape = tuple[int, ...]
TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I16": np.dtype("<i2"),
    "U8": np.dtype("u1"),
}
_NAMES = {dtype: name for name, dtype in TYPES.items()}
_HEADER_MAX = 1 << 24


def header(arrays: Mapping[str, tuple[np.dtype[Any], Shape]], metadata: Mapping[str, str]) -> bytes:
    """Length and header of a file whose arrays follow in the order given; padded so that they start aligned."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, (dtype, shape) in arrays.items():
        end = at + dtype.itemsize * math.prod(shape)
        entries[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def encode(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """A whole file; whatever the strides of an array, its bytes are written in C order."""
    head = header({name: (array.dtype, array.shape) for name, array in arrays.items()}, metadata)
    return b"".join([head, *(np.ascontiguousarray(array).tobytes() for array in arrays.values())])


class Mapped:
    """One file mapped read-only: ``arrays`` (name -> view of the file), ``metadata``, ``size`` in bytes.

    Every number of the header is checked against the file's size. StoreError when it is no such file or was cut;
    FileNotFoundError when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open(path, "rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                if self.size < 8:
                    raise ValueError("too short")
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self.metadata, entries, start = _parse(data, self.size)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}); check the disk and its permissions") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise StoreError(f"{path} is damaged ({_said(error)}); run chordfast store verify") from error
        self.arrays = {
            name: np.frombuffer(data, dtype, math.prod(shape), start + at).reshape(shape)
            for name, (dtype, shape, at) in entries.items()
        }


def _parse(data: mmap.mmap, size: int) -> tuple[dict[str, str], dict[str, tuple[np.dtype[Any], Shape, int]], int]:
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(size - 8, _HEADER_MAX):
        raise ValueError("its header is longer than the file")
    entries = json.loads(data[8 : 8 + length])
    metadata = entries.pop("__metadata__", {})
    if not all(isinstance(key, str) and isinstance(value, str) for key, value in metadata.items()):
        raise ValueError("its metadata are not strings")
    start, at = 8 + length, 0
    found: dict[str, tuple[np.dtype[Any], Shape, int]] = {}
    dtype: np.dtype[Any]
    for name, entry in entries.items():
        dtype, shape = TYPES[entry["dtype"]], tuple(entry["shape"])
        if not all(type(n) is int and 0 <= n < 1 << 40 for n in shape) or len(shape) > 3:
            raise ValueError(f"the shape of {name[:40]} is impossible")
        end = at + dtype.itemsize * math.prod(shape)
        if entry["data_offsets"] != [at, end]:
            raise ValueError(f"{name[:40]} does not lie where it should")
        found[name] = (dtype, shape, at)
        at = end
    if start + at != size:
        raise ValueError(f"{size} bytes instead of {start + at}")
    return metadata, found, start


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
