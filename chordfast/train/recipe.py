"""Recipes: every number of a training run as data, with the published values as defaults.

``stage1``, ``stage2`` and ``scratch`` are those of ChordMini (arXiv 2602.19778), ``teacher`` is that of BTC (ISMIR
2019). A recipe is frozen; ``with_settings`` and ``from_yaml`` make changed copies, checked name by name and type by
type.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ..errors import UsageError
from .settings import convert, nearest, plain

COMPAT: dict[str, str] = {
    "padding": "short windows are filled with raw zeros (a loud frame), unmasked, and their frames count as N",
    "tails": "only windows at multiples of the stride, the frames behind the last one are not used",
    "validation": "BTC is judged on overlapping windows frame by frame, 2E1D by smoothed hard votes",
    "normalisation": "training from scratch does not normalise the features",
    "labels": "the label map of ChordMini's training (an unknown quality is major, X is a class)",
    "offline_labels": "the label map of ChordMini's pseudo-label files (slash chords become N)",
    "frames": "a frame has the first segment with start <= i * period < end, and padding is N",
    "kd": "distillation is left out without a word where there are no teacher posteriors",
}
"""The defects of the reference that are mended by default, each a switch of that name; "chordmini" means those of its
training: all but ``offline_labels``."""
CHORDMINI = tuple(name for name in COMPAT if name != "offline_labels")


@dataclass(frozen=True)
class Data:
    """Which frames are trained on.

    window, stride: frames. targets: "pseudo" (the store's) or "labels" (a label folder). train, val: shares of the
    songs, the rest is for testing; ensure_train, ensure_val: at least one song in that part where possible.
    max_songs: at most so many, 0 all. min_confidence: frames whose teacher was less sure (0 ... 1) do not count.
    weight_by: a frame's weight in the loss: "none", "confidence" or "agreement" of the teacher, or "quality": rare
    qualities count more (``balance.quality_weights``). agreement_only: only frames in which all members of a combined
    teacher agree. statistics: "estimate" the mean and standard deviation over the training part, "model" keep those of
    the model started from, "none" do not normalise. memory_gb: features up to this size are held in memory, beyond it
    they are read from the mapped store.
    """

    window: int = 108
    stride: int = 108
    targets: str = "pseudo"
    train: float = 0.8
    val: float = 0.1
    ensure_train: bool = True
    ensure_val: bool = True
    max_songs: int = 0
    min_confidence: float = 0.0
    weight_by: str = "none"
    agreement_only: bool = False
    statistics: str = "estimate"
    memory_gb: float = 32.0


@dataclass(frozen=True)
class Augment:
    """cqt_shift: (low, high) semitones, one drawn per window; bins are rolled and labels transposed. It is no pitch
    shift of the audio: the spectrum's shape does not move with it, and bins without a source hold silence.
    shifted_songs: train on the store's songs whose id ends in ``#+3`` and the like (pitch-shifted audio), labels
    transposed. pitch_shift: (low, high) semitones; every training song must then be in the store shifted by each of
    them but 0, and shifted songs beyond them are not used."""

    cqt_shift: tuple[int, int] | None = None
    shifted_songs: bool = True
    pitch_shift: tuple[int, int] | None = None

    def semitones(self) -> tuple[int, ...]:
        """The shifts that ``pitch_shift`` asks for."""
        low, high = self.pitch_shift or (0, 0)
        return tuple(step for step in range(low, high + 1) if step)

    def uses(self, semitones: int) -> bool:
        """Whether songs shifted by so much are trained on; the songs themselves (0) always are."""
        return not semitones or (self.shifted_songs and (self.pitch_shift is None or semitones in self.semitones()))


@dataclass(frozen=True)
class Model:
    """architecture: "btc" or "2e1d". options: fields of its configuration (num_classes, dropouts, layers, ...)."""

    architecture: str = "btc"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """kd: distil; alpha: its share; temperature: its τ; selective: weigh frames by the teacher's softened confidence
    between min_confidence and max_confidence; gamma: of the focal loss, 0 is cross-entropy (see ``ops.kd_loss``)."""

    kd: bool = False
    alpha: float = 0.5
    temperature: float = 3.0
    selective: bool = False
    min_confidence: float = 0.1
    max_confidence: float = 0.9
    gamma: float = 2.0


@dataclass(frozen=True)
class Optimizer:
    """name: "adamw" or "adam". clip: largest L2 norm of the gradient, 0 for none."""

    name: str = "adamw"
    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-5
    clip: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """kind: "cosine" (per step, after ``warmup_epochs``), "plateau" (times ``factor`` after an epoch that is no new
    best), "below_best" (after one worse than the best), "below_last" (after one worse than the one before), "none".
    warmup_start, warmup_end: learning rates of the warm-up; None: a tenth of the optimizer's, and the optimizer's own.
    floor: lowest learning rate."""

    kind: str = "cosine"
    warmup_epochs: int = 0
    warmup_start: float | None = None
    warmup_end: float | None = None
    factor: float = 0.9
    floor: float = 1e-6


@dataclass(frozen=True)
class Loop:
    """batch: windows a step, over all ranks. micro_batch: windows computed at once, 0 chooses (gradients are summed,
    the result is that of the whole batch). patience: epochs without a new best before stopping, 0 never. precision:
    "fp32" or "bf16" (autocast). checkpoint_minutes: between checkpoints within an epoch. save_every: keep the weights
    of every so many epochs, 0 none. log_every: steps between lines of the log. cuda_graph, compile: on a GPU."""

    batch: int = 256
    micro_batch: int = 0
    epochs: int = 100
    patience: int = 10
    precision: str = "fp32"
    shuffle: bool = True
    checkpoint_minutes: float = 10.0
    save_every: int = 0
    log_every: int = 50
    cuda_graph: bool = True
    compile: bool = False


_CHOICES: dict[str, tuple[str, ...]] = {
    "data.targets": ("pseudo", "labels"),
    "data.weight_by": ("none", "confidence", "agreement", "quality"),
    "data.statistics": ("estimate", "model", "none"),
    "model.architecture": ("btc", "2e1d"),
    "optimizer.name": ("adamw", "adam"),
    "schedule.kind": ("cosine", "plateau", "below_best", "below_last", "none"),
    "loop.precision": ("fp32", "bf16"),
}
_RANGES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("data.window", lambda v: 1 <= v <= 256, "1 to 256 frames"),
    ("data.stride", lambda v: v >= 1, "at least 1 frame"),
    ("data.train", lambda v: 0 <= v <= 1, "a share from 0 to 1"),
    ("data.val", lambda v: 0 <= v <= 1, "a share from 0 to 1"),
    ("data.min_confidence", lambda v: 0 <= v <= 1, "0 to 1"),
    ("data.max_songs", lambda v: v >= 0, "0 or more"),
    ("loss.alpha", lambda v: 0 <= v <= 1, "0 to 1"),
    ("loss.temperature", lambda v: v > 0, "a number above 0"),
    ("loss.gamma", lambda v: v >= 0, "0 or more"),
    ("loss.min_confidence", lambda v: 0 <= v <= 1, "0 to 1"),
    ("loss.max_confidence", lambda v: 0 <= v <= 1, "0 to 1"),
    ("optimizer.lr", lambda v: v > 0, "a number above 0"),
    ("optimizer.eps", lambda v: v > 0, "a number above 0"),
    ("optimizer.weight_decay", lambda v: v >= 0, "0 or more"),
    ("optimizer.clip", lambda v: v >= 0, "0 (none) or more"),
    ("optimizer.betas", lambda v: all(0 <= b < 1 for b in v), "two numbers from 0 to below 1"),
    ("schedule.warmup_epochs", lambda v: v >= 0, "0 or more"),
    ("schedule.factor", lambda v: 0 < v <= 1, "above 0, at most 1"),
    ("schedule.floor", lambda v: v >= 0, "0 or more"),
    ("augment.cqt_shift", lambda v: v is None or -12 <= v[0] <= v[1] <= 12, "[low, high] within -12 to 12"),
    (
        "augment.pitch_shift",
        lambda v: v is None or (-12 <= v[0] <= v[1] <= 12 and any(v)),
        "[low, high] within -12 to 12, not both 0",
    ),
    ("loop.batch", lambda v: v >= 1, "at least 1"),
    ("loop.micro_batch", lambda v: v >= 0, "0 (chosen) or more"),
    ("loop.epochs", lambda v: v >= 1, "at least 1"),
    ("loop.patience", lambda v: v >= 0, "0 (never) or more"),
    ("loop.log_every", lambda v: v >= 1, "at least 1"),
    ("loop.save_every", lambda v: v >= 0, "0 (none) or more"),
    ("loop.checkpoint_minutes", lambda v: v >= 0, "0 or more"),
)


@dataclass(frozen=True)
class Recipe:
    """A training run but for its data and its place; see the classes of the parts, and ``RECIPES`` for the presets.

    name: what it was made from. compat: names out of ``COMPAT``, of defects to reproduce. Raises UsageError, naming
    the setting, for values outside their range.
    """

    name: str = "stage1"
    seed: int = 42
    compat: tuple[str, ...] = ()
    data: Data = Data()
    augment: Augment = Augment()
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    loop: Loop = Loop()

    def __post_init__(self) -> None:
        names = dict.fromkeys(n for name in self.compat for n in (CHORDMINI if name == "chordmini" else (name,)))
        for name in names:
            if name not in COMPAT:
                raise UsageError(f"compat: there is no {name!r}{nearest(name, ('chordmini', *COMPAT))}")
        object.__setattr__(self, "compat", tuple(name for name in COMPAT if name in names))
        for key, choices in _CHOICES.items():
            if (value := self.get(key)) not in choices:
                raise UsageError(f"{key} is {value!r}; choose one of {', '.join(choices)}")
        for key, fits, wanted in _RANGES:
            if not fits(self.get(key)):
                raise UsageError(f"{key} is {plain(self.get(key))}; give {wanted}")
        if self.data.train + self.data.val > 1 + 1e-9:
            raise UsageError(f"data.train and data.val are {self.data.train} and {self.data.val}; together at most 1")
        if self.augment.pitch_shift and not self.augment.shifted_songs:
            raise UsageError("augment.pitch_shift asks for shifted songs and augment.shifted_songs is false; drop one")
        if self.loss.min_confidence > self.loss.max_confidence:
            raise UsageError("loss.min_confidence is above loss.max_confidence; give low and high the other way round")

    def get(self, key: str) -> Any:
        """The value of a dotted name, "optimizer.lr"."""
        value: Any = self
        for part in key.split("."):
            value = getattr(value, part)
        return value

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to recipe.yaml."""
        return plain(dataclasses.asdict(self))

    def to_yaml(self) -> str:
        return yaml.safe_dump({"recipe": self.name, **{k: v for k, v in self.to_dict().items() if k != "name"}},
                              sort_keys=False)  # fmt: skip

    @property
    def hash(self) -> str:
        """SHA-256 (hexadecimal) of all settings."""
        settings = self.to_dict()
        if settings["augment"]["pitch_shift"] is None:  # younger than runs that are to be resumed
            del settings["augment"]["pitch_shift"]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def updated(self, changes: Mapping[str, Any], where: str = "the recipe") -> Recipe:
        """A copy with nested values, {"optimizer": {"lr": 2e-5}}; UsageError names an unknown name's nearest."""
        return _updated(self, changes, where, "")

    def with_settings(self, settings: Iterable[str]) -> Recipe:
        """A copy with settings "optimizer.lr=2e-5"; values are YAML. UsageError for what is no setting or no value."""
        recipe = self
        for setting in settings:
            key, equals, text = setting.partition("=")
            if not equals:
                raise UsageError(f"--set {setting!r} has no '='; write name=value, as in optimizer.lr=2e-5")
            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError:
                value = text
            changes: Any = value
            for part in reversed(key.strip().split(".")):
                changes = {part: changes}
            recipe = recipe.updated(changes, "--set")
        return recipe

    @staticmethod
    def from_yaml(
        path: str | os.PathLike[str], stage: str | None = None, warn: Callable[[str], None] | None = None
    ) -> Recipe:
        """A recipe out of a YAML file: chordfast's own, ChordMini's or BTC's configuration as it is.

        stage: which recipe's defaults, and which part of ChordMini's file; by default what the file says. ``warn`` is
        called with one sentence for settings of the references that have no counterpart. Raises UsageError.
        """
        from .foreign import is_foreign, read_foreign

        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{path} cannot be read ({error.strerror}); check the path") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is no YAML file ({' '.join(str(error).split())[:120]}); correct it") from error
        if not isinstance(content, dict) or not content:
            raise UsageError(f"{path} holds no settings; see a run's recipe.yaml for how they are written")
        if is_foreign(content):
            return read_foreign(content, path, stage, warn or (lambda _: None))
        content = dict(content)
        name = stage or content.pop("recipe", None) or "stage1"
        content.pop("recipe", None)
        return recipe_named(str(name)).updated(content, str(path))


