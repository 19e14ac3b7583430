"""The loop: epochs of steps, validation, checkpoints, and going on where a run was interrupted."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ChordfastError, UsageError
from ..models import ChordModel, save_checkpoint
from .boundary import boundary_of
from .corpus import Corpus
from .journal import Journal, Line, clock, now
from .parallel import Ranks, join
from .recipe import Recipe
from .schedule import Schedule
from .state import LAST, put, read_state, restore, write_state
from .step import NUMBERS, Step
from .student import load_student, new_student
from .validation import Validation
from .windows import Windows, cut, epoch_order

_SILENCE = 60.0  # seconds after which a line is due, however few the steps


@dataclass(frozen=True)
class Result:
    """What a run came to: its folder, the best epoch (from 1) and its accuracy, epochs done, whether it is complete,
    the network's file, and the epoch lines of the log."""

    folder: Path
    best_epoch: int
    best_accuracy: float
    epochs: int
    finished: bool
    best: Path
    history: list[Line]


def train(
    recipe: Recipe,
    corpus: Corpus,
    out: str | os.PathLike[str],
    resume: bool = False,
    device: str = "cpu",
    *,
    init: str | os.PathLike[str] | None = None,
    progress: str = "auto",
    trackers: tuple[str, ...] = (),
    minutes: float | None = None,
) -> Result:
    """Train a student as the recipe says and leave the best one in ``out``/best.safetensors.

    Args:
        corpus: the songs, with targets and parts.
        out: folder of the run: recipe.yaml, split.json, log.jsonl, curves.svg, best.safetensors, last.pt.
        resume: go on from last.pt, or begin where there is none; the weights come out as if never interrupted, to the
            bit on the same machine, number of threads and of ranks.
        device: "cpu", "cuda", "cuda:1". Under torchrun all ranks call this alike.
        init: checkpoint of the network to begin with (stage 2: of stage 1); random weights where None.
        progress: "auto", "rich", "plain", "none". trackers: "tensorboard", "wandb".
        minutes: stop after about so long, with a checkpoint to go on from.

    Raises UsageError, ModelError, ChordfastError: one sentence, for what does not fit together or cannot be written.
    """
    ranks, place = join(device)
    return _Run(recipe, corpus, Path(out), resume, ranks, place, init, (progress, trackers), minutes).run()


