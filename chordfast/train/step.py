"""One training step: gather, forward, loss, backward, clip, update, and its numbers, without a wait for the device."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ..models import ChordModel
from ..ops.kd_loss import kd_loss
from .flat import FlatParameters
from .frames import IGNORE, Batch, Frames, weighted_loss
from .parallel import Ranks
from .recipe import Recipe
from .windows import Windows

# Numbers of a step, and of an epoch as their sums; shares are weighted by frames.
NUMBERS = ("loss", "kd", "hard", "dropped", "damped", "correct", "frames", "gradient", "steps", "skipped")
_LOSS, _ROWS, _NORM, _STEPS, _SKIPPED = (NUMBERS.index(n) for n in ("loss", "frames", "gradient", "steps", "skipped"))
CPU_MICRO_BATCH = 16  # windows whose activations stay near the caches


class Step:
    """The update for a batch of windows; ``sums`` [len(NUMBERS)] float64 adds up what the steps say.

    A step whose loss is not finite changes nothing but ``skipped``; ``trace`` keeps the losses of the latest steps, by
    which it is found later. With several ranks each calls it with the whole batch's windows and computes its share.
    """

    def __init__(
        self, recipe: Recipe, model: ChordModel, frames: Frames, ranks: Ranks, device: torch.device, partial: bool
    ) -> None:
        self.recipe, self.model, self.ranks, self.device, self.partial = (
            recipe,
            model.to(device),
            ranks,
            device,
            partial,
        )
        self.frames = frames.to(device)
        self.flat = FlatParameters(model)
        self.network: Callable[..., Any] = model
        if recipe.loop.compile:
            self.network = torch.compile(model)
        self.optimizer = self._optimizer()
        self.sums = torch.zeros(len(NUMBERS), dtype=torch.float64, device=self.device)
        self.trace = torch.zeros(recipe.loop.log_every, device=self.device)
        self.slot = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.failed = torch.zeros((), device=self.device)
        self.data_seconds = 0.0  # of the host, spent gathering
        self.graph: Any = None
        self._captured: tuple[Tensor, ...] = ()
        resident = isinstance(self.frames.features, Tensor)
        self._try_graph = device.type == "cuda" and recipe.loop.cuda_graph and ranks.count == 1 and resident

    def _optimizer(self) -> torch.optim.Optimizer:
        settings = self.recipe.optimizer
        lr: Any = settings.lr
        if self.device.type == "cuda":
            lr = torch.tensor(settings.lr, device=self.device)  # read anew by every replay of the graph
        kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
        numbers: dict[str, Any] = {"betas": settings.betas, "eps": settings.eps}
        numbers |= {"weight_decay": settings.weight_decay, "fused": True, "capturable": self.device.type == "cuda"}
        optimizer = kind([self.flat.leaf], lr=lr, **numbers)
        # The moments now, not at the first step: they can be loaded, and a graph must not allocate them.
        optimizer.state[self.flat.leaf] = {
            "step": torch.zeros((), device=self.device),
            "exp_avg": torch.zeros_like(self.flat.values),
            "exp_avg_sq": torch.zeros_like(self.flat.values),
        }
        return optimizer

    @property
    def moments(self) -> dict[str, Tensor]:
        return self.optimizer.state[self.flat.leaf]

    def set_rate(self, rate: float) -> None:
        group = self.optimizer.param_groups[0]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate

    def __call__(self, windows: Windows, shift: np.ndarray | None) -> None:
        """Update for these windows, all ranks' together; shift: semitones [B] or None."""
        inputs = self._to_device(windows, shift)
        if self._try_graph and len(windows) == self.recipe.loop.batch:
            self._replay(inputs)
        else:
            self._run(*inputs)

    def _to_device(self, windows: Windows, shift: np.ndarray | None) -> tuple[Tensor, Tensor, Tensor]:
        moves = np.zeros(len(windows), np.int64) if shift is None else shift
        table = torch.from_numpy(np.stack((windows.first, windows.length, moves)))
        if self.device.type == "cuda":
            table = table.pin_memory().to(self.device, non_blocking=True)
        first, length, moved = table
        return first, length, moved

    def _run(self, first: Tensor, length: Tensor, shift: Tensor) -> None:
        """Everything of a step; nothing here waits for the device, so that it can be captured."""
        batch = self._micro(len(first))
        self.flat.shared.zero_()
        share = self.ranks.share(len(first))
        total = self._rows(first, length)
        for at in range(share.start, share.stop, batch):
            piece = slice(at, min(at + batch, share.stop))
            self._backward(first[piece], length[piece], shift[piece], total)
        self.ranks.sum(self.flat.shared)
        self._update()

    def _micro(self, count: int) -> int:
        chosen = self.recipe.loop.micro_batch
        return chosen or (CPU_MICRO_BATCH if self.device.type == "cpu" else count)

    def _rows(self, first: Tensor, length: Tensor) -> Tensor:
        """Frames of the whole batch that count: what every part's loss is divided by."""
        size = self.recipe.data.window
        at = torch.arange(size, device=self.device)
        if self.partial:
            valid = at < length[:, None]
            counts = self.frames.target[torch.where(valid, first[:, None] + at, first[:, None])] != IGNORE
            counts = (counts | ~valid) if "padding" in self.recipe.compat else (counts & valid)
        else:
            counts = self.frames.target[first[:, None] + at] != IGNORE
        return counts.sum().clamp_min(1)

    def _backward(self, first: Tensor, length: Tensor, shift: Tensor, total: Tensor) -> None:
        began = time.monotonic()
        data = self.frames.window(
            first, length, self.recipe.data.window, self.model.mean, self.model.std, partial=self.partial,
            shift=shift if self.recipe.augment.cqt_shift is not None else None, teacher=self.recipe.loss.kd,
            reference_padding="padding" in self.recipe.compat,
        )  # fmt: skip
        self.data_seconds += time.monotonic() - began
        logits = self.forward(data)
        loss, kd, hard, dropped, damped, rows = loss_of(self.recipe, logits, data)
        part = rows / total
        (loss * part.to(loss.dtype)).backward()
        with torch.no_grad():
            correct = ((logits.argmax(-1) == data.target) & (data.target != IGNORE)).sum()
            numbers = torch.stack([x.to(torch.float32) for x in (loss, kd, hard, dropped, damped)]) * part
            self.flat.stats[:5] += numbers
            self.flat.stats[5] += correct
            self.flat.stats[6] += rows

    def forward(self, data: Batch) -> Tensor:
        """Logits, float32, under the recipe's precision."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.loop.precision == "bf16"):
            logits = self.network(data.features, data.mask)
        return logits.float()

    def _update(self) -> None:
        """Clip, update, count; nothing but the count where the loss is not finite."""
        flat, stats = self.flat, self.flat.stats
        with torch.no_grad():
            self.failed.copy_((~torch.isfinite(stats[_LOSS])).float())
            flat.gradient.nan_to_num_(0.0, 0.0, 0.0)
            norm = torch.linalg.vector_norm(flat.gradient)
            if clip := self.recipe.optimizer.clip:
                flat.gradient.mul_((clip / (norm + 1e-6)).clamp_max(1.0))
            self.optimizer.found_inf = self.failed  # type: ignore[attr-defined]
            self.optimizer.step()
            stats[_NORM] = norm
            stats[_STEPS] = 1.0
            fine = 1.0 - self.failed
            self.trace.index_copy_(0, self.slot % len(self.trace), stats[_LOSS].reshape(1))
            self.slot.add_(1)
            counted = torch.where(self.failed > 0, torch.zeros_like(stats), stats)
            counted[_STEPS] = fine
            counted[_SKIPPED] = self.failed
            self.sums += counted[: len(NUMBERS)].double()

    def _replay(self, inputs: tuple[Tensor, ...]) -> None:
        """The step as one CUDA graph, captured at the first call; falls back to plain launches, and says so."""
        if self.graph is None:
            self._capture(inputs)
        if self.graph is None:
            self._run(*inputs)
            return
        for kept, new in zip(self._captured, inputs, strict=True):
            kept.copy_(new)
        self.graph.replay()

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        saved = [x.clone() for x in self._mutable()]
        random = torch.cuda.get_rng_state(self.device)
        try:
            self._captured = tuple(x.clone() for x in inputs)
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # lazy initialisations must lie behind us
                for _ in range(3):
                    self._run(*self._captured)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._run(*self._captured)
            self.graph = graph
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:120]
            warnings.warn(f"no CUDA graph of the step, it runs in single launches ({reason})", stacklevel=2)
            self._try_graph, self.graph = False, None
        for kept, old in zip(self._mutable(), saved, strict=True):
            kept.copy_(old)
        torch.cuda.set_rng_state(random, self.device)

    def _mutable(self) -> list[Tensor]:
        return [self.flat.values.data, *self.moments.values(), self.sums, self.trace, self.slot]


def loss_of(recipe: Recipe, logits: Tensor, data: Batch) -> tuple[Tensor, ...]:
    """(loss, distillation, hard loss, dropped share, damped share, rows that count) of a batch."""
    settings = recipe.loss
    if data.weight is not None:
        loss, kd, hard, rows = weighted_loss(logits, data.teacher, data.target, data.weight, settings)
        nothing = torch.zeros_like(kd)
        return loss, kd, hard, nothing, nothing, rows
    distil = settings.kd and data.teacher is not None
    if settings.kd and data.teacher is None and "kd" not in recipe.compat:
        raise UsageError(
            "the recipe distils (loss.kd), but the data holds no teacher posteriors; store them, or set loss.kd=false"
        )
    parts = kd_loss(
        logits,
        data.teacher if distil else None,
        data.target,
        None,
        temperature=settings.temperature,
        alpha=settings.alpha if distil else 0.0,
        gamma=settings.gamma,
        selective=(settings.min_confidence, settings.max_confidence) if settings.selective else None,
        ignore_index=IGNORE,
        return_parts=True,
    )
    return tuple(parts)
