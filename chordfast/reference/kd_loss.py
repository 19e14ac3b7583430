"""Distillation and focal loss with their gradient, the slow and obvious way (plain torch, any float type).

Definitions (arXiv 2602.19778, the training objective; focal loss: Lin et al. 2017; distillation: Hinton et al. 2015),
for rows n of student logits z, teacher logits u, class y, with S = softmax(z) and p its entry y:

    t = softmax(u/T), q = softmax(z/T)
    kd   = T^2/M * sum_n w_n KL(t_n || q_n)        d kd/dz   = T/M * w_n (q - t)
    hard = 1/M * sum_n o_y (1 - p)^g (-ln p)       d hard/dz = o_y/M * (onehot_y - S) (g p (1-p)^(g-1) ln p - (1-p)^g)
    c = max(t_n), w_n = 0 if c < low, 1 if low <= c <= high, else clip(1 - 0.8 (c - high)/(1 - high + 1e-8), 0, 1)

M counts the rows that are not masked. 0 ln 0 = 0, and where p rounds to 1 the focal term and its gradient are 0. With
both parts the loss is max(0, alpha kd + (1 - alpha) hard), and no gradient where that cuts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class KDLossTruth(NamedTuple):
    """Loss, its parts (0 when absent), shares of dropped and damped rows, number of rows, gradient [N, C]."""

    loss: torch.Tensor
    kd: torch.Tensor
    hard: torch.Tensor
    dropped: torch.Tensor
    damped: torch.Tensor
    rows: torch.Tensor
    gradient: torch.Tensor


def selective_weight(confidence: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Weight of a row from the softened teacher's largest probability."""
    above = torch.clamp(1 - 0.8 * (confidence - high) / (1 - high + 1e-8), 0, 1)
    weight = torch.where(confidence > high, above, torch.ones_like(confidence))
    return torch.where(confidence < low, torch.zeros_like(confidence), weight)


def _distillation(
    z: torch.Tensor, u: torch.Tensor, temperature: float, selective: tuple[float, float] | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per row: T^2 w KL, its gradient, and the teacher's confidence."""
    log_t, log_q = torch.log_softmax(u / temperature, -1), torch.log_softmax(z / temperature, -1)
    t, q = log_t.exp(), log_q.exp()
    divergence = torch.where(t > 0, t * (log_t - log_q), t).sum(-1)
    confidence = t.max(-1).values
    weight = torch.ones_like(confidence) if selective is None else selective_weight(confidence, *selective)
    nothing = torch.where(
        divergence.isnan(), divergence, torch.zeros_like(divergence)
    )  # a dropped row: 0, but NaN stays
    value = torch.where(weight > 0, temperature**2 * weight * divergence, nothing)
    return value, temperature * weight[:, None] * (q - t), confidence


def _focal(
    z: torch.Tensor, y: torch.Tensor, gamma: float, class_weights: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per row: o (1 - p)^g (-ln p) and its gradient."""
    log_all = torch.log_softmax(z, -1)
    log_p = log_all.gather(-1, y[:, None])[:, 0]
    p = log_p.exp()
    one_hot = torch.nn.functional.one_hot(y, z.shape[-1]).to(z.dtype)
    rest = (log_all.exp() * (1 - one_hot)).sum(-1)  # 1 - p without cancellation
    if gamma == 0:
        value, slope = -log_p, -torch.ones_like(p)
    else:
        certain = rest == 0
        q = torch.where(certain, torch.ones_like(rest), rest)
        p_log_p = torch.where(p > 0, p * torch.where(p > 0, log_p, torch.zeros_like(p)), p)
        value = torch.where(certain, torch.zeros_like(p), -(q**gamma) * log_p)
        slope = torch.where(certain, torch.zeros_like(p), gamma * p_log_p * q ** (gamma - 1) - q**gamma)
    weight = torch.ones_like(p) if class_weights is None else class_weights.to(z.dtype)[y]
    return weight * value, (weight * slope)[:, None] * (one_hot - log_all.exp())


def kd_loss(
    student: torch.Tensor,
    teacher: torch.Tensor | None,
    target: torch.Tensor | None,
    mask: torch.Tensor | None = None,
    temperature: float = 3.0,
    alpha: float = 0.3,
    gamma: float = 2.0,
    selective: tuple[float, float] | None = (0.1, 0.9),
    class_weights: torch.Tensor | None = None,
    ignore_index: int | None = -100,
) -> KDLossTruth:
    """As ``chordfast.ops.kd_loss``, in the student's own precision, gradient by the formula above."""
    classes = student.shape[-1]
    z = student.reshape(-1, classes)
    keep = torch.ones(len(z), dtype=torch.bool, device=z.device) if mask is None else mask.reshape(-1).bool()
    if target is not None and ignore_index is not None:
        keep = keep & (target.reshape(-1) != ignore_index)
    with_kd = teacher is not None and (target is None or alpha != 0)
    with_hard = target is not None and (teacher is None or alpha != 1)
    share = (alpha if with_hard else 1.0) if with_kd else 0.0

    rows = keep.sum()
    count = torch.clamp(rows, min=1).to(z.dtype)
    gradient = torch.zeros_like(z)
    zero = z.new_zeros(())
    kd, hard, dropped, damped = zero, zero, zero, zero
    if with_kd and teacher is not None:
        value, slope, confidence = _distillation(z[keep], teacher.reshape(-1, classes)[keep], temperature, selective)
        kd = value.sum() / count
        gradient[keep] += share * slope.detach() / count
        if selective is not None:
            dropped = (confidence < selective[0]).sum() / count
            damped = (confidence > selective[1]).sum() / count
    if with_hard and target is not None:
        value, slope = _focal(z[keep], target.reshape(-1)[keep], gamma, class_weights)
        hard = value.sum() / count
        gradient[keep] += (1 - share) * slope.detach() / count
    loss = share * kd + (1 - share) * hard if with_kd and with_hard else kd + hard
    if with_kd and with_hard and loss < 0:
        loss, gradient = zero, torch.zeros_like(gradient)
    return KDLossTruth(loss, kd, hard, dropped, damped, rows, gradient.reshape(student.shape))
