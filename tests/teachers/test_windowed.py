"""BTC and 2E1D as recognisers: overlapping windows, short songs, batches of songs, both vocabularies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from chordfast.errors import ModelError, UsageError
from chordfast.models import BTC, TwoE1D, save_checkpoint
from chordfast.ops import BTC as BTC_PLAN
from chordfast.teachers import Recogniser, load
from chordfast.teachers.windowed import Windowed


def network(kind: str) -> BTC | TwoE1D:
    torch.manual_seed(3)
    torch.set_num_threads(1)
    model = {
        "btc": lambda: BTC(num_layers=1),
        "btc25": lambda: BTC(num_layers=1, num_classes=25),
        "2e1d": lambda: TwoE1D(f_layer=1, t_layer=1, d_layer=1),
    }[kind]()
    model.set_statistics(-4.0, 2.5)
    return model.eval()


def songs(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.normal(-4, 2.5, (length, 144)).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("kind", ["btc", "btc25", "2e1d"])
def test_posteriors_are_the_mean_over_windows_which_count_most_in_their_middle(kind: str) -> None:
    model = network(kind)
    (song,) = songs(200)  # windows from 0, 72 and, at the end, 92
    with torch.inference_mode():
        parts = {
            start: model(torch.from_numpy((song[None, start : start + 108] + 4.0) / 2.5)).softmax(-1)[0].numpy()
            for start in (0, 72, 92)
        }
    total, count = np.zeros((200, parts[0].shape[1])), np.zeros((200, 1))
    weights = 54.5 - np.abs(np.arange(108) - 53.5)[:, None]  # 1 at the edges, 54 in the middle
    for start, part in parts.items():
        total[start : start + 108] += weights * part
        count[start : start + 108] += weights
    recogniser = Windowed(model, "x")
    (found,) = recogniser.posteriors([song])
    assert found.shape == (200, recogniser.classes) and found.dtype == np.float32
    np.testing.assert_allclose(found, total / count, atol=2e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["btc", "2e1d"])
def test_a_song_does_not_depend_on_its_neighbours(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recogniser = Windowed(network(kind), "x")
    features = songs(130, 0, 3, 108, 60, 1)
    monkeypatch.setattr("chordfast.teachers.windowed._BATCH", 3)  # songs share batches, and are split over them
    together = recogniser.posteriors(features)
    assert [len(result) for result in together] == [130, 0, 3, 108, 60, 1]
    for song, result in zip(features, together, strict=True):
        np.testing.assert_allclose(result, recogniser.posteriors([song])[0], atol=2e-6)
    assert recogniser.posteriors([]) == []


def test_short_song_equals_the_network_without_padding() -> None:
    model = network("btc")
    (song,) = songs(40)
    with torch.inference_mode():
        expected = model(torch.from_numpy(model.normalise(song))[None]).softmax(-1)[0].numpy()
    np.testing.assert_allclose(Windowed(model, "x").posteriors([song])[0], expected, atol=2e-6)


def test_load_checkpoint_file(tmp_path: Path) -> None:
    path = tmp_path / "my model.safetensors"
    save_checkpoint(path, network("btc25"))
    recogniser = load(path)
    assert isinstance(recogniser, Recogniser)
    assert (recogniser.name, recogniser.classes, recogniser.plan) == ("my model", 25, BTC_PLAN)
    features = songs(120)
    expected = Windowed(network("btc25"), "y").posteriors(features)
    np.testing.assert_array_equal(recogniser.posteriors(features)[0], expected[0])


def test_overlap_by_name(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, network("btc"))
    recogniser = load(f"{path}@0.5")
    assert (recogniser.name, recogniser.hash) == ("net@0.5", load(path).hash)
    (song,) = songs(200)
    half = Windowed(network("btc"), "x", overlap=0.5)
    np.testing.assert_array_equal(recogniser.posteriors([song])[0], half.posteriors([song])[0])
    assert np.abs(recogniser.posteriors([song])[0] - load(path).posteriors([song])[0]).max() > 1e-4
    assert load(f"{path}@0.5+{path}").name == "net@0.5+net"
    odd = tmp_path / "net@2.safetensors"
    save_checkpoint(odd, network("btc"))
    assert load(odd).name == "net@2"
    with pytest.raises(UsageError, match=r"net: an overlap of 0\.95 of a window; give 0 to 0\.9"):
        load(f"{path}@0.95")
    with pytest.raises(ModelError, match=r"the overlap is 'half'; give a number, as in btc@0\.5"):
        load(f"{path}@half")


def test_hash_covers_weights_and_statistics() -> None:
    base = Windowed(network("btc"), "a").hash
    assert base == Windowed(network("btc"), "b").hash
    model = network("btc")
    model.set_statistics(-4.0, 2.6)
    assert Windowed(model, "a").hash != base
    model = network("btc")
    with torch.no_grad():
        model.output_layer.output_projection.bias[3] += 1e-3
    assert Windowed(model, "a").hash != base


def test_wrong_input_and_wrong_files(tmp_path: Path) -> None:
    recogniser = Windowed(network("btc"), "mine")
    with pytest.raises(UsageError, match=r"mine: features have shape \[10, 252\]; give \[frames, 144\]"):
        recogniser.posteriors([np.zeros((10, 252), np.float32)])
    with pytest.raises(UsageError, match="the network wants 100 bins, feature plan BTC has 144"):
        Windowed(BTC(num_layers=1, n_bins=100), "mine")
    path = tmp_path / "model.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"model\.pt"):
        load(path)