def _updated(part: Any, changes: Mapping[str, Any], where: str, prefix: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(part)}
    found = {}
    for name, value in changes.items():
        key = f"{prefix}{name}"
        if name not in fields:
            raise UsageError(f"{where}: there is no setting {key!r}{nearest(key, [prefix + n for n in fields])}")
        old = getattr(part, name)
        if dataclasses.is_dataclass(old):
            if not isinstance(value, Mapping):
                some = ", ".join(f"{key}.{f.name}" for f in dataclasses.fields(old))
                raise UsageError(f"{where}: {key} is a group of settings; name one of {some}")
            found[name] = _updated(old, value, where, f"{key}.")
        elif isinstance(old, dict) and isinstance(value, Mapping):
            found[name] = {**old, **value}
        else:
            found[name] = convert(value, fields[name].type, f"{where}: {key}")
    return replace(part, **found)


_STAGE2 = Recipe(
    name="stage2",
    data=Data(stride=54, targets="labels", train=0.7, ensure_train=False, statistics="model"),
    loss=Loss(kd=True, alpha=0.3, selective=True),
    optimizer=Optimizer(lr=1e-5),
    schedule=Schedule(kind="plateau"),
    loop=Loop(batch=128, epochs=50, save_every=5),
)
RECIPES: dict[str, Recipe] = {
    "stage1": Recipe(schedule=Schedule(warmup_epochs=10, warmup_start=1e-4, warmup_end=3e-4), loop=Loop(save_every=10)),
    "stage2": _STAGE2,
    "scratch": replace(
        _STAGE2,
        name="scratch",
        data=replace(_STAGE2.data, statistics="estimate"),
        loss=Loss(gamma=0.0),
        optimizer=Optimizer(),
        loop=Loop(batch=32, save_every=5),
    ),
    "teacher": Recipe(
        name="teacher",
        data=Data(stride=54, targets="labels", ensure_train=False),
        loss=Loss(gamma=0.0),
        optimizer=Optimizer(name="adam", betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0, clip=0.0),
        schedule=Schedule(kind="below_last", factor=0.95, floor=5e-6),
        loop=Loop(batch=128, save_every=40),
    ),
}
"""The presets by name."""


def recipe_named(name: str) -> Recipe:
    """The preset of that name; UsageError lists them."""
    if name not in RECIPES:
        raise UsageError(f"there is no recipe {name!r}; choose one of {', '.join(RECIPES)}")
    return RECIPES[name]
