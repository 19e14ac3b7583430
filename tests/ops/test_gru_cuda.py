"""The recurrent layer for tensors, and its CUDA kernel: by _simt everywhere, on a GPU where there is one."""

from __future__ import annotations

import backends
import numpy as np
import pytest
import torch

from chordfast import ops
from chordfast.errors import UsageError
from chordfast.ops._torch_gru import launch
from chordfast.reference.gru import gru as truth

KERNELS = backends.params("simt", "cuda")


def layer(inputs: int, hidden: int, directions: int = 2, seed: int = 0) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    shapes = ((directions, inputs, 3 * hidden), (directions, hidden, 3 * hidden), (directions, 3 * hidden))
    return [torch.from_numpy(rng.normal(0, 1 / np.sqrt(s[-2]), s).astype(np.float32)) for s in shapes]


def frames(n: int, inputs: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 1, (n, inputs)).astype(np.float32))


def run(backend: str, x: torch.Tensor, weights: list[torch.Tensor], lengths: list[int]) -> np.ndarray:
    if backend == "cuda":
        return ops.gru(x.cuda(), *(w.cuda() for w in weights), lengths).cpu().numpy()
    return launch(backends.module(backend), 0, 0, x, *weights, lengths).numpy()


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize(
    ("inputs", "hidden", "directions", "lengths"),
    [(72, 128, 2, [7, 3, 1, 12, 0, 5]), (5, 7, 2, [9, 4]), (3, 65, 1, [6]), (1, 1, 1, [5, 2])],
)
def test_kernel_equals_float64(backend: str, inputs: int, hidden: int, directions: int, lengths: list[int]) -> None:
    weights, x = layer(inputs, hidden, directions), frames(sum(lengths), inputs)
    found = run(backend, x, weights, lengths)
    assert found.dtype == np.float32 and found.shape == (sum(lengths), directions * hidden)
    np.testing.assert_allclose(found, truth(x.numpy(), *(w.numpy() for w in weights), lengths), atol=2e-6)


@pytest.mark.parametrize("backend", KERNELS)
def test_saturated_gates_and_nan_in_its_own_song(backend: str) -> None:
    weights, x = [30 * w for w in layer(8, 16, 1)], 100 * frames(20, 8)
    expected = truth(x.numpy(), *(w.numpy() for w in weights), [10, 10])
    x[3, 1] = np.nan
    found = run(backend, x, weights, [10, 10])
    assert np.isnan(found[3]).any() and np.isfinite(found[:3]).all()
    np.testing.assert_allclose(found[10:], expected[10:], atol=1e-4)


@backends.needs_simt()
def test_steps_are_the_same_bits_under_all_schedules_and_beside_other_songs() -> None:
    weights, lengths = layer(6, 128), [5, 2, 8]
    x = frames(15, 6)
    together = backends.same_under_all_schedules(lambda: run("simt", x, weights, lengths))
    assert np.array_equal(run("simt", x, weights, [5, 2, 8]), together)
    # With the same input products, the steps do not see the neighbours.
    swapped = run("simt", torch.cat([x[7:], x[:7]]), weights, [8, 5, 2])
    assert np.array_equal(np.concatenate([swapped[8:], swapped[:8]]), together)


@pytest.mark.parametrize("backend", KERNELS)
def test_no_frames(backend: str) -> None:
    assert run(backend, frames(0, 4), layer(4, 6), []).shape == (0, 12)
    assert run(backend, frames(0, 4), layer(4, 6), [0, 0]).shape == (0, 12)


@backends.needs_simt()
def test_what_the_kernel_does_not_take() -> None:
    with pytest.raises(UsageError, match="129 units are more than the 128 of the CUDA kernel; compute on the CPU"):
        run("simt", frames(3, 4), layer(4, 129), [3])
    with pytest.raises(ValueError, match="200 units in 1 directions; the CUDA kernel takes up to 128 units"):
        backends.module("simt").gru_recurrence_cuda(0, 0, 0, 1, 200, 1, 0, 0, 0)
    with pytest.raises(ValueError, match="gru: a pointer is missing"):
        backends.module("simt").gru_recurrence_cuda(0, 0, 0, 1, 8, 1, 0, 0, 0)


def test_tensors_of_the_cpu_give_the_bits_of_arrays() -> None:
    weights, x = layer(7, 20), frames(30, 7)
    found = ops.gru(x, *weights, [10, 20])
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found, ops.gru(x.numpy(), *(w.numpy() for w in weights), [10, 20]))


def test_tensors_that_do_not_fit() -> None:
    weights, x = layer(7, 20), frames(30, 7)
    with pytest.raises(UsageError, match="gru: bias is no float32 tensor on cpu, where x is; move it there"):
        ops.gru(x, weights[0], weights[1], weights[2].double(), [30])
    with pytest.raises(UsageError, match="gru: kernel is no float32 tensor on meta"):
        ops.gru(x.to("meta"), *weights, [30])
    with pytest.raises(UsageError, match="gru: x is on meta, for which this build has no kernel; move it to the CPU"):
        ops.gru(*(each.to("meta") for each in (x, *weights)), [30])
    with pytest.raises(UsageError, match="lengths add up to 29 frames, x has 30"):
        ops.gru(x, *weights, [29])
