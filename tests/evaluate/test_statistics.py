"""Bootstrap intervals and the paired test: known cases, seeds, coverage."""

from __future__ import annotations

import numpy as np
import pytest

from chordfast.evaluate import bootstrap, paired
from chordfast.evaluate.statistics import mean


def test_weighted_mean() -> None:
    assert mean(np.array([[1.0], [0.0]]), np.array([3.0, 1.0])).tolist() == [0.75]


def test_equal_songs_have_an_interval_of_no_width() -> None:
    low, high = bootstrap(np.full((20, 2), 0.625), np.arange(1.0, 21.0))
    assert low == pytest.approx(0.625) and high == pytest.approx(0.625)


def test_bootstrap_is_that_of_the_normal_approximation_for_many_songs() -> None:
    scores = np.random.default_rng(1).random((400, 1))
    low, high = bootstrap(scores, np.ones(400), seed=3, resamples=4000)
    half = 1.96 * scores.std() / 20
    assert low[0] == pytest.approx(scores.mean() - half, abs=0.003)
    assert high[0] == pytest.approx(scores.mean() + half, abs=0.003)


def test_one_song_has_no_interval() -> None:
    low, high = bootstrap(np.array([[0.5]]), np.ones(1))
    assert np.isnan(low).all() and np.isnan(high).all()
    result = paired(np.array([[0.5]]), np.array([[0.75]]), np.ones(1))
    assert (result.difference[0], result.p[0]) == (0.25, 1.0) and np.isnan(result.low[0])


def test_seeds() -> None:
    scores, seconds = np.random.default_rng(0).random((30, 3)), np.ones(30)
    first, again, other = (bootstrap(scores, seconds, seed=s, resamples=500) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first.low != other.low).any()


def test_few_songs_are_tested_exactly() -> None:
    a = np.zeros((5, 1))
    b = np.full((5, 1), 0.1)
    result = paired(a, b, np.ones(5))
    assert result.p[0] == 2 / 32  # all signs equal, one way or the other
    assert result.difference[0] == pytest.approx(0.1)
    assert paired(a, a, np.ones(5)).p[0] == 1.0
    mixed = paired(a, np.array([[0.3], [-0.1], [0.1], [0.1], [0.1]]), np.ones(5))
    assert mixed.p[0] == 10 / 32  # 0.3 and at least three of the four others, either sign


def test_many_songs_are_tested_by_random_flips() -> None:
    rng = np.random.default_rng(4)
    a = rng.random((60, 1))
    same = paired(a, a + rng.normal(0, 0.1, (60, 1)), np.ones(60), resamples=2000)
    better = paired(a, a + rng.normal(0.1, 0.1, (60, 1)), np.ones(60), resamples=2000)
    assert same.p[0] > 0.05
    assert better.p[0] == 1 / 2001 and better.low[0] > 0


def test_a_false_alarm_in_twenty() -> None:
    rng = np.random.default_rng(8)
    p = [paired(np.zeros((12, 1)), rng.normal(0, 1, (12, 1)), rng.random(12) + 1).p[0] for _ in range(300)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09
