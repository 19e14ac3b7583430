"""The viterbi op against its K x K reference, exhaustive search, and bad input."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chordfast.errors import UsageError
from chordfast.ops import viterbi
from chordfast.ops.viterbi import viterbi_batch
from chordfast.reference.viterbi import path_score
from chordfast.reference.viterbi import viterbi as reference

SELF_TRANSITIONS = (0.0, 0.1, 0.5, 0.957, 1.0)


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 7, 25, 170])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [*SELF_TRANSITIONS, "uniform"])
def test_equals_the_reference(classes: int, dtype: type, p: float | str) -> None:
    p = 1 / classes if p == "uniform" else p
    rng = np.random.default_rng(classes)
    for frames in (1, 2, 3, 17, 60):
        x = rng.standard_normal((frames, classes)).astype(dtype) * 3
        path = viterbi(x, p)
        assert path.dtype == np.int64 and path.shape == (frames,)
        np.testing.assert_array_equal(path, reference(x, p))


@settings(max_examples=150, deadline=None)
@given(
    # Few distinct values, so that ties are the rule and -inf is frequent.
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
        elements=st.sampled_from([-np.inf, -3.0, -2.0, -1.0, 0.0]),
    ),
    st.sampled_from(SELF_TRANSITIONS),
    st.booleans(),
)
def test_ties_and_impossible_states_as_in_the_reference(x: np.ndarray, p: float, weighted: bool) -> None:
    initial = np.arange(x.shape[1]) % 3 + (x.shape[1] == 1) if weighted else None
    if weighted and not initial.any():
        initial = None
    expected = reference(x, p, initial)
    if path_score(x, expected, p, initial) == -np.inf:
        with pytest.raises(UsageError, match=r"probability above zero|-inf for every class"):
            viterbi(x, p, initial)
    else:
        np.testing.assert_array_equal(viterbi(x, p, initial), expected)


def test_is_the_best_of_all_paths() -> None:
    rng = np.random.default_rng(1)
    for p in (0.1, 0.6, 0.957):
        x = np.log(rng.dirichlet(np.ones(4), size=6))
        best = max(itertools.product(range(4), repeat=6), key=lambda path: path_score(x, path, p))
        np.testing.assert_array_equal(viterbi(x, p), best)


def test_alternation() -> None:
    x = np.zeros((4, 2))
    x[3, 0] = 1.0
    np.testing.assert_array_equal(viterbi(x, 0.0), [1, 0, 1, 0])


def test_smooths_a_single_frame_away_and_follows_a_real_change() -> None:
    p = np.full((40, 170), 0.001)
    p[:, 5] = 0.4
    p[20:, 5], p[20:, 9] = 0.001, 0.4
    p[10, 5], p[10, 7] = 0.2, 0.5
    np.testing.assert_array_equal(viterbi(np.log(p)), [5] * 20 + [9] * 20)
    assert viterbi(np.log(p), 1 / 170)[10] == 7


def test_uniform_transitions_are_argmax() -> None:
    x = np.random.default_rng(2).standard_normal((50, 8))
    np.testing.assert_array_equal(viterbi(x, 1 / 8), x.argmax(axis=1))


def test_constant_per_frame_changes_nothing_and_ties_take_the_lowest() -> None:
    x = np.random.default_rng(3).integers(-8, 0, (200, 12)).astype(np.float64)
    np.testing.assert_array_equal(viterbi(x + 16.0), viterbi(x))
    np.testing.assert_array_equal(viterbi(np.zeros((30, 170))), np.zeros(30))


def test_initial_distribution_decides_when_frames_do_not() -> None:
    x = np.zeros((5, 4), dtype=np.float32)
    np.testing.assert_array_equal(viterbi(x, 0.9, initial=[1, 1, 5, 1]), [2] * 5)
    np.testing.assert_array_equal(viterbi(x, 0.9, initial=[0, 0, 0, 1]), [3] * 5)


@pytest.mark.parametrize("classes", [1, 2, 170])
def test_no_frames_and_one_frame(classes: int) -> None:
    assert viterbi(np.zeros((0, classes), np.float32)).shape == (0,)
    x = np.zeros((1, classes))
    x[0, -1] = 1
    np.testing.assert_array_equal(viterbi(x), [classes - 1])


def test_layouts_and_types() -> None:
    x = np.random.default_rng(4).integers(-9, 0, (40, 6))
    expected = reference(x)
    for variant in (
        x,
        x.tolist(),
        np.asfortranarray(x, dtype=np.float32),
        np.repeat(x, 2, axis=1)[:, ::2],
        x.astype("f2"),
    ):
        np.testing.assert_array_equal(viterbi(variant), expected)


def test_ragged_batch_equals_one_by_one() -> None:
    rng = np.random.default_rng(5)
    songs = [rng.standard_normal((n, 25)).astype(np.float32) for n in (0, 1, 300, 7)]
    for path, song in zip(viterbi_batch(songs), songs, strict=True):
        np.testing.assert_array_equal(path, viterbi(song))
    assert viterbi_batch([]) == []


def test_threads_give_the_same_answer() -> None:
    x = np.random.default_rng(6).standard_normal((3000, 170)).astype(np.float32)
    expected, found = viterbi(x), [np.zeros(0, np.int64)] * 4
    threads = [threading.Thread(target=lambda i=i: found.__setitem__(i, viterbi(x))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(path, expected) for path in found)


def test_long_song_stays_exact() -> None:
    x = np.random.default_rng(7).standard_normal((20000, 5)).astype(np.float32)
    np.testing.assert_array_equal(viterbi(x), reference(x))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0), (7, 2), (9, 4)])
def test_nan_and_inf_are_named(bad: float, place: tuple[int, int]) -> None:
    x = np.zeros((10, 5), np.float32)
    x[place] = bad
    with pytest.raises(UsageError, match=rf"is {bad} at frame {place[0]}, class {place[1]};"):
        viterbi(x)
    with pytest.raises(UsageError, match=rf"sequence 1, frame {place[0]}, class {place[1]};"):
        viterbi_batch([np.zeros((3, 5), np.float32), x])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(5),), r"shape \[5\]"),
        ((np.zeros((5, 0)),), r"shape \[5, 0\]"),
        ((np.zeros((5, 3)), 1.5), "self_transition is 1.5"),
        ((np.zeros((5, 3)), np.nan), "self_transition is nan"),
        ((np.zeros((5, 3)), 0.9, [1, 2]), r"initial has shape \[2\]"),
        ((np.zeros((5, 3)), 0.9, [1, -2, 3]), "negative"),
        ((np.zeros((5, 3)), 0.9, [0, 0, 0]), "only zero"),
        ((np.where(np.arange(5)[:, None] == 3, -np.inf, np.zeros((5, 3))),), "-inf for every class at frame 3;"),
        ((np.where(np.eye(3), 0, -np.inf), 1.0), "no path through log_probs"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: tuple, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        viterbi(*arguments)


def test_batch_of_different_vocabularies_is_refused() -> None:
    with pytest.raises(UsageError, match="sequence 1 has 4 classes and sequence 0 has 3"):
        viterbi_batch([np.zeros((2, 3)), np.zeros((2, 4))])
