"""What the chord networks share: feature statistics, input checks, reading from a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UsageError

STD_FLOOR = 1e-8
Config = TypeVar("Config")
Features = TypeVar("Features", Tensor, np.ndarray)


class ChordModel(nn.Module):
    """Base of the chord networks: log-CQT features in, one row of logits a frame out.

    ``mean`` and ``std`` are the scalar feature statistics the weights were trained with; they are plain
    attributes, not tensors of the state dict, because published checkpoints keep them beside it.
    ``compat`` is None (padding masked) or the name of a reference code base whose treatment of
    padding is reproduced.
    """

    architecture: ClassVar[str]
    compats: ClassVar[tuple[str | None, ...]]
    n_bins: int
    num_classes: int

    def __init__(self, compat: str | None = None) -> None:
        super().__init__()
        if compat not in self.compats:
            known = ", ".join(repr(name) for name in self.compats)
            raise UsageError(f"{type(self).__name__}: compat is {compat!r}, choose one of {known}")
        self.compat = compat
        self.mean = 0.0
        self.std = 1.0
        # What the weights say about themselves (vocabulary, feature plan, provenance, ...).
        self.metadata: dict[str, Any] = {}

    def set_statistics(self, mean: float, std: float) -> None:
        """Set the feature statistics; ``std`` is floored at 1e-8. Raises UsageError unless both are finite, std ≥ 0."""
        mean, std = float(mean), float(std)
        if not (math.isfinite(mean) and math.isfinite(std) and std >= 0):
            raise UsageError(
                f"feature statistics mean {mean} and std {std} are unusable, both must be finite and std ≥ 0"
            )
        self.mean, self.std = mean, max(std, STD_FLOOR)

    def normalise(self, features: Features) -> Features:
        """``(features − mean) / std``, any shape, tensor or array; the scalar statistics of the BTC paper's code."""
        return (features - self.mean) / self.std

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain values, as written into a checkpoint."""
        raise NotImplementedError

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], stored: Mapping[str, Any], compat: str | None = None, **options: Any
    ) -> Self:
        """A network of the shape that ``state`` implies; ``stored`` fills in what shapes cannot tell.

        Raises UsageError for ``compat`` and ``options`` that do not fit, KeyError or ValueError where ``state``
        or ``stored`` describe no possible network. The weights are not loaded.
        """
        raise NotImplementedError

    def _check_input(self, x: Tensor, mask: Tensor | None) -> None:
        name = type(self).__name__
        if x.ndim != 3 or x.shape[-1] != self.n_bins:
            raise UsageError(f"{name}: features have shape {list(x.shape)}, give [batch, frames, {self.n_bins}]")
        if not x.is_floating_point():
            raise UsageError(f"{name}: features are {x.dtype}, give normalised floating-point values")
        if mask is None:
            return
        if mask.dtype != torch.bool or mask.shape != x.shape[:2]:
            raise UsageError(
                f"{name}: the mask is {mask.dtype} of shape {list(mask.shape)}, "
                f"give booleans of shape {list(x.shape[:2])}, True where a frame is valid"
            )
        if self.compat is not None:
            raise UsageError(
                f"{name}: compat={self.compat!r} does not mask padding, leave the mask out or use compat=None"
            )


def described(config: type[Config], fields: Mapping[str, Any]) -> Config:
    """The configuration a file describes; its errors are the file's (ValueError), not the caller's (UsageError)."""
    try:
        return config(**fields)
    except UsageError as error:
        raise ValueError(str(error)) from error


def next_divisor(heads: int, width: int) -> int:
    """The largest number of heads ≤ ``heads`` that divides ``width``, as ChordMini's class lowers it."""
    return next(h for h in range(max(1, min(heads, width)), 0, -1) if width % h == 0)
