"""Configuration files of ChordMini (``ChordMini.yaml``) and BTC (``run_config.yaml``), read as they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import UsageError
from ..models.common import next_divisor
from .recipe import Recipe, recipe_named
from .settings import convert

_SECTIONS = ("mp3", "feature", "experiment", "pseudo_labeling", "continual_learning", "path", "misc")
# What the features are: other values would need another feature plan.
_FIXED = {
    "mp3.song_hz": 22050,
    "feature.sample_rate": 22050,
    "feature.n_bins": 144,
    "feature.bins_per_octave": 24,
    "feature.hop_length": 2048,
    "model.feature_size": 144,
}
_COMMON = {
    "batch_size": "loop.batch",
    "num_epochs": "loop.epochs",
    "max_epoch": "loop.epochs",
    "learning_rate": "optimizer.lr",
    "weight_decay": "optimizer.weight_decay",
    "early_stopping_patience": "loop.patience",
    "save_step": "loop.save_every",
    "seq_len": "data.window",
    "stride": "data.stride",
    "use_kd": "loss.kd",
    "kd_alpha": "loss.alpha",
    "temperature": "loss.temperature",
    "selective_kd": "loss.selective",
    "kd_confidence_threshold": "loss.max_confidence",
    "kd_min_confidence_threshold": "loss.min_confidence",
    "warmup_epochs": "schedule.warmup_epochs",
    "warmup_start_lr": "schedule.warmup_start",
    "warmup_end_lr": "schedule.warmup_end",
    "focal_gamma": "loss.gamma",
    "data_ratio": "data.train",
    "data.train_ratio": "data.train",
    "data.val_ratio": "data.val",
}
_SWITCHES = (
    *("lr_schedule", "use_warmup", "use_focal_loss"),
    *("augmentation.enabled", "augmentation.min_semitones", "augmentation.max_semitones"),
)
_BTC = (
    *("num_layers", "num_heads", "hidden_size", "filter_size"),
    *("input_dropout", "layer_dropout", "attention_dropout", "relu_dropout"),
)
_TWOE1D = ("n_group", "f_layer", "f_head", "t_layer", "t_head", "d_layer", "d_head", "dropout")
_NETS = (("btc", _BTC), ("2e1d", _TWOE1D))
# Read elsewhere (places, worker counts) or without an effect in the reference itself.
_SILENT = {
    *("mp3.inst_len", "mp3.skip_interval", "feature.hop_duration", "feature.large_voca", "model.frame_duration"),
    *("model.total_key_depth", "model.total_value_depth", "model.probs_out", "model.loss", "misc.num_workers"),
    "misc.seed",
    *(f"model.{name}" for name in (*_BTC, *_TWOE1D)),
    *("model.seq_len", "model.timestep", "model.stride", "model.num_chords"),
}
_SCHEDULES = {"cosine": "cosine", "validation": "below_best", "none": "none"}
_STAGES = {"stage1": "pseudo_labeling", "stage2": "continual_learning", "scratch": "continual_learning"}


def is_foreign(content: Mapping[str, Any]) -> bool:
    """Whether a YAML file's top level is that of a reference's configuration."""
    return any(name in content for name in _SECTIONS)


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def read_foreign(
    content: Mapping[str, Any], path: str | os.PathLike[str], stage: str | None, warn: Callable[[str], None]
) -> Recipe:
    """The recipe a reference's file describes; see ``Recipe.from_yaml``.

    ``stage`` chooses the part of ChordMini's file; without it, BTC's file is a teacher's and ChordMini's stage 1.
    """
    if stage is None:
        stage = "teacher" if "experiment" in content else "stage1"
    recipe = recipe_named(stage)
    section = "experiment" if "experiment" in content else _STAGES.get(stage, "continual_learning")
    if not isinstance(content.get(section), Mapping):
        raise UsageError(
            f"{path} has no part {section!r}, which {stage} is read from; choose the stage it was made for"
        )
    settings: dict[str, Any] = {}
    switches: dict[str, Any] = {}
    entries = dict(_flat(content))
    unknown = []
    for key, value in entries.items():
        top, _, rest = key.partition(".")
        mine = rest if top == section else ""
        if value != _FIXED.get(key, value):
            raise UsageError(f"{path}: {key} is {value}; the features have {_FIXED[key]}, remove the line")
        if mine in _COMMON:
            settings[_COMMON[mine]] = value
        elif mine in _SWITCHES:
            switches[mine] = value
        elif not (key in _SILENT or key in _FIXED or _elsewhere(top, section, rest)):
            unknown.append(key)
    if "misc.seed" in entries:
        settings["seed"] = entries["misc.seed"]
    options = {kind: {n: entries[f"model.{n}"] for n in names if f"model.{n}" in entries} for kind, names in _NETS}
    large = {True: 170, False: 25}.get(entries.get("feature.large_voca"))  # type: ignore[arg-type]
    if (classes := entries.get("model.num_chords", large)) is not None:
        options["btc"]["num_classes"] = options["2e1d"]["n_classes"] = classes
    _apply(switches, settings, recipe)
    if unknown:
        warn(f"{path}: no counterpart here for {', '.join(unknown)}; left out")
    for key, value in settings.items():
        changes: Any = value
        for part in reversed(key.split(".")):
            changes = {part: changes}
        recipe = recipe.updated(changes, str(path))
    return recipe.updated({"model": {"options": {}}}).updated({"model": {"options": _both(options)}}, str(path))


def _elsewhere(top: str, section: str, rest: str) -> bool:
    """Places, and the part of a ChordMini file that another stage reads."""
    others = {*_STAGES.values()} - {section}
    return top == "path" or top in others or (top == section and rest.startswith(("data.", "checkpoints.")))


def _apply(switches: Mapping[str, Any], settings: dict[str, Any], recipe: Recipe) -> None:
    if "lr_schedule" in switches:
        name = str(switches["lr_schedule"]).lower()
        settings["schedule.kind"] = _SCHEDULES.get(name, name)
    if switches.get("use_warmup") is False:
        settings["schedule.warmup_epochs"] = 0
    if switches.get("use_focal_loss") is False:
        settings["loss.gamma"] = 0.0
    if switches.get("augmentation.enabled"):
        low = convert(switches.get("augmentation.min_semitones", -5), "int", "augmentation.min_semitones")
        high = convert(switches.get("augmentation.max_semitones", 6), "int", "augmentation.max_semitones")
        settings["augment.cqt_shift"] = [low, high]


def _both(options: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The settings of both students under one roof: ``model.build`` takes those of the architecture in use."""
    wide = options["2e1d"]
    if "n_group" in wide:
        for name, width in (("f_head", 144 // int(wide["n_group"])), ("t_head", 144), ("d_head", 144)):
            if name in wide:  # as ChordMini's class lowers a head count that does not divide
                wide[name] = next_divisor(int(wide[name]), width)
    return {**options["btc"], **wide}
