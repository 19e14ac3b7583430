"""crema: decibels, the network against float64 and against the original Keras model, independence of the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from crema_fakes import random_tensors, reference

from chordfast.errors import ModelError, UsageError
from chordfast.ops import CREMA
from chordfast.teachers import Recogniser, fetch, load, weights_hash
from chordfast.teachers.crema import Crema, _class_order, harmonic_db
from chordfast.vocabulary import class_labels

GOLDEN = Path(__file__).parents[1] / "golden" / "crema_keras.npz"


def magnitudes(frames: int, seed: int = 0) -> np.ndarray:
    """Positive, spread over some 60 dB, as constant-Q magnitudes of music are."""
    rng = np.random.default_rng(seed)
    return (10 ** rng.normal(-1.5, 0.7, (frames, CREMA.n_bins))).astype(np.float32)


@pytest.fixture(scope="module")
def crema() -> Crema:
    torch.set_num_threads(1)
    return Crema(random_tensors())


def test_harmonic_db_by_hand() -> None:
    magnitude = np.full((2, 252), 1e-7, np.float32)
    magnitude[0, 0] = 1.0  # harmonic 1 only
    magnitude[0, 40] = 0.1  # bin 40 of harmonic 1, bin 4 of harmonic 2
    magnitude[1, 251] = 0.01  # harmonic 2 only, its last bin
    result = harmonic_db(magnitude)
    assert result.shape == (2, 216, 2) and result.dtype == np.float32
    expected = np.full((2, 216, 2), -80.0)  # 1e-7 is below the floor of 1e-5, which is 100 and 80 dB down
    expected[0, 0, 0] = 0
    expected[0, 40, 0] = -20
    expected[0, 4, 1] = 0
    expected[1, 215, 1] = -20
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_harmonic_db_equals_amplitude_to_db_of_each_harmonic() -> None:
    librosa = pytest.importorskip("librosa")
    magnitude = magnitudes(50)
    result = harmonic_db(magnitude)
    for harmonic, first in enumerate((0, 36)):
        expected = librosa.amplitude_to_db(magnitude[:, first : first + 216], ref=np.max)
        np.testing.assert_allclose(result[..., harmonic], expected, atol=2e-5)


def test_harmonic_db_of_silence_and_of_nothing() -> None:
    assert np.all(harmonic_db(np.zeros((3, 252), np.float32)) == 0)
    assert harmonic_db(np.zeros((0, 252), np.float32)).shape == (0, 216, 2)


@pytest.mark.parametrize("shape", [(10, 144), (252,), (1, 10, 252)])
def test_features_of_another_plan_are_refused(crema: Crema, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"give \[frames, 252\] of feature plan CREMA"):
        crema.posteriors([np.zeros(shape, np.float32)])


def test_class_order_is_the_string_sort() -> None:
    order, labels = _class_order(), class_labels(170)
    in_crema = sorted(labels)
    assert [in_crema[i] for i in order] == list(labels)
    assert in_crema[0] == "A#:7" and in_crema[-2:] == ["N", "X"]
    assert (order[168], order[169]) == (169, 168)  # BTC has X before N
    assert order[1] == in_crema.index("C:maj")


@pytest.mark.parametrize("frames", [1, 2, 3, 150])
def test_network_equals_float64(crema: Crema, frames: int) -> None:
    features = magnitudes(frames)
    # The original leaves the last frame of the transform out; here the one before it is repeated.
    expected = reference(random_tensors(), harmonic_db(features[: max(frames - 1, 1)]))
    expected = {head: np.concatenate([x, x[-1:]])[:frames] for head, x in expected.items()}
    expected["tag"] = expected["tag"][:, _class_order()]
    found = crema.outputs([features])
    assert found.keys() == expected.keys()
    for head, values in expected.items():
        assert found[head][0].dtype == np.float32
        np.testing.assert_allclose(found[head][0], values, atol=2e-6)
    # The random weights make a real choice, so equality means something.
    assert expected["tag"].max() > 0.05


def test_a_song_does_not_depend_on_its_neighbours(crema: Crema) -> None:
    songs = [magnitudes(frames, seed=frames) for frames in (40, 7, 130, 1, 40, 2, 90)]
    together = crema.outputs([songs[0], np.zeros((0, 252), np.float32), *songs[1:]])
    assert together["tag"][1].shape == (0, 170) and together["bass"][1].shape == (0, 13)
    for head, values in together.items():
        for song, result in zip(songs, [values[0], *values[2:]], strict=True):
            np.testing.assert_allclose(result, crema.outputs([song])[head][0], atol=1e-6)


def test_long_and_many_songs_are_computed_in_groups(crema: Crema, monkeypatch: pytest.MonkeyPatch) -> None:
    songs = [magnitudes(frames, seed=frames) for frames in (60, 5, 33, 20, 21)]
    expected = crema.posteriors(songs)
    sizes = []
    forward = crema.network.forward
    monkeypatch.setattr(crema.network, "forward", lambda group: sizes.append([len(s) for s in group]) or forward(group))
    monkeypatch.setattr("chordfast.teachers.crema._GROUP_FRAMES", 50)
    monkeypatch.setattr("chordfast.teachers.crema._GROUP_SONGS", 2)
    for song, other in zip(expected, crema.posteriors(songs), strict=True):
        np.testing.assert_allclose(song, other, atol=1e-6)
    assert sizes == [[59], [32], [20, 19], [4]]


def test_recogniser_protocol(crema: Crema) -> None:
    assert isinstance(crema, Recogniser)
    assert (crema.name, crema.classes, crema.plan) == ("crema", 170, CREMA)
    assert crema.hash == weights_hash(random_tensors()) and len(crema.hash) == 64
    assert crema.posteriors([]) == []
    (tag,) = crema.posteriors([magnitudes(20)])
    np.testing.assert_allclose(tag.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chord_tag.bias": None}, "tensor 'chord_tag.bias' is missing"),
        ({"other": np.zeros(3, np.float32)}, "tensor 'other' does not belong"),
        ({"chord_root.bias": np.zeros(12, np.float32)}, r"'chord_root.bias' has shape \[12\] instead of \[13\]"),
        ({"chord_root.bias": np.full(13, np.nan, np.float32)}, "'chord_root.bias' holds values that are not finite"),
    ],
)
def test_wrong_weights_are_refused(change: dict[str, np.ndarray | None], message: str) -> None:
    tensors = {name: values for name, values in (random_tensors() | change).items() if values is not None}
    with pytest.raises(ModelError, match=message):
        Crema(tensors, where="file.safetensors")


def test_tensors_give_what_arrays_do(crema: Crema) -> None:
    songs = [magnitudes(frames, seed=frames) for frames in (40, 1, 7)]
    expected = crema.outputs(songs)
    moved = crema.on("cpu")
    assert moved is not crema and moved.hash == crema.hash and moved.device == torch.device("cpu")
    found = moved.outputs([torch.from_numpy(song) for song in songs])
    for head, values in expected.items():
        for song, result in zip(values, found[head], strict=True):
            assert isinstance(result, torch.Tensor)
            np.testing.assert_allclose(result, song, atol=2e-6)
    np.testing.assert_allclose(harmonic_db(torch.from_numpy(songs[0])), harmonic_db(songs[0]), atol=2e-5)
    assert harmonic_db(torch.zeros(0, 252)).shape == (0, 216, 2)
    with pytest.raises(UsageError, match="crema: precision is 'bf16'; crema is computed in fp32 only"):
        crema.on("cpu", "bf16")


@pytest.mark.network
def test_parity_with_the_original_keras_model() -> None:
    """Keras' own float32 results stray up to 2.7e-6 from float64, ours up to 1.6e-6 on an EPYC and 3.1e-6 on a Xeon,
    where torch's products add up in another order."""
    try:
        crema = load("crema")
    except ModelError:
        try:
            fetch("crema")
            crema = load("crema")
        except ModelError as error:
            pytest.skip(f"crema's weights are neither cached nor to be had: {error}")
    assert isinstance(crema, Crema)
    golden = np.load(GOLDEN)
    features, frames = golden["features"], golden["frames"]
    with torch.inference_mode():
        found = {head: values.numpy() for head, values in crema.network([torch.from_numpy(features)]).items()}
        other = torch.from_numpy(features[:300])
        batch = crema.network([other, torch.from_numpy(features), other])["tag"].numpy()[300:945]
    order = _class_order()
    np.testing.assert_array_equal(order[found["tag"].argmax(axis=1)], golden["tag_argmax"])
    np.testing.assert_allclose(found["tag"][frames], golden["tag"][:, order], atol=4e-6)
    for head in ("pitch", "root", "bass"):
        np.testing.assert_allclose(found[head][frames], golden[head], atol=2e-6)
    np.testing.assert_allclose(batch, found["tag"], atol=1e-6)
    from chordfast.teachers.fetch import cached
    from chordfast.teachers.weights import read_weights

    exact = reference(read_weights(cached("crema")), features)["tag"]
    np.testing.assert_allclose(found["tag"], exact[:, order], atol=4e-6)
    np.testing.assert_allclose(golden["tag"], exact[frames], atol=3e-6)