class _Run:
    def __init__(
        self,
        recipe: Recipe,
        corpus: Corpus,
        out: Path,
        resume: bool,
        ranks: Ranks,
        device: torch.device,
        init: str | os.PathLike[str] | None,
        telling: tuple[str, tuple[str, ...]],
        minutes: float | None,
    ) -> None:
        self.recipe, self.corpus, self.out, self.ranks = recipe, corpus, out, ranks
        size = recipe.data.window
        tails = "tails" in recipe.compat
        self.windows = cut(corpus.parts.train, corpus.first, corpus.frames, size, recipe.data.stride, tails)
        if not len(self.windows) or not corpus.parts.val:
            raise UsageError("the training or the validation part has no frames; add songs, or change the split")
        found = (out / LAST).exists()
        if found and not resume:
            raise UsageError(f"{out} holds a run already; go on with --resume, or choose another folder")
        content = read_state(out) if found else None
        self.model = self._network(init)
        partial = bool((self.windows.length < size).any())
        self.step = Step(recipe, self.model, corpus.data, ranks, device, partial)
        self.validation = Validation(corpus, self.step)
        self.steps = -(-len(self.windows) // recipe.loop.batch)
        self.schedule = Schedule(recipe.schedule, recipe.optimizer, recipe.loop.epochs, self.steps)
        self.epoch = self.position = self.stale = self.best_epoch = 0
        self.best = -math.inf
        self.finished = False
        self.before = self.step.sums.clone()
        self.pending: list[tuple[int, Windows]] = []
        self.started = self.saved = self.spoke = now()
        self.deadline = None if minutes is None else now() + 60 * minutes
        if ranks.first:
            _make(out)
        self.journal = Journal(out, *telling, active=ranks.first)
        if content is not None:
            self._restore(content)
        elif ranks.first:
            put(out / "recipe.yaml", recipe.to_yaml())
            put(out / "split.json", json.dumps(self._split(), indent=1) + "\n")
            put(out / "log.jsonl", "")

    def _network(self, init: str | os.PathLike[str] | None) -> ChordModel:
        recipe, corpus = self.recipe, self.corpus
        wanted = recipe.data.statistics
        if init is not None:
            model = load_student(init, recipe, corpus.classes, corpus.plan_hash)
        elif wanted == "model":
            raise UsageError(f"{recipe.name} goes on from a trained network; give its checkpoint (--student FILE)")
        else:
            model = new_student(recipe, corpus.classes)
        if wanted == "none" or ("normalisation" in recipe.compat and recipe.name == "scratch"):
            model.set_statistics(0.0, 1.0)
        elif wanted == "estimate":
            model.set_statistics(*corpus.statistics(corpus.parts.train))
        return model.train()

    def _split(self) -> dict[str, list[str]]:
        parts, ids = self.corpus.parts, self.corpus.ids
        named = self.corpus.split_ids or type(parts)(*([ids[i] for i in part] for part in parts))
        return dict(zip(named._fields, named, strict=True))

    def _restore(self, content: dict[str, Any]) -> None:
        for what, mine in (("recipe", _fixed(self.recipe)), ("data", self.corpus.hash)):
            if content.get(what) != mine:
                raise UsageError(
                    f"the {what} changed since the run in {self.out} began; resume with the same, or start anew"
                )
        restore(self.step, content, self.out / LAST)
        for name in ("epoch", "position", "stale", "best_epoch", "best", "finished"):
            setattr(self, name, content[name])
        self.finished = (self.finished and self.epoch >= self.recipe.loop.epochs) or self._stale()
        self.before = content["before"].to(self.step.device)
        self.schedule.load(content["schedule"])
        self.model.set_statistics(content["mean"], content["std"])
        self.journal.rewind(content["global_step"])
        self.journal.say(f"resuming in epoch {self.epoch + 1}, step {self.position} of {self.steps}")

    @property
    def global_step(self) -> int:
        return self.epoch * self.steps + self.position

    def run(self) -> Result:
        loop = self.recipe.loop
        for note in self.corpus.notes:
            self.journal.say(note)
        paused = False
        while not (self.finished or paused):
            if self.epoch >= loop.epochs:
                self.finished = True
                break
            paused = self._epoch()
            if not paused:
                self._end_epoch()
        history = [line for line in self.journal.lines if line["event"] == "epoch"]
        self.journal.close()
        self.ranks.wait()
        best = self.out / "best.safetensors"
        return Result(self.out, self.best_epoch, self.best, self.epoch, self.finished, best, history)

    def _epoch(self) -> bool:
        """The steps of an epoch from ``position`` on; True when the time is up."""
        recipe, loop = self.recipe, self.recipe.loop
        order = epoch_order(len(self.windows), recipe.seed, self.epoch, loop.shuffle)
        shifts = _shifts(recipe, len(order), self.epoch)
        began, first = now(), self.position
        with self.journal.steps(self.epoch, loop.epochs, self.steps, self.position) as show:
            while self.position < self.steps:
                which = order[self.position * loop.batch : (self.position + 1) * loop.batch]
                batch = self.windows.take(which)
                # Seeds of their own make a step repeatable wherever a run was interrupted.
                seeds = np.random.SeedSequence((recipe.seed, self.epoch, self.position, self.ranks.index))
                torch.manual_seed(int(seeds.generate_state(1, np.uint64)[0] >> 1))
                self.step.set_rate(self.schedule.at(self.global_step))
                self.step(batch, None if shifts is None else shifts[which])
                self.position += 1
                self.pending.append((self.global_step, batch))
                if len(self.pending) == loop.log_every or now() - self.spoke > _SILENCE:
                    loss = self._log(now() - began, self.position - first)
                    show(self.position, loss)
                elif self.journal.kind == "rich":
                    show(self.position, None)
                if self.position < self.steps and now() - self.saved > 60 * loop.checkpoint_minutes:
                    self._save()
                if self.deadline is not None and self.ranks.any(now() > self.deadline, self.step.device):
                    if self.position < self.steps:
                        self._save()
                        self.journal.say(f"time is up; go on with --resume (epoch {self.epoch + 1})")
                        return True
                    break
        return False

    def _log(self, seconds: float, steps: int) -> float:
        """The line of the latest steps; what is not finite is named."""
        sums = self.step.sums
        recent = _means(sums - self.before)
        self.before = sums.clone()
        left = (self.recipe.loop.epochs * self.steps - self.global_step) * seconds / max(1, steps)
        speed = steps * self.recipe.loop.batch * self.recipe.data.window / max(seconds, 1e-9)
        line: Line = {"event": "steps", "epoch": self.epoch + 1, "step": self.global_step, **recent}
        line |= {
            "lr": self.schedule.at(self.global_step),
            "frames_per_second": round(speed),
            "data_share": round(self.step.data_seconds / max(now() - self.started, 1e-9), 4),
            "seconds_left": round(left),
        }
        self.journal.write(line)
        self.spoke = now()
        if self.journal.kind == "plain":
            self.journal.say(
                f"epoch {self.epoch + 1}/{self.recipe.loop.epochs} step {self.position}/{self.steps} "
                f"loss {recent['loss']:.4f} accuracy {recent['accuracy']:.4f} lr {line['lr']:.2e} "
                f"{speed:,.0f} frames/s, left {clock(left)}"
            )
        self._name_failures()
        return recent["loss"]

    def _name_failures(self) -> None:
        """Say which of the latest steps had a loss that is no number, and whose songs they were."""
        losses = self.step.trace[: len(self.pending)].cpu()
        for (number, batch), loss in zip(self.pending, losses.tolist(), strict=True):
            if math.isfinite(loss):
                continue
            broken = [s for s in np.unique(batch.song) if not bool(torch.isfinite(self.corpus.features(int(s))).all())]
            songs = [self.corpus.ids[s] for s in (broken or np.unique(batch.song))]
            more = f" and {len(songs) - 3} more" if len(songs) > 3 else ""
            why = "whose features are not finite" if broken else "none of which has features that are not finite"
            self.journal.write({"event": "skipped", "step": number, "songs": songs})
            self.journal.say(
                f"step {number} was skipped, its loss is {loss}: songs {', '.join(songs[:3])}{more}, {why}"
            )
        self.pending.clear()
        self.step.slot.zero_()

    def _end_epoch(self) -> None:
        self._name_failures()
        numbers = _means(self.step.sums)
        if not numbers["steps"]:
            raise ChordfastError(
                f"no step of epoch {self.epoch + 1} had a finite loss, nothing is learnt; see {self.journal.path} "
                "for the songs, and lower optimizer.lr"
            )
        self.step.sums.zero_()
        self.before = self.step.sums.clone()
        found = self.validation()
        self.schedule.end_epoch(found["accuracy"])
        self.epoch, self.position = self.epoch + 1, 0
        better = found["accuracy"] > self.best
        self.stale = 0 if better else self.stale + 1
        if better:
            self.best, self.best_epoch = found["accuracy"], self.epoch
        line: Line = {"event": "epoch", "epoch": self.epoch, "step": self.global_step, **numbers}
        line |= {"val_loss": found["loss"], "val_accuracy": found["accuracy"], "best_epoch": self.best_epoch}
        line |= {"lr": self.schedule.at(self.global_step), "seconds": round(now() - self.started, 2)}
        self.journal.write(line)
        self.journal.say(
            f"epoch {self.epoch}/{self.recipe.loop.epochs}: loss {numbers['loss']:.4f} "
            f"accuracy {numbers['accuracy']:.4f}, validation loss {found['loss']:.4f} "
            f"accuracy {found['accuracy']:.4f}{' (best)' if better else ''}"
        )
        every = self.recipe.loop.save_every
        self.finished = self.epoch >= self.recipe.loop.epochs or self._stale()
        if self.ranks.first:
            if better:
                self._write("best.safetensors", found["accuracy"])
            if every and (self.epoch % every == 0 or self.epoch == self.recipe.loop.epochs):
                self._write(f"epoch-{self.epoch:03d}.safetensors", found["accuracy"])
        self.journal.picture()
        self._save()
        if self.finished and self.epoch < self.recipe.loop.epochs:
            self.journal.say(f"stopped: no better epoch since {self.best_epoch}")

    def _stale(self) -> bool:
        return bool(self.recipe.loop.patience) and self.stale >= self.recipe.loop.patience

    def _write(self, name: str, accuracy: float) -> None:
        corpus = self.corpus
        provenance = {
            "recipe": self.recipe.name,
            "recipe_hash": self.recipe.hash,
            "data_hash": corpus.hash,
            "teacher": corpus.teacher,
            "teacher_hash": corpus.teacher_hash,
            "targets": self.recipe.data.targets,
            "boundary": boundary_of(self.recipe.data.targets, corpus.teacher),
            "epoch": self.epoch,
            "val_accuracy": accuracy,
            "train_songs": len(corpus.parts.train),
            "train_hours": round(corpus.hours(corpus.parts.train), 3),
        }
        save_checkpoint(self.out / name, self.model, feature_plan=corpus.plan_hash, provenance=provenance)

    def _save(self) -> None:
        self._name_failures()
        if self.ranks.first:
            names = ("epoch", "position", "stale", "best_epoch", "best", "finished", "global_step")
            content = {name: getattr(self, name) for name in names}
            content |= {"before": self.before.cpu(), "schedule": self.schedule.state()}
            content |= {"mean": self.model.mean, "std": self.model.std}
            content |= {"recipe": _fixed(self.recipe), "data": self.corpus.hash}
            write_state(self.out, self.step, content)
        self.saved = now()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made ({error.strerror}); choose another folder") from error


def _fixed(recipe: Recipe) -> str:
    """Hash of the settings that must not change between the pieces of a run."""
    free = replace(Recipe().loop, **{n: getattr(recipe.loop, n) for n in ("batch", "precision", "shuffle")})
    return replace(recipe, loop=free).hash


def _means(sums: torch.Tensor) -> dict[str, float]:
    """Per-step means of the losses and the gradient's norm, per-frame shares of the rest."""
    numbers = dict(zip(NUMBERS, sums.tolist(), strict=True))
    steps, frames = max(1.0, numbers["steps"]), max(1.0, numbers["frames"])
    found = {name: numbers[name] / steps for name in ("loss", "kd", "hard", "dropped", "damped", "gradient")}
    return {**found, "accuracy": numbers["correct"] / frames, "steps": numbers["steps"], "skipped": numbers["skipped"]}


def _shifts(recipe: Recipe, count: int, epoch: int) -> np.ndarray | None:
    """Semitones of every window in this epoch."""
    if recipe.augment.cqt_shift is None:
        return None
    low, high = recipe.augment.cqt_shift
    return np.random.default_rng((recipe.seed, epoch, 1)).integers(low, high, count, endpoint=True)
