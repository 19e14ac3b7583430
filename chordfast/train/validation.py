"""Frame accuracy of a network on the validation songs: the criterion of early stopping and of the best model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..decoding.smoothing import smooth
from ..ops.kd_loss import kd_loss
from .corpus import Corpus
from .frames import IGNORE
from .step import Step, loss_of
from .windows import Windows, cut

_WINDOWS = 64  # computed at once, in whole songs where songs are shorter


class Validation:
    """Accuracy after votes over overlapping windows, of the frames that count, and the loss.

    Each frame's class is the best of the summed posteriors of the windows that cover it (half of a window apart), as
    ``teachers.Windowed`` labels songs; frames without a target do not count. The loss is the training loss (stage 1) or
    cross-entropy (where there are labels). compat "validation": the two criteria of the ChordMini code instead.
    """

    def __init__(self, corpus: Corpus, step: Step) -> None:
        recipe, ranks = step.recipe, step.ranks
        self.step, self.corpus, self.recipe = step, corpus, recipe
        self.reference = "validation" in recipe.compat
        size = recipe.data.window
        stride = recipe.data.stride if self.reference else max(1, size // 2)
        songs = corpus.parts.val[ranks.index :: ranks.count]
        tails = "tails" in recipe.compat
        self.windows = cut(songs, corpus.first, corpus.frames, size, stride, tails)
        self.partial = bool((self.windows.length < size).any())

    def __call__(self) -> dict[str, float]:
        """{"accuracy", "loss", "frames"} over all ranks' songs."""
        step = self.step
        sums = torch.zeros(4, dtype=torch.float64, device=step.device)  # right, frames, loss, loss's divisor
        training = step.model.training
        step.model.eval()
        with torch.inference_mode():
            for group in self._groups():
                self._count(group, sums)
        step.model.train(training)
        step.ranks.sum(sums)
        right, frames, loss, divisor = sums.tolist()
        return {"accuracy": right / max(frames, 1), "loss": loss / max(divisor, 1), "frames": frames}

    def _groups(self) -> list[Windows]:
        """Windows in runs of whole songs."""
        table = self.windows
        if self.reference:
            size = self.recipe.loop.batch
            return [table.take(slice(at, at + size)) for at in range(0, len(table), size)]
        ends = (np.flatnonzero(np.diff(table.song, append=-1)) + 1).tolist()
        groups, start = [], 0
        for i, end in enumerate(ends):
            if i + 1 == len(ends) or ends[i + 1] - start > _WINDOWS:
                groups.append(table.take(slice(start, end)))
                start = end
        return groups

    def _count(self, group: Windows, sums: Tensor) -> None:
        places, position = np.unique(group.song, return_inverse=True)
        offset = np.concatenate(([0], np.cumsum(self.corpus.frames[places])))
        scores = None
        for at in range(0, len(group), _WINDOWS):
            piece = group.take(slice(at, at + _WINDOWS))
            logits, target, mask = self._logits(piece, sums)
            if self.reference and self.recipe.model.architecture == "btc":
                sums[0] += (logits.argmax(-1) == target).sum()
                sums[1] += target.numel()
                continue
            if scores is None:
                scores = torch.zeros(int(offset[-1]), logits.shape[-1], device=logits.device)
            local = piece.first - self.corpus.first[piece.song] + offset[position[at : at + _WINDOWS]]
            rows = torch.from_numpy(local).to(logits.device)[:, None] + torch.arange(
                logits.shape[1], device=logits.device
            )
            scores.index_add_(0, rows[mask], self._votes(logits)[mask])
        if scores is not None:
            found = scores.argmax(-1).cpu().numpy()
            truth = np.concatenate([self._target(song) for song in places])
            seen = np.zeros(len(truth), bool)
            for start, length in zip(
                group.first - self.corpus.first[group.song] + offset[position], group.length, strict=True
            ):
                seen[start : start + length] = True
            counts = (truth != IGNORE) & seen
            sums[0] += int(((found == truth) & counts).sum())
            sums[1] += int(counts.sum())

    def _target(self, song: int) -> np.ndarray:
        first = int(self.corpus.first[song])
        return self.step.frames.target[first : first + int(self.corpus.frames[song])].cpu().numpy()

    def _votes(self, logits: Tensor) -> Tensor:
        if not self.reference:
            return logits.softmax(-1)
        smoothed = torch.from_numpy(smooth(logits.cpu().numpy(), 9, "gaussian")).to(logits.device)
        return torch.nn.functional.one_hot(smoothed.argmax(-1), logits.shape[-1]).float()

    def _logits(self, piece: Windows, sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        step, recipe, size = self.step, self.recipe, self.recipe.data.window
        first, length = (torch.from_numpy(x).to(step.device) for x in (piece.first, piece.length))
        labels = recipe.data.targets == "labels"
        data = step.frames.window(
            first, length, size, step.model.mean, step.model.std, partial=self.partial,
            teacher=recipe.loss.kd and not labels,
            reference_padding="padding" in recipe.compat,
        )  # fmt: skip
        logits = step.forward(data)
        if labels:
            loss = kd_loss(logits, None, data.target, None, alpha=0.0, gamma=0.0, ignore_index=IGNORE)
        else:
            loss = loss_of(recipe, logits, data)[0]
        rows = 1 if self.reference else (data.target != IGNORE).sum()
        sums[2] += loss.double() * rows
        sums[3] += rows
        mask = torch.arange(size, device=step.device) < length[:, None]
        return logits, data.target, mask
