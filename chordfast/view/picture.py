"""The constant-Q transform as pictures small enough for a page."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from ..ops.feature_plan import FeaturePlan
from .png import encode_png

RANGE_DB = 66.0
"""What is shown below the loudest bins."""
LEVELS = 32
"""Grey steps: finer ones cannot be told apart and compress badly."""
MAX_COLUMNS = 24_000
"""Columns of all tiles together; 37 minutes of frames, beyond that several frames share a column."""
TILE_COLUMNS = 2048


def grey_levels(features: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Grey values, uint8 [n_bins, T], highest bin on top, of log magnitudes (natural logarithm) [T, n_bins].

    255 is the 99.8th percentile of the song, 0 is ``RANGE_DB`` below it, in ``LEVELS`` steps. All is 0 when the song is
    silent (constant).
    """
    if not features.size or float(np.ptp(features)) < 1e-6:
        return np.zeros(features.shape[::-1], np.uint8)
    top = float(np.percentile(features, 99.8))
    depth = RANGE_DB / (20 / np.log(10))
    share = np.clip((features - (top - depth)) / depth, 0, 1)
    grey = np.round(np.round(share * (LEVELS - 1)) * (255 / (LEVELS - 1))).astype(np.uint8)
    return np.ascontiguousarray(grey.T[::-1])


def pool(features: npt.NDArray[np.float32], limit: int = MAX_COLUMNS) -> tuple[npt.NDArray[np.float32], int]:
    """At most ``limit`` columns and how many frames share one; the loudest of them is kept, bin by bin."""
    share = max(1, -(-len(features) // limit))
    if share == 1:
        return features, 1
    starts = np.arange(0, len(features), share)
    return np.maximum.reduceat(features, starts, axis=0), share


def picture(features: npt.NDArray[np.float32], plan: FeaturePlan) -> dict[str, Any] | None:
    """What the page draws: tiles as data URLs, the seconds of a column, where octaves are; None without a frame.

    Column k of tile i is centred on (i * tile + k) * period + offset s.
    """
    if not len(features):
        return None
    columns, share = pool(features)
    grey = grey_levels(columns)
    tiles = [encode_png(grey[:, start : start + TILE_COLUMNS]) for start in range(0, grey.shape[1], TILE_COLUMNS)]
    return {
        "tiles": ["data:image/png;base64," + base64.b64encode(tile).decode("ascii") for tile in tiles],
        "tile": TILE_COLUMNS,
        "columns": grey.shape[1],
        "bins": plan.n_bins,
        "octave": plan.bins_per_octave,
        "period": plan.frame_period * share,
        "offset": plan.frame_period * (share - 1) / 2,
    }
