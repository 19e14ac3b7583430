"""Learning-rate schedules: per step (cosine with warm-up), and per epoch by the validation accuracy."""

from __future__ import annotations

import math

from .recipe import Optimizer
from .recipe import Schedule as Settings


class Schedule:
    """The learning rate of every step of a run of ``epochs`` epochs of ``steps`` steps.

    Cosine (ChordMini): with s steps completed, W and S those of the warm-up and of all epochs, a and b the warm-up's
    ends and m the floor: a + (s/W)(b - a) for s <= W, else m + (b - m)(1 + cos(π(s - W)/(S - W)))/2; the first update
    uses a. Without warm-up b is the optimizer's learning rate. The other kinds warm up the same way, and then change
    the rate at the end of an epoch: see ``recipe.Schedule``.
    """

    def __init__(self, settings: Settings, optimizer: Optimizer, epochs: int, steps: int) -> None:
        self.settings = settings
        self.total = max(1, epochs * steps)
        self.warmup = min(settings.warmup_epochs * steps, self.total)
        warm = settings.warmup_epochs > 0
        self.high = settings.warmup_end if warm and settings.warmup_end is not None else optimizer.lr
        self.low = settings.warmup_start if settings.warmup_start is not None else self.high / 10
        self.rate = self.high
        self.best = self.last = -math.inf

    def at(self, step: int) -> float:
        """Learning rate of the update after ``step`` completed ones."""
        if step <= self.warmup and self.warmup:
            return self.low + step / self.warmup * (self.high - self.low)
        if self.settings.kind != "cosine":
            return self.rate
        done = (step - self.warmup) / max(1, self.total - self.warmup)
        return self.settings.floor + (self.high - self.settings.floor) * (1 + math.cos(math.pi * min(1.0, done))) / 2

    def end_epoch(self, accuracy: float) -> None:
        """Take the validation accuracy of an epoch into account."""
        worse = {
            "plateau": accuracy <= self.best,
            "below_best": accuracy < self.best,
            "below_last": accuracy < self.last,
        }.get(self.settings.kind, False)
        if worse:
            self.rate = max(self.rate * self.settings.factor, min(self.settings.floor, self.rate))
        self.best, self.last = max(self.best, accuracy), accuracy

    def state(self) -> dict[str, float]:
        return {"rate": self.rate, "best": self.best, "last": self.last}

    def load(self, state: dict[str, float]) -> None:
        self.rate, self.best, self.last = state["rate"], state["best"], state["last"]
