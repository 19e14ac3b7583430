"""Viterbi as the textbook has it: K x K predecessors a frame, in float64; the truth for ``ops.viterbi``."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def viterbi(
    log_probs: ArrayLike, self_transition: float = 0.957, initial: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Most likely path through ``log_probs`` [T, K] -> int64 [T]; O(T * K * K) time, O(T * K) memory.

    Transitions are ``self_transition`` on the diagonal and (1 - self_transition) / (K - 1) elsewhere; ``initial`` [K]
    is the distribution before the first frame (uniform by default). Of equally good predecessors, and of equally good
    last states, the lowest index wins.
    """
    observed = np.asarray(log_probs, dtype=np.float64)
    frames, classes = observed.shape
    if frames == 0:
        return np.zeros(0, dtype=np.int64)
    transition = np.full((classes, classes), _log((1 - self_transition) / max(1, classes - 1)))
    np.fill_diagonal(transition, _log(self_transition) if classes > 1 else 0.0)
    if initial is None:
        total = -math.log(classes) + observed[0]
    else:
        with np.errstate(divide="ignore"):
            total = np.log(np.asarray(initial, dtype=np.float64)) + observed[0]
    predecessor = np.zeros((frames, classes), dtype=np.int64)
    columns = np.arange(classes)
    for t in range(1, frames):
        score = total[:, None] + transition
        predecessor[t] = np.argmax(score, axis=0)
        total = score[predecessor[t], columns] + observed[t]
    path = np.empty(frames, dtype=np.int64)
    path[-1] = np.argmax(total)
    for t in range(frames - 1, 0, -1):
        path[t - 1] = predecessor[t, path[t]]
    return path


def path_score(
    log_probs: ArrayLike, path: ArrayLike, self_transition: float = 0.957, initial: ArrayLike | None = None
) -> float:
    """Log-probability of one ``path`` [T] through ``log_probs`` [T, K] under the model of ``viterbi``."""
    observed = np.asarray(log_probs, dtype=np.float64)
    states = np.asarray(path)
    frames, classes = observed.shape
    if frames == 0:
        return 0.0
    stays = int(np.count_nonzero(states[1:] == states[:-1]))
    moves = frames - 1 - stays
    start = 1 / classes if initial is None else float(np.asarray(initial)[states[0]])
    score = _log(start) + float(observed[np.arange(frames), states].sum())
    # 0 * log 0 is NaN, so a kind of step that does not occur is left out.
    if stays and classes > 1:
        score += stays * _log(self_transition)
    if moves:
        score += moves * _log((1 - self_transition) / (classes - 1))
    return score


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf
