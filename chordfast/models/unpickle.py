"""Reading torch checkpoint files without ever executing a pickle.

Only tensors, plain containers, strings and numbers come out. NumPy numbers, which the ISMIR 2019 files may
hold, are rebuilt from their bytes by code of ours; every other name a pickle asks for is refused before use.
"""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ModelError

# What a file starts with that people mistake for weights.
_LOOKALIKES = (
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file it points to"),
    (b"<", "a web page"),
    (b"\x93NUMPY", "a NumPy array"),
)


def _number(dtype: np.dtype, raw: bytes | str) -> float | int | bool:
    """The value of a pickled NumPy scalar, as a Python number; anything but one number is refused."""
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(dtype, np.dtype) or dtype.kind not in "fiub" or len(data) != dtype.itemsize:
        raise pickle.UnpicklingError("a NumPy scalar that is not a number")
    return np.frombuffer(data, dtype)[0].item()


# NumPy 2 writes numpy._core, everything before numpy.core.
_ALLOWED: list[Any] = [
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
    (np.dtype, "numpy.dtype"),
    *(type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "?")),
]


def read_torch_file(path: Path) -> Any:
    """What a ``torch.save`` file (zip or the older layout) holds, on the CPU.

    Raises ModelError, one sentence naming the file, when it is empty, truncated, something else, or asks for
    code to be run; nothing it asks for is run.
    """
    head = _head(path)
    if not head:
        raise ModelError(f"{path} is empty, copy or download it again")
    if not head.startswith((b"PK", b"\x80")):
        what = next((name for start, name in _LOOKALIKES if head.lstrip().startswith(start)), "not a checkpoint")
        raise ModelError(f"{path} is {what}, give a torch checkpoint (.pt, .pth) or a .safetensors file")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_ALLOWED):
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers below torch.load raise whatever they like
        raise ModelError(_sentence(path, error)) from error


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as handle:
            return handle.read(64)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}), check the path and its permissions") from error


def _sentence(path: Path, error: Exception) -> str:
    text = str(error)
    names = re.findall(r"GLOBAL ([\w.]+)", text)
    if isinstance(error, pickle.UnpicklingError) and "ran out of input" not in text.lower():
        wants = f"asks for {names[0]}" if names else "holds more than that"
        return (
            f"{path} was refused and nothing in it was run: a checkpoint may hold tensors, numbers and text only, "
            f"but this one {wants}; get the weights from a source you trust"
        )
    reason = " ".join(re.split(r"\n|\. ", text)[0].split())[:120] or type(error).__name__
    return f"{path} is truncated, damaged, or not a checkpoint ({reason}), copy or download it again"
