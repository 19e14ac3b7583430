"""Recipes: published values, YAML in and out, settings, the references' own files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from chordfast.errors import ModelError, UsageError
from chordfast.models.twoe1d import TwoE1DConfig
from chordfast.train import RECIPES, Recipe
from chordfast.train.recipe import CHORDMINI
from chordfast.train.student import new_student

# The two students' settings side by side, as ChordMini's file has them.
CHORDMINI_YAML = {
    "mp3": {"song_hz": 22050, "inst_len": 10.0, "skip_interval": 5.0},
    "feature": {"n_bins": 144, "bins_per_octave": 24, "hop_length": 2048, "large_voca": True, "hop_duration": 0.09288},
    "model": {
        **{"feature_size": 144, "seq_len": 108, "num_chords": 170, "hidden_size": 64, "num_layers": 4, "num_heads": 4},
        **{
            "filter_size": 64,
            "relu_dropout": 0.1,
            "n_group": 12,
            "f_layer": 5,
            "f_head": 8,
            "d_head": 8,
            "dropout": 0.2,
        },
    },
    "pseudo_labeling": {
        **{"batch_size": 256, "num_epochs": 70, "learning_rate": "1.0e-4", "stride": 108, "use_kd": True},
        **{"kd_alpha": 0.4, "lr_schedule": "cosine", "use_warmup": True, "warmup_epochs": 7, "warmup_end_lr": 2e-4},
        **{"use_focal_loss": True, "focal_gamma": 1.5, "early_stopping_patience": 4, "mystery": 1},
        "data": {"spec_dir": "x", "train_ratio": 0.75, "val_ratio": 0.15},
        "checkpoints": {"save_dir": "y"},
    },
    "continual_learning": {
        **{"batch_size": 32, "num_epochs": 50, "learning_rate": 2e-5, "stride": 54, "kd_alpha": 0.3},
        **{"selective_kd": False, "kd_confidence_threshold": 0.8, "kd_min_confidence_threshold": 0.2},
        "augmentation": {"enabled": True, "min_semitones": -5, "max_semitones": 6},
    },
    "misc": {"seed": 7, "num_workers": 0},
}


def test_published_values() -> None:
    values = {
        "stage1": (256, 108, 100, 1e-4, "cosine", 2.0, False, "adamw", 0.8, 10),
        "stage2": (128, 54, 50, 1e-5, "plateau", 2.0, True, "adamw", 0.7, 10),
        "scratch": (32, 54, 100, 1e-4, "plateau", 0.0, False, "adamw", 0.7, 10),
        "teacher": (128, 54, 100, 1e-4, "below_last", 0.0, False, "adam", 0.8, 10),
    }
    keys = ("loop.batch", "data.stride", "loop.epochs", "optimizer.lr", "schedule.kind", "loss.gamma", "loss.kd",
            "optimizer.name", "data.train", "loop.patience")  # fmt: skip
    assert {name: tuple(recipe.get(key) for key in keys) for name, recipe in RECIPES.items()} == values
    stage1, stage2, teacher = (RECIPES[name] for name in ("stage1", "stage2", "teacher"))
    assert (stage1.schedule.warmup_epochs, stage1.schedule.warmup_start, stage1.schedule.warmup_end) == (10, 1e-4, 3e-4)
    assert (stage2.loss.alpha, stage2.loss.temperature, stage2.loss.selective) == (0.3, 3.0, True)
    assert (stage2.loss.min_confidence, stage2.loss.max_confidence, stage2.schedule.factor) == (0.1, 0.9, 0.9)
    assert (teacher.optimizer.betas, teacher.optimizer.eps, teacher.optimizer.clip) == ((0.9, 0.98), 1e-9, 0.0)
    assert {r.optimizer.weight_decay for r in (stage1, stage2)} == {1e-5} and teacher.optimizer.weight_decay == 0
    assert all(recipe.name == name and recipe.seed == 42 for name, recipe in RECIPES.items())


@pytest.mark.parametrize("name", RECIPES)
def test_yaml_round_trip(name: str, tmp_path: Path) -> None:
    recipe = RECIPES[name].with_settings(
        ["augment.cqt_shift=[-5, 6]", "compat=[tails, padding]", "model.options.dropout=0.1"]
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    assert Recipe.from_yaml(path) == recipe and Recipe.from_yaml(path).hash == recipe.hash
    assert recipe.compat == ("padding", "tails") and recipe.augment.cqt_shift == (-5, 6)
    path.write_text("recipe: stage2\noptimizer: {lr: 1e-3}\n")
    assert Recipe.from_yaml(path) == RECIPES["stage2"].with_settings(["optimizer.lr=0.001"])


def test_pitch_shift() -> None:
    plain, shifted = (RECIPES["scratch"].with_settings(s) for s in ([], ["augment.pitch_shift=[-2, 1]"]))
    assert (plain.augment.semitones(), shifted.augment.semitones()) == ((), (-2, -1, 1))
    assert [shifted.augment.uses(step) for step in (-3, -2, 0, 1, 2)] == [False, True, True, True, False]
    assert plain.augment.uses(7) and not plain.with_settings(["augment.shifted_songs=false"]).augment.uses(7)
    assert shifted.hash != plain.hash
    # Runs from before there was this setting can be resumed.
    before = plain.to_dict()
    del before["augment"]["pitch_shift"]
    assert plain.hash == hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()


def test_settings_are_typed() -> None:
    recipe = RECIPES["stage1"].with_settings(
        ["optimizer.lr=2e-5", "loop.batch=64", "loss.kd=true", "schedule.warmup_end=none", "compat=chordmini", "seed=3"]
    )
    assert (recipe.optimizer.lr, recipe.loop.batch, recipe.loss.kd) == (2e-5, 64, True)
    assert recipe.schedule.warmup_end is None and recipe.compat == CHORDMINI and recipe.seed == 3
    assert recipe.hash != RECIPES["stage1"].hash


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ("optimizer.lrr=1", r"no setting 'optimizer.lrr'; did you mean 'optimizer.lr'\?"),
        ("optimiser.lr=1", r"did you mean 'optimizer'\?"),
        ("loop.batch", "has no '='; write name=value"),
        ("loop.batch=2.5", "loop.batch is 2.5; give a whole number"),
        ("loop.batch=0", "loop.batch is 0; give at least 1"),
        ("loss.kd=1", "loss.kd is 1; give true or false"),
        ("loss.alpha=1.5", "loss.alpha is 1.5; give 0 to 1"),
        ("optimizer.lr=fast", "optimizer.lr is 'fast'; give a number"),
        ("optimizer.lr=.nan", "give a number"),
        ("optimizer.betas=0.9", "give two numbers"),
        ("schedule.kind=cosin", "schedule.kind is 'cosin'; choose one of cosine"),
        ("augment.cqt_shift=[6, -5]", "within -12 to 12"),
        ("augment.pitch_shift=[-5, 13]", r"augment.pitch_shift is \[-5, 13\]; give \[low, high\] within -12 to 12"),
        ("augment.pitch_shift=[0, 0]", "not both 0"),
        ("augment={pitch_shift: [1, 2], shifted_songs: false}", "asks for shifted songs and augment.shifted_songs"),
        ("compat=chordmni", r"no 'chordmni'; did you mean 'chordmini'\?"),
        ("data=3", "data is a group of settings; name one of data.window"),
        ("data.train=0.95", "together at most 1"),
        ("loss.min_confidence=0.95", "loss.min_confidence is above"),
    ],
)
def test_wrong_settings(setting: str, wanted: str) -> None:
    with pytest.raises(UsageError, match=wanted):
        RECIPES["stage1"].with_settings([setting])


def test_chordmini_file(tmp_path: Path) -> None:
    path, warnings = tmp_path / "ChordMini.yaml", []
    path.write_text(yaml.safe_dump(CHORDMINI_YAML))
    one = Recipe.from_yaml(path, "stage1", warnings.append)
    assert one.name == "stage1" and one.seed == 7
    assert (one.loop.batch, one.loop.epochs, one.loop.patience, one.data.stride) == (256, 70, 4, 108)
    assert (one.optimizer.lr, one.loss.kd, one.loss.alpha, one.loss.gamma) == (1e-4, True, 0.4, 1.5)
    assert (one.schedule.kind, one.schedule.warmup_epochs, one.schedule.warmup_end) == ("cosine", 7, 2e-4)
    assert (one.data.train, one.data.val) == (0.75, 0.15) and one.augment.cqt_shift is None
    assert warnings == [f"{path}: no counterpart here for pseudo_labeling.mystery; left out"]
    two = Recipe.from_yaml(path, "stage2", warnings.append)
    assert (two.loop.batch, two.optimizer.lr, two.data.stride, two.loss.kd) == (32, 2e-5, 54, True)
    assert (two.loss.selective, two.loss.min_confidence, two.loss.max_confidence) == (False, 0.2, 0.8)
    assert two.augment.cqt_shift == (-5, 6) and two.data.targets == "labels" and len(warnings) == 1
    btc = new_student(one, 170)
    assert (btc.config_dict()["num_layers"], btc.config_dict()["hidden_size"]) == (4, 64)
    light = new_student(one.updated({"model": {"architecture": "2e1d"}}), 170)
    config = TwoE1DConfig(**light.config_dict())
    assert (config.n_group, config.f_layer, config.f_head, config.d_head) == (12, 5, 6, 8)


def test_btc_file(tmp_path: Path) -> None:
    content = {name: CHORDMINI_YAML[name] for name in ("mp3", "model")}
    content["feature"] = {"n_bins": 144, "large_voca": False}
    content["model"] = {"timestep": 108, "num_chords": 25, "loss": "ce", "probs_out": False, "num_layers": 2}
    content["experiment"] = {
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "max_epoch": 9,
        "batch_size": 12,
        "save_step": 4,
    }
    content["path"] = {"ckpt_path": "model"}
    path, warnings = tmp_path / "run_config.yaml", []
    path.write_text(yaml.safe_dump(content))
    recipe = Recipe.from_yaml(path, None, warnings.append)
    assert recipe.name == "teacher" and not warnings
    assert (recipe.optimizer.lr, recipe.loop.epochs, recipe.loop.batch, recipe.loop.save_every) == (1e-3, 9, 12, 4)
    assert new_student(recipe, 25).num_classes == 25
    content["feature"]["hop_length"] = 512
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=r"feature\.hop_length is 512; the features have 2048"):
        Recipe.from_yaml(path)
    with pytest.raises(UsageError, match="no part 'continual_learning'"):
        path.write_text(yaml.safe_dump({**CHORDMINI_YAML, "continual_learning": None}))
        Recipe.from_yaml(path, "stage2")


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    cases = {"a: [": "is no YAML file", "": "holds no settings", "recipe: stage9": "no recipe 'stage9'"}
    for text, wanted in (cases | {"loops: {}": "did you mean 'loop'"}).items():
        path.write_text(text)
        with pytest.raises(UsageError, match=wanted):
            Recipe.from_yaml(path)
    with pytest.raises(UsageError, match="cannot be read"):
        Recipe.from_yaml(tmp_path / "none.yaml")


def test_networks() -> None:
    with pytest.raises(ModelError, match=r"no 'num_layer'; did you mean 'num_layers'\?"):
        new_student(RECIPES["stage1"].with_settings(["model.options.num_layer=3"]), 170)
    with pytest.raises(ModelError, match="has 25 classes, but the data has 170"):
        new_student(RECIPES["stage1"].with_settings(["model.options.num_classes=25"]), 170)
    recipe = RECIPES["stage1"].with_settings(["model.options={num_layers: 1, hidden_size: 16, num_heads: 2}"])
    first, again = (new_student(recipe, 25).state_dict() for _ in range(2))
    assert all(bool((first[name] == again[name]).all()) for name in first)
    other = new_student(recipe.with_settings(["seed=1"]), 25).state_dict()
    assert not bool(
        (first["output_layer.output_projection.weight"] == other["output_layer.output_projection.weight"]).all()
    )
