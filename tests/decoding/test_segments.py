"""Runs of equal class and the merging of short ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chordfast.decoding import merge_short, segments
from chordfast.errors import UsageError


def expand(runs) -> list[int]:
    return np.repeat(runs.classes, runs.ends - runs.starts).tolist()


def test_runs() -> None:
    runs = segments([3, 3, 1, 1, 1, 3])
    assert [x.tolist() for x in runs] == [[0, 2, 5], [2, 5, 6], [3, 1, 3]]
    assert [x.tolist() for x in segments([7])] == [[0], [1], [7]]
    assert [x.tolist() for x in segments([])] == [[], [], []]


@given(st.lists(st.integers(0, 3)))
def test_runs_are_maximal_and_say_the_same(ids: list[int]) -> None:
    runs = segments(ids)
    assert expand(runs) == ids
    assert (np.diff(runs.classes) != 0).all()


def test_short_run_goes_to_the_neighbour_that_fits_it_better() -> None:
    ids = [0] * 5 + [1] * 2 + [2] * 5
    p = np.zeros((12, 3))
    p[5:7] = [0.2, 0.5, 0.3]
    assert expand(merge_short(segments(ids), p, 3)) == [0] * 5 + [2] * 7
    p[5:7] = [0.3, 0.4, 0.3]
    assert expand(merge_short(segments(ids), p, 3)) == [0] * 7 + [2] * 5  # a tie goes to the earlier
    assert expand(merge_short(segments(ids), p, 2)) == ids


def test_flip_between_equal_neighbours_joins_them() -> None:
    runs = merge_short(segments([4] * 6 + [2] + [4] * 3), np.ones((10, 5)), 2)
    assert [x.tolist() for x in runs] == [[0], [10], [4]]


def test_shortest_goes_first_and_ends_have_one_neighbour() -> None:
    p = np.zeros((9, 4))
    p[3, 1] = 1.0
    # [3] (1 frame) joins 1, which is long enough then; the first run has only its right neighbour.
    assert expand(merge_short(segments([0, 0, 0, 3, 1, 1, 1, 2, 2]), p, 3)) == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert expand(merge_short(segments([3, 1, 1]), p, 2)) == [1, 1, 1]


def test_longer_than_the_song_leaves_one_run() -> None:
    assert expand(merge_short(segments([0, 1, 1, 2]), np.ones((4, 3)), 100)) == [1, 1, 1, 1]
    assert expand(merge_short(segments([0]), np.ones((1, 3)), 100)) == [0]
    assert expand(merge_short(segments([]), np.ones((0, 3)), 100)) == []


def test_edges_measure_in_seconds() -> None:
    runs = segments([0, 0, 1, 1, 2, 2])
    edges = [0.0, 0.05, 0.15, 0.25, 0.35, 0.45, 0.95]
    p = np.ones((6, 3))
    assert expand(merge_short(runs, p, 0.2, edges)) == [1, 1, 1, 1, 2, 2]
    assert expand(merge_short(runs, p, 0.15, edges)) == [0, 0, 1, 1, 2, 2]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 12), st.integers(0, 99))
def test_merging_leaves_no_gap_and_nothing_short(ids: list[int], least: int, seed: int) -> None:
    p = np.random.default_rng(seed).random((len(ids), 4))
    runs = merge_short(segments(ids), p, least)
    assert runs.starts[0] == 0 and runs.ends[-1] == len(ids)
    np.testing.assert_array_equal(runs.starts[1:], runs.ends[:-1])
    assert (np.diff(runs.classes) != 0).all()
    assert len(runs.starts) == 1 or (runs.ends - runs.starts).min() >= least
    assert set(runs.classes) <= set(ids)


def test_wrong_shape_is_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"shape \[2, 2\]"):
        segments([[1, 2], [3, 4]])
