"""Viterbi decoding for chains with one self-transition probability: O(T * K), native, deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._native import native
from ..errors import UsageError


def viterbi(
    log_probs: ArrayLike, self_transition: float = 0.957, initial: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Most likely state path.

    Args:
        log_probs: [T, K] natural logarithms of the frame probabilities (or likelihoods; a constant per frame changes
            nothing), float32 or float64, other types are converted to float64. -inf is allowed, NaN and +inf are not.
        self_transition: probability in [0, 1] of staying in a state from one frame to the next; every other state is
            reached with (1 - self_transition) / (K - 1). The default is that of the crema decoder.
        initial: [K] non-negative weights of the first state (need not sum to 1), uniform if None.

    Returns:
        int64 [T]. Sums are float64 and of equally good predecessors the lowest index wins: deterministic, and exactly
        the path of ``reference.viterbi``.

    Raises:
        UsageError: wrong shape, NaN or +inf, a probability out of range, or no path of non-zero probability.
    """
    return viterbi_batch([log_probs], self_transition, initial)[0]


def viterbi_batch(
    sequences: Sequence[ArrayLike], self_transition: float = 0.957, initial: ArrayLike | None = None
) -> list[NDArray[np.int64]]:
    """``viterbi`` for sequences [T_i, K] of any lengths in one native call without the GIL -> list of int64 [T_i]."""
    if not 0 <= self_transition <= 1:
        raise UsageError(f"self_transition is {self_transition}; give a probability between 0 and 1")
    arrays = [_matrix(sequence, i) for i, sequence in enumerate(sequences)]
    if not arrays:
        return []
    classes = arrays[0].shape[1]
    for i, array in enumerate(arrays):
        if array.shape[1] != classes:
            raise UsageError(f"sequence {i} has {array.shape[1]} classes and sequence 0 has {classes}; give the same")
    start = None if initial is None else _log_initial(initial, classes)
    # One type a call: a float64 among float32 sequences lifts them all, which loses nothing.
    dtype = np.result_type(*arrays)
    call = native().viterbi_f32 if dtype == np.float32 else native().viterbi_f64
    arrays = [np.ascontiguousarray(array, dtype=dtype) for array in arrays]
    paths, refused = call(arrays, float(self_transition), start)
    if refused >= 0:
        raise UsageError(_reason(arrays[refused], f"sequence {refused}, " if len(arrays) > 1 else ""))
    return paths


def _matrix(values: ArrayLike, index: int) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype != np.float32:
        array = array.astype(np.float64, copy=False)
    if array.ndim != 2 or array.shape[1] == 0:
        raise UsageError(
            f"log_probs of sequence {index} has shape {list(array.shape)}; "
            "give [frames, classes] with at least one class"
        )
    return array


def _log_initial(initial: ArrayLike, classes: int) -> NDArray[np.float64]:
    weights = np.asarray(initial, dtype=np.float64)
    if weights.shape != (classes,):
        raise UsageError(f"initial has shape {list(weights.shape)}; give one weight for each of the {classes} classes")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise UsageError("initial holds negative, non-finite or only zero weights; give a probability distribution")
    with np.errstate(divide="ignore"):
        return np.log(weights)


def _reason(array: NDArray[Any], place: str) -> str:
    bad = np.isnan(array) | np.isposinf(array)
    if bad.any():
        frame, state = (int(i) for i in np.argwhere(bad)[0])
        return (
            f"log_probs is {array[frame, state]} at {place}frame {frame}, class {state}; "
            "give finite log-probabilities or -inf"
        )
    empty = np.isneginf(array).all(axis=1)
    if empty.any():
        frame = int(np.argmax(empty))
        return f"log_probs is -inf for every class at {place}frame {frame}; leave at least one class possible"
    return (
        f"no path through {place.rstrip(', ') or 'log_probs'} has a probability above zero; "
        "allow more classes, initial states or transitions"
    )
