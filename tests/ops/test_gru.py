"""The recurrent layer against the float64 procedure, for any lengths, widths, neighbours and threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chordfast import ops
from chordfast.errors import UsageError
from chordfast.reference.gru import gru as truth


def layer(inputs: int, hidden: int, directions: int = 2, scale: float = 1.0, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    shapes = ((directions, inputs, 3 * hidden), (directions, hidden, 3 * hidden), (directions, 3 * hidden))
    kernel, recurrent, bias = (rng.normal(0, scale / np.sqrt(s[-2]), s).astype(np.float32) for s in shapes)
    return kernel, recurrent, bias


def frames(n: int, inputs: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (n, inputs)).astype(np.float32)


@pytest.mark.parametrize(
    ("inputs", "hidden", "directions", "lengths"),
    [
        (72, 128, 2, [50, 3, 1, 33, 32, 31, 64, 0, 7]),
        (256, 128, 2, [40]),
        (1, 1, 1, [5, 2]),
        (5, 7, 2, [9, 9, 9, 9, 9, 9, 9]),
        (3, 64, 1, [20, 65]),
        (33, 65, 2, [34, 1]),
    ],
)
def test_equals_float64(inputs: int, hidden: int, directions: int, lengths: list[int]) -> None:
    weights = layer(inputs, hidden, directions)
    x = frames(sum(lengths), inputs)
    found = ops.gru(x, *weights, lengths)
    assert found.dtype == np.float32 and found.shape == (sum(lengths), directions * hidden)
    np.testing.assert_allclose(found, truth(x, *weights, lengths), atol=2e-6)


def test_saturated_gates_and_large_inputs() -> None:
    weights = layer(8, 16, scale=30.0)
    x = 100 * frames(40, 8)
    found = ops.gru(x, *weights, [40])
    assert np.isfinite(found).all() and np.abs(found).max() > 0.99
    np.testing.assert_allclose(found, truth(x, *weights, [40]), atol=1e-4)


def test_a_song_does_not_depend_on_neighbours_or_threads() -> None:
    weights, lengths = layer(72, 128), [40, 7, 130, 1, 40, 2, 90, 33, 0, 12, 64, 65, 11]
    x = frames(sum(lengths), 72)
    together = ops.gru(x, *weights, lengths, threads=1)
    assert np.array_equal(together, ops.gru(x, *weights, lengths, threads=3))
    ends = np.cumsum(lengths)
    for length, end in zip(lengths, ends, strict=True):
        alone = ops.gru(x[end - length : end], *weights, [length])
        assert np.array_equal(alone, together[end - length : end])


def test_backward_direction_is_the_forward_one_reversed() -> None:
    weights = layer(4, 6)
    swapped = tuple(w[::-1] for w in weights)
    x = frames(25, 4)
    both, mirrored = ops.gru(x, *weights, [25]), ops.gru(x[::-1], *swapped, [25])[::-1]
    assert np.array_equal(both[:, :6], mirrored[:, 6:])
    assert np.array_equal(both[:, 6:], mirrored[:, :6])


def test_nan_stays_visible_and_in_its_song() -> None:
    weights = layer(4, 6, 1)
    x = frames(20, 4)
    x[3, 1] = np.nan
    found = ops.gru(x, *weights, [10, 10])
    assert np.isfinite(found[:3]).all() and np.isnan(found[3:10]).all() and np.isfinite(found[10:]).all()


def test_nothing_in_nothing_out() -> None:
    weights = layer(4, 6)
    assert ops.gru(frames(0, 4), *weights, []).shape == (0, 12)
    assert ops.gru(frames(0, 4), *weights, [0, 0]).shape == (0, 12)


def test_layout_of_the_arrays_does_not_matter() -> None:
    weights = layer(4, 6)
    x = frames(20, 4)
    strided = tuple(np.asfortranarray(w) for w in weights)
    assert np.array_equal(ops.gru(np.asfortranarray(x), *strided, [20]), ops.gru(x, *weights, [20]))


@pytest.mark.parametrize("level", ["plain", "avx2"])
def test_lower_simd_levels_agree(level: str, tmp_path: Path) -> None:
    weights, x = layer(72, 128), frames(45, 72)
    np.savez(tmp_path / "in.npz", *weights, x=x)
    code = (
        "import sys, numpy as np; from chordfast import ops; a = np.load(sys.argv[1]);"
        "np.save(sys.argv[2], ops.gru(a['x'], a['arr_0'], a['arr_1'], a['arr_2'], [40, 5]))"
    )
    environment = os.environ | {"CHORDFAST_SIMD": level}
    subprocess.run([sys.executable, "-c", code, tmp_path / "in.npz", tmp_path / "out.npy"], check=True, env=environment)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), ops.gru(x, *weights, [40, 5]), atol=2e-6)


def test_arguments_are_checked() -> None:
    kernel, recurrent, bias = layer(4, 6)
    x = frames(20, 4)
    with pytest.raises(UsageError, match="x is float64; give a float32 array"):
        ops.gru(x.astype(np.float64), kernel, recurrent, bias, [20])
    with pytest.raises(UsageError, match=r"kernel has shape \[2, 4, 18\]; \[2, 3, 18\] fits"):
        ops.gru(x[:, :3], kernel, recurrent, bias, [20])
    with pytest.raises(UsageError, match="lengths add up to 19 frames, x has 20"):
        ops.gru(x, kernel, recurrent, bias, [19])
    with pytest.raises(UsageError, match="lengths add up to 20"):
        ops.gru(x, kernel, recurrent, bias, [21, -1])
    with pytest.raises(UsageError, match="threads is 0"):
        ops.gru(x, kernel, recurrent, bias, [20], threads=0)
    with pytest.raises(UsageError, match="two axes"):
        ops.gru(x[0], kernel, recurrent, bias, [20])
    with pytest.raises(UsageError, match="3 directions"):
        ops.gru(x, *(np.concatenate([w, w[:1]]) for w in (kernel, recurrent, bias)), [20])
