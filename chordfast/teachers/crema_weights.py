"""crema's tensors: their names and shapes, and how they are read from the HDF5 file that Keras wrote."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from ..errors import ModelError

GRU_SIZE = 128


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, width in enumerate((2, 1, 72, 2 * GRU_SIZE, 294), start=1):
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"batch_normalization_{layer}.{name}"] = (width,)
    for layer, width in ((1, 72), (2, 2 * GRU_SIZE)):
        for direction in ("forward", "backward"):
            prefix = f"bidirectional_{layer}.{direction}_gru_{layer}"
            shapes[f"{prefix}.kernel"] = (width, 3 * GRU_SIZE)
            shapes[f"{prefix}.recurrent_kernel"] = (GRU_SIZE, 3 * GRU_SIZE)
            shapes[f"{prefix}.bias"] = (3 * GRU_SIZE,)
    for name, kernel in (
        ("conv2d_1", (5, 5, 2, 1)),
        ("conv2d_2", (1, 216, 1, 72)),
        ("chord_pitch", (2 * GRU_SIZE, 12)),
        ("chord_root", (2 * GRU_SIZE, 13)),
        ("chord_bass", (2 * GRU_SIZE, 13)),
        ("chord_tag", (294, 170)),
    ):
        shapes[f"{name}.kernel"] = kernel
        shapes[f"{name}.bias"] = kernel[-1:]
    return shapes


SHAPES = _shapes()
"""Tensor name -> shape, in Keras' layouts (convolutions: height, width, in, out; dense: in, out)."""


def check(tensors: Mapping[str, np.ndarray], where: str) -> None:
    """ModelError, naming ``where``, unless ``tensors`` are exactly crema's: names, shapes, finite values."""
    missing, extra = sorted(SHAPES.keys() - tensors.keys()), sorted(tensors.keys() - SHAPES.keys())
    if missing or extra:
        which = f"{missing[0]!r} is missing" if missing else f"{extra[0]!r} does not belong"
        raise ModelError(f"{where}: these are not crema's weights, tensor {which}; fetch them again")
    for name, shape in SHAPES.items():
        if tuple(tensors[name].shape) != shape:
            found = list(tensors[name].shape)
            raise ModelError(f"{where}: tensor {name!r} has shape {found} instead of {list(shape)}; fetch it again")
        if not np.isfinite(tensors[name]).all():
            raise ModelError(f"{where}: tensor {name!r} holds values that are not finite; fetch it again")


def read_hdf5(data: bytes) -> dict[str, np.ndarray]:
    """crema's tensors, float32, from the bytes of its ``model.h5``; ModelError when they are not all there."""
    import h5py

    tensors: dict[str, np.ndarray] = {}
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            for name in SHAPES:
                layer, rest = name.split(".", 1)
                # Keras repeats the layer's name and marks a variable with ":0".
                tensors[name] = np.array(
                    file[f"model_weights/{layer}/{layer}/{rest.replace('.', '/')}:0"], dtype=np.float32
                )
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"the HDF5 file does not hold crema's weights ({error}); fetch it again") from error
    check(tensors, "the HDF5 file")
    return tensors
