"""Keras 2's gated recurrent unit over songs of different lengths, both directions, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .._native import default_threads, native
from ..errors import UsageError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


@overload
def gru(
    x: NDArray[np.float32],
    kernel: NDArray[np.float32],
    recurrent: NDArray[np.float32],
    bias: NDArray[np.float32],
    lengths: Sequence[int],
    threads: int | None = ...,
) -> NDArray[np.float32]: ...
@overload
def gru(
    x: torch.Tensor,
    kernel: torch.Tensor,
    recurrent: torch.Tensor,
    bias: torch.Tensor,
    lengths: Sequence[int],
    threads: int | None = ...,
) -> torch.Tensor: ...
def gru(x: Any, kernel: Any, recurrent: Any, bias: Any, lengths: Sequence[int], threads: int | None = None) -> Any:
    """Hidden states of a recurrent layer, per song: z = s(x·Kz + bz + h·Rz), r = s(x·Kr + br + h·Rr),
    c = tanh(x·Kh + bh + (r∘h)·Rh), h ← z∘h + (1 − z)∘c, with the hard sigmoid s(v) = clip(0.2·v + 0.5, 0, 1).

    This is the unit of Cho et al. (2014) in the form Keras 2 had before ``reset_after``: the reset gate acts before the
    recurrent product, so ``torch.nn.GRU`` cannot stand in for it.

    x: float32 [N, in], songs laid end to end; kernel [D, in, 3H], recurrent [D, H, 3H], bias [D, 3H], columns in the
    order z, r, h; D is 1, or 2 where the second direction runs from each song's end to its start. lengths: frames of
    each song, adding up to N. Returns float32 [N, D·H], the first direction first. All arrays float32, NumPy's or
    tensors on one device.

    A song's result has the same bits whatever songs stand beside it and however many ``threads`` (default
    ``CHORDFAST_THREADS`` or all processors) share the work. Deterministic. On a GPU (H up to 128) the input products
    are a matrix product of torch's, so there the last bits may depend on N. Not differentiable. UsageError when shapes
    or types do not fit.
    """
    if not isinstance(x, np.ndarray):
        from ._torch_gru import forward

        return forward(x, kernel, recurrent, bias, lengths, threads)
    arrays = {"x": x, "kernel": kernel, "recurrent": recurrent, "bias": bias}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            raise UsageError(f"gru: {name} is {getattr(array, 'dtype', type(array).__name__)}; give a float32 array")
    counts = checked_lengths(x.shape, kernel.shape, recurrent.shape, bias.shape, lengths)
    if threads is not None and threads < 1:
        raise UsageError(f"gru: threads is {threads}; give a positive number")
    x, kernel, recurrent, bias = (np.ascontiguousarray(array) for array in (x, kernel, recurrent, bias))
    directions, hidden = recurrent.shape[:2]
    out = np.empty((len(x), directions * hidden), np.float32)
    if out.size:
        native().gru_fwd_cpu(
            x.ctypes.data, len(x), x.shape[1], hidden, directions, kernel.ctypes.data, recurrent.ctypes.data,
            bias.ctypes.data, counts, out.ctypes.data, threads or default_threads(),
        )  # fmt: skip
    return out


def checked_lengths(
    x: Sequence[int], kernel: Sequence[int], recurrent: Sequence[int], bias: Sequence[int], lengths: Sequence[int]
) -> list[int]:
    """``lengths`` as whole numbers; UsageError unless the shapes fit each other and them."""
    if len(x) != 2 or len(kernel) != 3 or len(recurrent) != 3 or len(bias) != 2:
        raise UsageError("gru: x and bias have two axes, kernel and recurrent three; see the documentation")
    directions, hidden = recurrent[:2]
    shapes = {"kernel": tuple(kernel), "recurrent": tuple(recurrent), "bias": tuple(bias)}
    expected = {
        "kernel": (directions, x[1], 3 * hidden),
        "recurrent": (directions, hidden, 3 * hidden),
        "bias": (directions, 3 * hidden),
    }
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise UsageError(f"gru: {name} has shape {list(shapes[name])}; {list(shape)} fits the others")
    if directions not in (1, 2) or 0 in (hidden, x[1]):
        raise UsageError(f"gru: {directions} directions of {hidden} units over {x[1]} inputs cannot be computed")
    counts = [int(length) for length in lengths]
    if min(counts, default=0) < 0 or sum(counts) != x[0]:
        raise UsageError(f"gru: lengths add up to {sum(counts)} frames, x has {x[0]}")
    return counts
