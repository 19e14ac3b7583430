"""Schedules, splits and windows: the published rules, and the defaults."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chordfast.errors import UsageError
from chordfast.train import Split, folds, read_split, split_songs
from chordfast.train.recipe import Optimizer
from chordfast.train.recipe import Schedule as Settings
from chordfast.train.schedule import Schedule
from chordfast.train.split import choose, match
from chordfast.train.windows import cut, epoch_order

GOLDEN = Path(__file__).parents[1] / "golden"
SCHEDULES = np.load(GOLDEN / "train_schedules.npz")
SPLITS = json.loads((GOLDEN / "train_splits.json").read_text())
COSINES = {
    "cosine_warm": (Settings("cosine", 2, 1e-4, 3e-4, floor=1e-6), 1e-4, 6),
    "cosine_nowarm": (Settings("cosine", floor=1e-6), 1e-4, 4),
    "cosine_defaultstart": (Settings("cosine", 1, floor=0.0), 1e-3, 3),
}


@pytest.mark.parametrize("name", COSINES)
def test_cosine(name: str) -> None:
    settings, rate, epochs = COSINES[name]
    expected = SCHEDULES[f"{name}.lr_after_k_steps"]
    steps = int(SCHEDULES[f"{name}.batches_per_epoch"])
    schedule = Schedule(settings, Optimizer(lr=rate), epochs, steps)
    np.testing.assert_allclose([schedule.at(k) for k in range(len(expected))], expected, rtol=1e-12, atol=1e-18)


def test_below_best() -> None:
    schedule = Schedule(Settings("below_best", factor=0.95, floor=5e-6), Optimizer(lr=1e-3), 9, 1)
    found = []
    for accuracy in SCHEDULES["validation.acc"]:
        schedule.end_epoch(float(accuracy))
        found.append(schedule.at(1))
    np.testing.assert_allclose(found, SCHEDULES["validation.lr_after"], rtol=1e-12)


def test_other_schedules_by_hand() -> None:
    accuracies = [0.5, 0.5, 0.4, 0.45, 0.6]
    wanted = {
        "plateau": [1.0, 0.5, 0.25, 0.125, 0.125],
        "below_last": [1.0, 1.0, 0.5, 0.5, 0.5],
        "none": [1.0] * 5,
    }
    for kind, rates in wanted.items():
        schedule = Schedule(Settings(kind, factor=0.5, floor=0.1), Optimizer(lr=1.0), 9, 1)
        found = []
        for accuracy in accuracies:
            schedule.end_epoch(accuracy)
            found.append(schedule.at(1))
        assert found == rates, kind
    low = Schedule(Settings("plateau", factor=0.5, floor=0.4), Optimizer(lr=1.0), 9, 1)
    for _ in range(4):
        low.end_epoch(0.0)
    assert low.at(3) == 0.4


@pytest.mark.parametrize("case", [c for c in SPLITS if "cv_folds" not in c], ids=lambda c: f"{c['n']}")
def test_published_splits(case: dict) -> None:
    found = split_songs(
        case["n"], case["train_ratio"], case["val_ratio"], case["seed"], case["min_train_one"], case["ensure_val"]
    )
    assert found == Split(case["train"], case["val"], case["test"])


@pytest.mark.parametrize("case", [c for c in SPLITS if "cv_folds" in c], ids=lambda c: f"{c['n']}")
def test_published_folds(case: dict) -> None:
    for i, fold in enumerate(case["folds"]):
        found = folds(case["n"], case["cv_folds"], i, case["seed"])
        assert sorted(found.val) == sorted(fold["val"]) and len(found.train) + len(found.val) == case["n"]
        assert not set(found.train) & set(found.val)


def test_choose_songs() -> None:
    assert choose(5, 0) == choose(5, 9) == [0, 1, 2, 3, 4]
    assert choose(100, 3, 7) == sorted(np.random.RandomState(7).choice(100, 3, replace=False))


def test_split_files(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text('{"train": ["a/x", "b.ogg"], "val": ["c"]}')
    split = read_split(path)
    assert split == Split(["a/x", "b.ogg"], ["c"], [])
    assert match(split, ["c.flac", "a/x.ogg", "b.ogg", "other"], "here") == Split([1, 2], [0], [])
    with pytest.raises(UsageError, match=r"none of the 1 songs of part val \(say, 'c'\)"):
        match(split, ["a/x.ogg"], "here")
    for text, wanted in (
        ("[1]", "is no split"),
        ("{", "is no split"),
        ('{"train": ["a"], "val": ["a"]}', "'a' in train"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=wanted):
            read_split(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_split(tmp_path / "none.json")


def test_windows_cover_every_frame() -> None:
    frames = np.array([323, 0, 107, 108, 54, 53, 216], dtype=np.int64)
    first = np.concatenate(([0], np.cumsum(frames)[:-1])).astype(np.int64)
    windows = cut(range(7), first, frames, 108, 108)
    assert windows.song.tolist() == [0, 0, 0, 2, 3, 4, 5, 6, 6]
    assert (windows.first - first[windows.song]).tolist() == [0, 108, 215, 0, 0, 0, 0, 0, 108]
    assert windows.length.tolist() == [108, 108, 108, 107, 108, 54, 53, 108, 108]
    reference = cut(range(7), first, frames, 108, 108, reference=True)
    assert reference.song.tolist() == [0, 0, 2, 3, 4, 6, 6]
    assert (reference.first - first[reference.song]).tolist() == [0, 108, 0, 0, 0, 0, 108]
    dense = cut([0], first, frames, 108, 54)
    assert dense.first.tolist() == [0, 54, 108, 162, 215]
    assert len(cut([], first, frames, 108, 54)) == 0


def test_order_depends_on_seed_and_epoch_only() -> None:
    assert epoch_order(50, 1, 2).tolist() == epoch_order(50, 1, 2).tolist()
    assert epoch_order(50, 1, 2).tolist() != epoch_order(50, 1, 3).tolist() != epoch_order(50, 2, 3).tolist()
    assert sorted(epoch_order(50, 1, 2).tolist()) == list(range(50)) == epoch_order(50, 1, 2, False).tolist()
