"""What a chord recogniser is to the rest of chordfast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from ..ops.feature_plan import FeaturePlan


@dataclass
class Recognition:
    """posteriors: float32 [T_i, K] a song. agreement: uint8 [T_i] a song, the share in percent of an ensemble's members
    whose likeliest class is that of their mean, 100 where all agree; None of a single recogniser.
    """

    posteriors: list[np.ndarray]
    agreement: list[np.ndarray] | None = None


@runtime_checkable
class Recogniser(Protocol):
    """Features of songs in, class probabilities of every frame out.

    One that wants several feature plans has ``plans`` as well, and gets of each song a tuple of arrays in their order.
    An ensemble also has ``recognise``, which gives a `Recognition` for the same features.
    """

    @property
    def name(self) -> str:
        """Short name, written into manifests and annotations."""

    @property
    def plan(self) -> FeaturePlan:
        """The features it wants; those of any other plan are refused by their width or give nonsense."""

    @property
    def hash(self) -> str:
        """SHA-256 of the weights (``weights_hash``), hexadecimal."""

    @property
    def classes(self) -> int:
        """Number of classes K, 25 or 170, in BTC's order."""

    @property
    def boundary(self) -> float:
        """Frame periods by which it hears a change early (``DecodingOptions.for_model``); 0 if not measured."""

    def posteriors(self, features: list[np.ndarray]) -> list[np.ndarray]:
        """float32 [T_i, n_bins] of the plan, a song each -> float32 [T_i, K], rows sum to 1.

        A song's result does not depend on the songs beside it. Raises UsageError for other shapes.
        """
