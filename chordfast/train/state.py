"""Checkpoints of a run: everything a bit-exact continuation needs, in one file, whole or absent.

Generators have no state to keep: every step seeds them from the recipe's seed, its epoch and its number.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..errors import ChordfastError, ModelError
from ..files import atomic_write
from .step import Step

LAST = "last.pt"


def write_state(folder: Path, step: Step, rest: dict[str, Any]) -> None:
    """Write ``last.pt``: weights, moments and sums of the epoch of ``step``, and ``rest`` (plain values).

    The former file stays when this one cannot be written; ChordfastError says so.
    """
    content = {
        "weights": step.flat.values.detach().cpu(),
        "layout": {name: list(place) for name, place in step.flat.layout.items()},
        "moments": {name: tensor.cpu() for name, tensor in step.moments.items()},
        "sums": step.sums.cpu(),
        **rest,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    put(folder / LAST, buffer.getvalue())


def put(path: Path, data: bytes | str) -> None:
    """``atomic_write`` whose failure is a sentence of a training run."""
    try:
        atomic_write(path, data)
    except OSError as error:
        raise ChordfastError(
            f"{path} could not be written ({error.strerror}); the former one is whole: make room there, and go on with "
            "--resume"
        ) from error


def read_state(folder: Path) -> dict[str, Any]:
    """What ``write_state`` wrote; ModelError when there is none or it is damaged."""
    path = folder / LAST
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"there is no checkpoint in {folder} to resume from; leave --resume out") from None
    except (OSError, RuntimeError, zipfile.BadZipFile, EOFError, ValueError, KeyError) as error:
        raise ModelError(f"{path} is damaged ({' '.join(str(error).split())[:100]}); start anew") from error
    except Exception as error:  # what the unpickler refuses
        raise ModelError(f"{path} is no checkpoint of a training run; start anew, without --resume") from error


def restore(step: Step, content: dict[str, Any], where: str | os.PathLike[str]) -> None:
    """Put the saved tensors into ``step``; ModelError when they are another network's."""
    layout = {name: list(place) for name, place in step.flat.layout.items()}
    if content.get("layout") != layout:
        raise ModelError(f"{where} is a checkpoint of another architecture; resume with the recipe it was started with")
    step.flat.load(content["weights"])
    for name, tensor in step.moments.items():
        tensor.copy_(content["moments"][name])
    step.sums.copy_(content["sums"])
