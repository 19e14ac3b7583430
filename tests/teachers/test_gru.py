"""The recurrent layer's walk through songs of different lengths."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from chordfast.teachers.gru import BidirectionalGRU, RaggedSteps


def test_steps_of_two_songs_by_hand(monkeypatch) -> None:
    monkeypatch.setattr("chordfast.teachers.gru._LEAST_ROWS", 1)
    steps = RaggedSteps([2, 3])  # frames 0 1 | 2 3 4; the longer song goes first
    np.testing.assert_array_equal(steps.rows.numpy(), [[2, 0, 3, 1, 4], [4, 1, 3, 0, 2]])
    assert list(steps.blocks()) == [(0, 2, 2), (4, 1, 1)]


@given(st.lists(st.integers(0, 30), max_size=12))
def test_every_frame_is_visited_once_in_each_direction(lengths: list[int]) -> None:
    steps = RaggedSteps(lengths)
    total = sum(lengths)
    for rows in steps.rows.numpy():
        np.testing.assert_array_equal(np.sort(rows[rows < total]), np.arange(total))
    covered = [(row, count * running) for row, count, running in steps.blocks()]
    assert sum(size for _, size in covered) == steps.rows.shape[1]
    assert [row for row, _ in covered] == list(np.cumsum([0] + [size for _, size in covered])[:-1])
    assert all(running >= 4 for _, _, running in steps.blocks())


def test_one_unit_by_hand() -> None:
    """H = 1, two steps, numbers chosen so that neither gate saturates."""
    kernel = np.array([[[1.0, -0.5, 0.8]], [[0.3, 0.2, -1.0]]])
    recurrent = np.array([[[0.6, 0.4, -0.7]], [[-0.2, 0.9, 0.5]]])
    bias = np.array([[0.1, 0.2, -0.3], [0.0, -0.4, 0.2]])
    x = [0.5, -1.2]

    def run(direction: int, inputs: list[float]) -> list[float]:
        (k,), (r,), b = kernel[direction], recurrent[direction], bias[direction]
        h, out = 0.0, []
        for value in inputs:
            z = 0.2 * (value * k[0] + b[0] + h * r[0]) + 0.5
            reset = 0.2 * (value * k[1] + b[1] + h * r[1]) + 0.5
            h = z * h + (1 - z) * np.tanh(value * k[2] + b[2] + reset * h * r[2])
            out.append(h)
        return out

    found = BidirectionalGRU(kernel, recurrent, bias)(torch.tensor(x)[:, None], RaggedSteps([2])).numpy()
    np.testing.assert_allclose(found, np.array([run(0, x), run(1, x[::-1])[::-1]]).T, atol=1e-6)
