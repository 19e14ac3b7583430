"""Smoothing of scores and the majority filter."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chordfast.decoding import majority, smooth
from chordfast.errors import UsageError

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "decoding.npz")
CASES = [k for k in GOLDEN.files if k.startswith("smoothing.y")]


@pytest.mark.parametrize("name", CASES)
def test_smoothing_is_that_of_the_reference(name: str) -> None:
    frames, kernel, gaussian = re.fullmatch(r"smoothing\.y_T(\d+)_k(\d+)_g(\d)", name).groups()
    found = smooth(
        GOLDEN[f"smoothing.x_T{frames}"], int(kernel), "gaussian" if gaussian == "1" else "uniform", count_padding=True
    )
    assert found.dtype == np.float32
    # Two ulp of the largest score: the reference sums its taps in another order.
    np.testing.assert_allclose(found, GOLDEN[name], rtol=0, atol=6e-7)


def test_uniform_divides_by_the_frames_there_are() -> None:
    ones = np.ones((2, 7, 3), np.float32)
    np.testing.assert_allclose(smooth(ones, 9, "uniform"), 1, atol=1e-6)
    assert smooth(ones, 9, "uniform", count_padding=True)[0, 0, 0] == pytest.approx(5 / 9)
    x = np.arange(5.0)[:, None]
    np.testing.assert_allclose(smooth(x, 3, "uniform")[:, 0], [0.5, 1, 2, 3, 3.5])


def test_blocks_do_not_show() -> None:
    x = np.random.default_rng(0).standard_normal((1000, 4))
    taps = np.exp(-0.5 * ((np.arange(9) - 4) / 1.5) ** 2)
    padded = np.pad(x, ((4, 4), (0, 0)), mode="edge")
    expected = np.stack([np.convolve(padded[:, k], taps / taps.sum(), "valid") for k in range(4)], axis=1)
    np.testing.assert_allclose(smooth(x), expected, atol=1e-12)


def test_no_frames_and_kernel_one() -> None:
    assert smooth(np.zeros((0, 5))).shape == (0, 5)
    x = np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)
    kept = smooth(x, 1)
    assert kept is not x
    np.testing.assert_array_equal(kept, x)


@pytest.mark.parametrize("kernel", [1, 3, 4, 9, 91])
def test_majority_is_that_of_the_reference(kernel: int) -> None:
    np.testing.assert_array_equal(majority(GOLDEN["majority.in"], kernel), GOLDEN[f"majority.out_k{kernel}"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=40), st.integers(1, 12))
def test_majority_by_counting(ids: list[int], kernel: int) -> None:
    found = majority(ids, kernel)
    half = (kernel + 1 - kernel % 2) // 2
    for t, own in enumerate(ids):
        window = [ids[min(max(i, 0), len(ids) - 1)] for i in range(t - half, t + half + 1)]
        top = max(window.count(c) for c in window)
        expected = own if window.count(own) == top else min(c for c in window if window.count(c) == top)
        assert found[t] == (own if len(ids) < kernel else expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: smooth(np.zeros((5, 2)), 0), "smoothing kernel is 0"),
        (lambda: smooth(np.zeros((5, 2)), 3, "box"), "no smoothing 'box'"),
        (lambda: smooth(np.zeros(5)), r"shape \[5\]"),
        (lambda: majority([1, 2], -1), "majority kernel is -1"),
    ],
)
def test_wrong_arguments_are_one_sentence(call, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
