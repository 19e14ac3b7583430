"""Rare qualities count more, by the root of their share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from train_toys import toy_recipe, toy_store

from chordfast.errors import UsageError
from chordfast.train import Corpus
from chordfast.train.balance import MOST, quality_weights
from chordfast.train.frames import IGNORE


def test_weights_are_the_inverse_root_of_the_share_with_mean_one() -> None:
    # 64 frames of maj, 16 of min, 1 of 7 (quality 9), 19 of N; one that does not count, one that validates
    target = np.concatenate(
        [np.arange(64) % 12 * 14 + 1, np.arange(16) % 12 * 14, [9], np.full(19, 169), [IGNORE], [13]]
    ).astype(np.int16)
    train = np.ones(len(target), bool)
    train[-1] = False
    weight = quality_weights(target, train).astype(np.float64)
    share = np.array([0.64, 0.16, 0.01, 0.19])
    expected = share**-0.5 / (share**0.5).sum()
    found = [weight[0], weight[64], weight[80], weight[81]]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert np.ptp(weight[:64]) == 0 and weight[100] == 1.0
    assert weight[:100].mean() == pytest.approx(1.0, rel=1e-3)


def test_no_weight_is_above_the_most() -> None:
    target = np.concatenate([np.full(99_999, 1), [0]]).astype(np.int16)
    weight = quality_weights(target, np.ones(len(target), bool))
    assert weight[-1] == MOST and weight[0] == pytest.approx(1.0, abs=1e-2)
    two = quality_weights(np.array([0, 0, 0, 1, 24], np.int16), np.ones(5, bool), classes=25).astype(float)
    assert two[0] == two[2] < two[3] == two[4]  # min, maj and N of 25 classes
    np.testing.assert_allclose(two[3] / two[0], 3**0.5, rtol=1e-3)


def test_a_corpus_has_them_for_labels_and_pseudo_labels(tmp_path: Path) -> None:
    store = toy_store(tmp_path / "store")
    (tmp_path / "labels" / "a").mkdir(parents=True)
    for i in range(6):
        (tmp_path / "labels" / "a" / f"s{i}.lab").write_text("0 5 C:maj\n5 8 A:min\n8 10 X\n")
    for recipe, folder in (
        (toy_recipe("stage2", "btc", "data.weight_by=quality"), tmp_path / "labels"),
        (toy_recipe("stage1", "btc", "data.weight_by=quality"), None),
    ):
        corpus = Corpus.from_store(store, recipe, folder)
        assert corpus.data.weight is not None
        train = np.repeat(np.isin(np.arange(len(corpus.frames)), corpus.parts.train), corpus.frames)
        expected = quality_weights(corpus.data.target.numpy(), train)
        assert torch.equal(corpus.data.weight, torch.from_numpy(expected))
    with pytest.raises(UsageError, match="choose pseudo-labels"):
        Corpus.from_store(store, toy_recipe("stage2", "btc", "data.weight_by=confidence"), tmp_path / "labels")
