"""The mean of several checkpoints' weights, as one network (model soups: Wortsman et al., ICML 2022)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ModelError, UsageError
from ..files import sha256_file
from .checkpoints import Checkpoint, load_checkpoint, load_model, save_checkpoint


def average(
    sources: Sequence[str | os.PathLike[str]], dst: str | os.PathLike[str], *, half: bool = False
) -> Checkpoint:
    """Write the mean of the weights of two or more checkpoints to ``dst`` as safetensors; returns what was written.

    Worth it for checkpoints of one training, or of trainings that went on from one checkpoint; the mean of others is
    noise, and nothing here can tell. Sums are float64, in the order given. What all files say of their origin is kept,
    and ``average_of`` names them by folder, file and hash. ``half`` rounds to float16.

    Raises UsageError for fewer than two, ModelError when the networks, their statistics, feature plans or label
    boundaries differ, and as ``load_checkpoint`` and ``save_checkpoint`` do.
    """
    paths = [Path(source) for source in sources]
    if len(paths) < 2:
        raise UsageError("an average takes two checkpoints or more; give more files")
    found = [load_checkpoint(path) for path in paths]
    first, model = found[0], load_model(paths[0])
    for path, other in zip(paths[1:], found[1:], strict=True):
        if (difference := _difference(first, other)) is not None:
            raise ModelError(f"{path} and {paths[0]} differ in {difference}; give checkpoints of one kind of network")
    total = {name: tensor.double() for name, tensor in first.state.items()}
    for other in found[1:]:
        for name, tensor in other.state.items():
            total[name] = total[name] + tensor.double()
    state = model.state_dict()
    model.load_state_dict({name: (total[name] / len(found)).to(state[name].dtype) for name in state})
    origins = [each.metadata.get("provenance") or {} for each in found]
    provenance = {
        **{key: value for key, value in origins[0].items() if all(other.get(key) == value for other in origins)},
        "average_of": [f"{path.resolve().parent.name}/{path.name} {sha256_file(path)}" for path in paths],
    }
    save_checkpoint(dst, model, provenance=provenance, half=half)
    return load_checkpoint(dst)


def _difference(a: Checkpoint, b: Checkpoint) -> str | None:
    """What keeps two checkpoints from being averaged, or None."""

    def facts(checkpoint: Checkpoint) -> dict[str, Any]:
        return {
            "architecture": checkpoint.architecture,
            "their tensors": {name: tensor.shape for name, tensor in checkpoint.state.items()},
            "configuration": checkpoint.config,
            "mean and std": (checkpoint.mean, checkpoint.std),
            "feature plan": checkpoint.metadata.get("feature_plan"),
            "label boundary": (checkpoint.metadata.get("provenance") or {}).get("boundary"),
        }

    theirs = facts(b)
    return next((name for name, value in facts(a).items() if value != theirs[name]), None)
