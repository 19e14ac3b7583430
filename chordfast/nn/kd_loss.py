"""The distillation loss as a module."""

from __future__ import annotations

from typing import Any

import torch

from ..ops.kd_loss import kd_loss


class KDLoss(torch.nn.Module):
    """``chordfast.ops.kd_loss`` with its settings kept; see there for the formula, the ranges and the errors.

    temperature, alpha, gamma, selective, ignore_index: as there. class_weights: [C] or None, moved with the module, not
    saved with it. Defaults: the second training stage of arXiv 2602.19778.
    """

    class_weights: torch.Tensor | None

    def __init__(
        self,
        temperature: float = 3.0,
        alpha: float = 0.3,
        gamma: float = 2.0,
        selective: tuple[float, float] | None = (0.1, 0.9),
        class_weights: torch.Tensor | None = None,
        ignore_index: int | None = -100,
    ) -> None:
        super().__init__()
        self.temperature, self.alpha, self.gamma = temperature, alpha, gamma
        self.selective, self.ignore_index = selective, ignore_index
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor | None,
        target: torch.Tensor | None,
        mask: torch.Tensor | None = None,
        return_parts: bool = False,
    ) -> Any:
        """student, teacher [..., C] logits, target [...] int64, mask [...] bool -> loss, or ``KDLossParts``."""
        return kd_loss(
            student,
            teacher,
            target,
            mask,
            self.temperature,
            self.alpha,
            self.gamma,
            self.selective,
            self.class_weights,
            self.ignore_index,
            return_parts,
        )

    def extra_repr(self) -> str:
        return (
            f"temperature={self.temperature}, alpha={self.alpha}, gamma={self.gamma}, selective={self.selective}, "
            f"ignore_index={self.ignore_index}"
        )
