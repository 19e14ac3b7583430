"""What a run reads at random: features, targets, weights and a teacher's posteriors, frame by frame, as tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100
SILENCE = math.log(1e-6)
"""Log-CQT of digital silence; what stands in bins without a source after a shift."""
FLOOR = 1e-12


class Teacher(Protocol):
    """A teacher's posteriors of all frames, read at random."""

    def logits(self, rows: Tensor, shift: Tensor | None) -> Tensor: ...
    def to(self, device: torch.device) -> Self: ...


def transposed(classes: Tensor, shift: Tensor, count: int) -> Tensor:
    """Classes of the vocabulary of ``count`` (170 or 25) moved up by semitones; N, X and negative values stay."""
    step, chords = (14, 168) if count == 170 else (2, 24)
    moved = torch.remainder(classes + step * shift, chords)
    return torch.where((classes >= 0) & (classes < chords), moved, classes)


def shifted_bins(x: Tensor, bins: Tensor) -> Tensor:
    """Features [B, T, n] with row b moved up by bins[b] bins; bins without a source hold ``SILENCE``."""
    source = torch.arange(x.shape[-1], device=x.device) - bins[:, None]
    inside = (source >= 0) & (source < x.shape[-1])
    index = source.clamp(0, x.shape[-1] - 1)[:, None, :].expand_as(x)
    return x.gather(-1, index).masked_fill(~inside[:, None, :], SILENCE)


def transposed_logits(logits: Tensor, shift: Tensor | None) -> Tensor:
    """Logits [B, T, K] with each window's classes moved up by shift [B] semitones."""
    if shift is None:
        return logits
    count = logits.shape[-1]
    # Class c sounds as c - shift did: the inverse permutation.
    source = transposed(torch.arange(count, device=logits.device), -shift[:, None], count)
    return logits.gather(-1, source[:, None, :].expand_as(logits))


@dataclass
class DenseTeacher:
    """values: logits [frames, K] in units of ``unit``, any type."""

    values: Tensor
    unit: float = 1.0

    def logits(self, rows: Tensor, shift: Tensor | None) -> Tensor:
        """Rows [B, T] -> float32 [B, T, K], each window transposed by shift [B] semitones."""
        found = self.values[rows].float()
        return transposed_logits(found if self.unit == 1.0 else found * self.unit, shift)

    def to(self, device: torch.device) -> DenseTeacher:
        return DenseTeacher(self.values.to(device), self.unit)


@dataclass
class TopTeacher:
    """The likeliest classes of each frame: classes int16 [frames, k], log_probability [frames, k], and rest [frames],
    the mass of the others, shared out evenly."""

    classes: Tensor
    log_probability: Tensor
    rest: Tensor
    count: int

    def logits(self, rows: Tensor, shift: Tensor | None) -> Tensor:
        """As ``DenseTeacher.logits``."""
        top = self.classes[rows].long()
        if shift is not None:
            top = transposed(top, shift[:, None, None], self.count)
        others = (self.rest[rows].float() / (self.count - top.shape[-1])).clamp_min(FLOOR).log()
        found = others[..., None].expand(*top.shape[:-1], self.count).contiguous()
        return found.scatter_(-1, top, self.log_probability[rows].float())

    def to(self, device: torch.device) -> TopTeacher:
        return TopTeacher(self.classes.to(device), self.log_probability.to(device), self.rest.to(device), self.count)


@dataclass
class Batch:
    """features [B, T, n] float32, normalised; target int64 [B, T], ``IGNORE`` where a frame does not count; teacher
    logits [B, T, K], weight [B, T] and mask bool [B, T] (True where a frame exists), or None."""

    features: Tensor
    target: Tensor
    teacher: Tensor | None
    weight: Tensor | None
    mask: Tensor | None


@dataclass
class Frames:
    """All frames of a corpus, songs one behind the other.

    features [F, n] float16 or float32; target int16 [F]; weight [F] or None; teacher or None; classes: K;
    bins_per_semitone: of the features.
    """

    features: Tensor
    target: Tensor
    weight: Tensor | None
    teacher: Any
    classes: int
    bins_per_semitone: int = 2

    def to(self, device: torch.device) -> Frames:
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) if hasattr(v, "to") else v for k, v in moved.items()})

    @property
    def n_class(self) -> int:
        """Class N."""
        return 169 if self.classes == 170 else 24

    def window(
        self,
        first: Tensor,
        length: Tensor,
        size: int,
        mean: float,
        std: float,
        *,
        partial: bool,
        shift: Tensor | None = None,
        teacher: bool = True,
        reference_padding: bool = False,
    ) -> Batch:
        """Windows of ``size`` frames from frames first [B] on, of which length [B] exist.

        partial: whether any window is short (known beforehand, so that nothing waits for a GPU). shift: semitones [B].
        ``reference_padding``: frames that do not exist are raw zeros, before normalisation, and count as N, as in the
        ChordMini code; otherwise they are masked.
        """
        at = torch.arange(size, device=first.device)
        rows = first[:, None] + at
        valid = at < length[:, None] if partial else None
        if valid is not None:
            rows = torch.where(valid, rows, first[:, None])
        x = self.features[rows].float()
        target = self.target[rows].long()
        if shift is not None:
            x = shifted_bins(x, shift * self.bins_per_semitone)
            target = transposed(target, shift[:, None], self.classes)
        weight = None if self.weight is None else self.weight[rows].float()
        logits = self.teacher.logits(rows, shift) if teacher and self.teacher is not None else None
        if valid is not None and reference_padding:
            x = x.masked_fill(~valid[..., None], 0.0)
            target = target.masked_fill(~valid, self.n_class)
            logits = None if logits is None else logits.masked_fill(~valid[..., None], 0.0)
            valid = None
        elif valid is not None:
            target = target.masked_fill(~valid, IGNORE)
        x = (x - mean) / std
        return Batch(x, target, logits, weight, valid)


def weighted_loss(
    logits: Tensor, teacher: Tensor | None, target: Tensor, weight: Tensor, settings: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The mix of ``ops.kd_loss`` with a weight per frame: (loss, distillation, hard loss, number of rows).

    Means are over the frames that count, zero-weighted ones included, so a frame's weight is its share of the loss.
    """
    keep = target != IGNORE
    z, y, w = logits.float(), target.clamp_min(0), weight * keep
    rows = keep.sum()
    count = rows.clamp_min(1)
    log_p = F.log_softmax(z, -1).gather(-1, y[..., None]).squeeze(-1)
    hard = (w * (1 - log_p.exp()) ** settings.gamma * -log_p).sum() / count
    if teacher is None or not settings.kd:
        return hard, hard.new_zeros(()), hard.detach(), rows
    tau = settings.temperature
    t = F.softmax(teacher / tau, -1)
    if settings.selective:
        sure, high = t.amax(-1), settings.max_confidence
        damping = (1 - 0.8 * (sure - high) / (1 - high + 1e-8)).clamp(0, 1)
        w = w * torch.where(sure > high, damping, 1.0) * (sure >= settings.min_confidence)
    kl = F.kl_div(F.log_softmax(z / tau, -1), t, reduction="none").sum(-1)
    kd = tau * tau * (w * kl).sum() / count
    return (settings.alpha * kd + (1 - settings.alpha) * hard).clamp_min(0), kd.detach(), hard.detach(), rows
