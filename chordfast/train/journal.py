"""What a run tells: log.jsonl, a picture, lines or a bar on stderr, and to trackers where they are installed."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .curves import curves
from .state import put

Line = dict[str, Any]
_SHOWN = ("loss", "accuracy", "val_loss", "val_accuracy", "lr", "gradient", "dropped", "damped")


class Journal:
    """Appends lines to ``log.jsonl``; ``kinds`` of progress: "auto", "rich", "plain", "none"."""

    def __init__(
        self, folder: Path, progress: str = "auto", trackers: tuple[str, ...] = (), active: bool = True
    ) -> None:
        self.path, self.active = folder / "log.jsonl", active
        self.lines: list[Line] = []
        terminal = sys.stderr.isatty()
        self.kind = ("rich" if terminal else "plain") if progress == "auto" else progress
        self._bar: Any = None
        self._trackers = [_tracker(name, folder) for name in trackers] if active else []

    def rewind(self, step: int) -> None:
        """Keep the lines up to ``step``: what came later is about to happen again."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            with contextlib.suppress(ValueError):  # a line cut by a crash
                entry = json.loads(line)
                if entry.get("step", 0) <= step:
                    self.lines.append(entry)
        if self.active:
            put(self.path, "".join(json.dumps(entry) + "\n" for entry in self.lines))

    def write(self, entry: Line) -> None:
        """One line; numbers that are not finite become null."""
        entry = {key: _number(value) for key, value in entry.items()}
        self.lines.append(entry)
        if not self.active:
            return
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(json.dumps(entry, allow_nan=False) + "\n")
        for track in self._trackers:
            track(entry)

    def say(self, text: str) -> None:
        """A sentence for people."""
        if not self.active or self.kind == "none":
            return
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def picture(self) -> None:
        if self.active:
            epochs = [line for line in self.lines if line["event"] == "epoch"]
            put(self.path.parent / "curves.svg", curves(epochs))

    @contextlib.contextmanager
    def steps(self, epoch: int, epochs: int, total: int, done: int) -> Iterator[Any]:
        """A bar over the steps of an epoch; gives a function (steps done, loss or None)."""
        if not self.active or self.kind != "rich":
            yield lambda done, loss: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"epoch {epoch + 1}/{epochs}", total=total, completed=done)
            self._bar = bar

            def advance(done: int, loss: float | None) -> None:
                text = "" if loss is None else f"  loss {loss:.4f}"
                bar.update(task, completed=done, description=f"epoch {epoch + 1}/{epochs}{text}")

            try:
                yield advance
            finally:
                self._bar = None

    def close(self) -> None:
        for track in self._trackers:
            track(None)


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value


def _tracker(name: str, folder: Path) -> Any:
    if name == "tensorboard":
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UsageError("TensorBoard is not installed; run pip install 'chordfast[tensorboard]'") from None
        writer = SummaryWriter(str(folder / "tensorboard"))

        def to_board(entry: Line | None) -> None:
            if entry is None:
                writer.close()
                return
            for key in _SHOWN:
                if isinstance(entry.get(key), int | float):
                    writer.add_scalar(f"{entry['event']}/{key}", entry[key], entry["step"])

        return to_board
    if name != "wandb":
        raise UsageError(f"there is no tracker {name!r}; choose tensorboard or wandb")
    try:
        import wandb
    except ImportError:
        raise UsageError("Weights & Biases is not installed; run pip install 'chordfast[wandb]'") from None
    run = wandb.init(project="chordfast", name=folder.name, dir=str(folder), resume="allow")

    def to_wandb(entry: Line | None) -> None:
        if entry is None:
            run.finish()
        else:
            run.log({f"{entry['event']}/{k}": entry[k] for k in _SHOWN if k in entry}, step=entry["step"])

    return to_wandb


def clock(seconds: float) -> str:
    """ "1:02:03", "2:03"."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def now() -> float:
    return time.monotonic()
