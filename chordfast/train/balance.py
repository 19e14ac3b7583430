"""Weights by which rare chord qualities count more."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MOST = 10.0
"""How much more than an average frame one of the rarest quality may count."""


def quality_weights(
    target: npt.NDArray[np.int16], train: npt.NDArray[np.bool_], classes: int = 170
) -> npt.NDArray[np.float16]:
    """Weight of every frame, float16 [F]: 1 / sqrt(share of its quality among the training frames), scaled to mean 1
    over those, at most ``MOST``; 1 where a frame does not count. Transposition does not change it.

    target: int16 [F] of ``classes`` 170 or 25, negative where a frame does not count. train: bool [F], which frames
    train.
    The root is a compromise: with the share itself the commonest qualities would hardly be learned.
    """
    kinds, chords = (14, 168) if classes == 170 else (2, 24)
    quality = np.where(target < chords, target % kinds, kinds)  # N (and X) are one more
    counts = np.bincount(quality[train & (target >= 0)], minlength=kinds + 1)
    share = np.maximum(counts, 1) / max(counts.sum(), 1)
    weight = share**-0.5
    weight = np.minimum(weight / max(float(weight @ counts) / max(counts.sum(), 1), 1e-9), MOST)
    return np.where(target >= 0, weight[quality], 1.0).astype(np.float16)
