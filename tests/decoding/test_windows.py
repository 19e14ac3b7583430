"""Windows over a song and their votes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chordfast.decoding import average, softmax, stride_of, tent, vote, windows
from chordfast.errors import UsageError


@given(st.integers(1, 700), st.integers(1, 120), st.floats(0, 1))
def test_every_frame_is_covered_and_no_window_is_idle(frames: int, size: int, overlap: float) -> None:
    starts = windows(frames, size, overlap)
    covered = np.zeros(frames + size, bool)
    for start in starts:
        covered[start : start + size] = True
    assert covered[:frames].all()
    assert (np.diff(starts) > 0).all() and (np.diff(starts) <= stride_of(size, overlap)).all()
    assert starts[0] == 0 and starts[-1] == max(0, frames - size)


def test_strides_of_the_reference() -> None:
    assert [stride_of(108, r) for r in (0.0, 0.5, 0.3, 0.99, 1.5, -1.0)] == [108, 54, 75, 1, 1, 108]


def test_uncovered_tail_of_the_reference() -> None:
    assert windows(300, 108, 0.3, cover_tail=False).tolist() == [0, 75, 150]
    assert windows(300, 108, 0.3).tolist() == [0, 75, 150, 192]
    assert windows(300, 108, 0.5, cover_tail=False).tolist() == [0, 54, 108, 162, 216]
    assert windows(1, 108, 0.5, cover_tail=False).tolist() == windows(1).tolist() == [0]
    assert windows(0).tolist() == windows(0, cover_tail=False).tolist() == []


@pytest.mark.parametrize("kind", ["hard", "logit", "prob"])
def test_vote_is_the_plain_sum_over_windows(kind: str) -> None:
    rng = np.random.default_rng(0)
    frames, size, classes = 23, 8, 5
    starts = windows(frames, size, 0.4)
    scores = rng.standard_normal((len(starts), size, classes)).astype(np.float32)
    expected = np.zeros((frames, classes))
    for start, window in zip(starts, scores.astype(np.float64), strict=True):
        for i in range(min(size, frames - start)):
            row = window[i]
            ballot = {"hard": np.eye(classes)[row.argmax()], "logit": row, "prob": np.exp(row) / np.exp(row).sum()}[
                kind
            ]
            expected[start + i] += ballot
    found = vote(scores, starts, frames, kind)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_average_divides_by_the_windows_that_cover_a_frame() -> None:
    starts = windows(10, 4, 0.5)
    scores = np.ones((len(starts), 4, 3), np.float32)
    np.testing.assert_array_equal(average(scores, starts, 10), np.ones((10, 3)))
    posteriors = softmax(np.random.default_rng(1).standard_normal((len(starts), 4, 3)).astype(np.float32))
    np.testing.assert_allclose(average(posteriors, starts, 10).sum(axis=1), 1, atol=1e-6)
    assert average(np.zeros((0, 4, 3)), [], 0).shape == (0, 3)


def test_a_weighted_average_by_hand() -> None:
    assert tent(5).tolist() == [1, 2, 3, 2, 1] and tent(4).tolist() == [1, 2, 2, 1]
    scores = np.array([[[1.0], [1.0], [1.0], [1.0]], [[4.0], [4.0], [4.0], [4.0]]], np.float32)
    found = average(scores, [0, 2], 6, tent(4))
    np.testing.assert_allclose(found[:, 0], [1, 1, (2 + 4) / 3, (1 + 8) / 3, 4, 4], rtol=1e-6)
    assert (scores[0] == 1).all()  # what was given is left alone


def test_softmax_of_large_logits() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4, -1e4]], np.float32)), [[0.5, 0.5, 0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: windows(-1), "-1 frames"),
        (lambda: windows(10, 0), "0 frames"),
        (lambda: stride_of(108, float("nan")), "overlap nan"),
        (lambda: vote(np.zeros((2, 4, 3)), [0], 5), r"\[2, 4, 3\]"),
        (lambda: vote(np.zeros((2, 3)), [0, 1], 5), r"\[2, 3\]"),
        (lambda: vote(np.zeros((1, 4, 3)), [5], 5), "start at frames 5 to 5 of a song of 5"),
        (lambda: vote(np.zeros((1, 4, 3)), [0], 4, "soft"), "no vote 'soft'"),
        (lambda: average(np.zeros((1, 4, 3)), [0], 6), "frame 4 of 6 is in none of the 1 windows"),
        (
            lambda: average(np.zeros((1, 4, 3)), [0], 4, [1, 1, 0, 1]),
            r"weights of shape \[4\] are not 4 numbers above 0",
        ),
    ],
)
def test_wrong_arguments_are_one_sentence(call, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
