"""A song's posteriors have the same bits whatever songs are computed beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from crema_fakes import random_tensors

from chordfast.errors import UsageError
from chordfast.models import BTC, TwoE1D
from chordfast.teachers import Recogniser, windowed
from chordfast.teachers.crema import Crema
from chordfast.teachers.windowed import Windowed

LENGTHS = (700, 37, 108, 109, 1, 300)


@pytest.fixture(params=["btc", "2e1d"])
def network(request: pytest.FixtureRequest) -> Windowed:
    torch.manual_seed(0)
    small = BTC(num_layers=2) if request.param == "btc" else TwoE1D()
    return Windowed(small, request.param)


def songs(bins: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.abs(rng.standard_normal((length, bins))).astype(np.float32) for length in LENGTHS]


def check(recogniser: Recogniser, bins: int) -> None:
    given = songs(bins)
    alone = [recogniser.posteriors([song])[0] for song in given]
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [4, 0], [1, 2, 4]):
        for index, found in zip(order, recogniser.posteriors([given[i] for i in order]), strict=True):
            np.testing.assert_array_equal(found, alone[index])


@pytest.mark.parametrize("name", ["btc", "crema"])
def test_tensors_give_the_bits_of_arrays(name: str) -> None:
    torch.manual_seed(0)
    recogniser = Crema(random_tensors()) if name == "crema" else Windowed(BTC(num_layers=2), name)
    given = songs(252 if name == "crema" else 144)
    found = recogniser.posteriors([torch.from_numpy(song) for song in given])
    for one, other in zip(found, recogniser.posteriors(given), strict=True):
        assert isinstance(one, torch.Tensor)
        np.testing.assert_array_equal(one.numpy(), other)


def test_windows_of_songs_together(network: Windowed) -> None:
    check(network, 144)


def test_crema_songs_together() -> None:
    check(Crema(random_tensors()), 252)


def test_the_way_on_a_gpu_gives_the_same(network: Windowed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windowed, "_GPU_BATCH", 16)
    given = [torch.from_numpy(song) for song in [*songs(144), np.zeros((0, 144), np.float32)]]
    expected = network.posteriors(given)
    for overlap in (0.5, 0.0, 0.75):
        network.overlap = overlap
        expected = network.posteriors(given)
        with torch.inference_mode():
            for one, other in zip(network._together(given), expected, strict=True):
                assert one.shape == other.shape
                torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_bf16_is_near_fp32(network: Windowed) -> None:
    given = songs(144)
    half = network.on("cpu", "bf16")
    assert half.hash == network.hash
    assert half.on("cpu", "bf16").name == f"{network.name} (bf16)"
    assert half.on("cpu").name == network.name
    for one, other in zip(half.posteriors(given), network.posteriors(given), strict=True):
        assert 0 < np.abs(one - other).max() < 5e-3
        np.testing.assert_allclose(one.sum(axis=1), 1, atol=1e-5)
    with pytest.raises(UsageError, match="precision is 'fp8'; use 'fp32' or 'bf16'"):
        network.on("cpu", "fp8")
