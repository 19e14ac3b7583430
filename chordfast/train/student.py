"""The network that is trained: new, or from a checkpoint."""

from __future__ import annotations

import dataclasses
import os

import torch

from ..errors import ModelError
from ..models import ChordModel, load_model
from ..models.btc import BTC, BTCConfig
from ..models.twoe1d import PRESETS, TwoE1D, TwoE1DConfig
from .recipe import Recipe
from .settings import convert, nearest

_CLASSES = {"btc": "num_classes", "2e1d": "n_classes"}


def new_student(recipe: Recipe, classes: int) -> ChordModel:
    """A network with random weights drawn from the recipe's seed.

    ``model.options`` may hold fields of both architectures' configurations, of which those of the chosen one are
    taken. 2E1D starts from the configuration of the published checkpoint. UsageError for unknown options, or a number
    of classes that is not the data's.
    """
    architecture, options = recipe.model.architecture, recipe.model.options
    configs: dict[str, BTCConfig | TwoE1DConfig] = {"btc": BTCConfig(), "2e1d": PRESETS["published"]}
    fields = {name: {f.name: f for f in dataclasses.fields(config)} for name, config in configs.items()}
    known = [name for names in fields.values() for name in names]
    for name in options:
        if name not in known:
            raise ModelError(f"model.options: there is no {name!r}{nearest(name, fields[architecture])}")
    config = configs[architecture]
    mine = {n: convert(v, fields[architecture][n].type, f"model.options.{n}") for n, v in options.items()
            if n in fields[architecture]}  # fmt: skip
    asked = mine.setdefault(_CLASSES[architecture], classes)
    if asked != classes:
        raise ModelError(f"the recipe's network has {asked} classes, but the data has {classes}; change one of them")
    compat = "chordmini" if "padding" in recipe.compat else None
    changed = dataclasses.replace(config, **mine)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if isinstance(changed, TwoE1DConfig):
            return TwoE1D(changed, compat=compat)
        return BTC(changed, compat=compat)


def load_student(path: str | os.PathLike[str], recipe: Recipe, classes: int, plan_hash: str) -> ChordModel:
    """The network of a checkpoint, to be trained on.

    Raises ModelError when it is of another architecture, number of classes or feature plan than recipe and data.
    """
    model = load_model(path, compat="chordmini" if "padding" in recipe.compat else None)
    if model.architecture != recipe.model.architecture:
        raise ModelError(
            f"{path} is a {model.architecture} network, the recipe trains {recipe.model.architecture}; "
            f"set model.architecture={model.architecture} or give another checkpoint"
        )
    if model.num_classes != classes:
        raise ModelError(f"{path} has {model.num_classes} classes, but the data has {classes}; give another checkpoint")
    made_with = model.metadata.get("feature_plan")
    if made_with and made_with != plan_hash:
        raise ModelError(
            f"{path} was made for feature plan {made_with}, the data has {plan_hash}; give another checkpoint"
        )
    return model
