"""What goes into a store comes out of it: parts, shards, views, posteriors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from songs import failed, fill, identity, posteriors, song

from chordfast.store import Store, StoreWriter

needs_pyarrow = pytest.mark.skipif("not __import__('importlib').util.find_spec('pyarrow')", reason="needs pyarrow")
SEALED = [False, pytest.param(True, marks=needs_pyarrow)]


@pytest.mark.parametrize("sealed", SEALED)
def test_songs_come_back(tmp_path: Path, sealed: bool) -> None:
    records = [song(i) for i in range(9)]
    fill(tmp_path, [*records, failed("x.mp3")], seal=sealed)
    store = Store(tmp_path)
    assert [row.id for row in store.rows] == sorted([*(r.id for r in records), "x.mp3"])
    assert len(store) == 10
    assert "x.mp3" in store
    for record in records:
        assert record.features is not None and record.posteriors is not None
        row = store.row(record.id)
        assert (row.outcome, row.frames, row.duration) == ("ok", len(record.features), record.duration)
        assert row.shard == ("0-00000" if sealed else "")
        half = record.features.astype(np.float16)
        np.testing.assert_array_equal(store.features(record.id), half)
        np.testing.assert_array_equal(store.features(store.position(record.id), 5, 12), half[5:12])
        np.testing.assert_array_equal(store.features(record.id, 15, 10_000), half[15:])
        np.testing.assert_array_equal(store.target(record.id), record.posteriors.argmax(axis=1))
        np.testing.assert_allclose(store.confidence(record.id), record.posteriors.max(axis=1), atol=2.5e-4)
        assert row.confidence == pytest.approx(record.posteriors.max(axis=1).mean(), abs=2.5e-4)
        tempered = record.posteriors.astype(np.float64) ** (1 / 3)
        tempered = tempered.max(axis=1) / np.maximum(tempered, 1e-4).sum(axis=1)
        np.testing.assert_allclose(store.kd_confidence(record.id), tempered, atol=2.5e-4)
    assert (store.row("x.mp3").frames, store.row("x.mp3").outcome, store.row("x.mp3").crc) == (0, "unreadable", {})
    assert store.features("x.mp3").shape == (0, 144)
    assert store.target("x.mp3").shape == (0,)
    assert store.verify() == []


def test_logits_of_the_top_classes(tmp_path: Path) -> None:
    p = posteriors(3, 200)
    fill(tmp_path, [song(0, 200, posteriors=p)], seal=False)
    logits = Store(tmp_path).teacher_logits(0)
    assert (logits.dtype, logits.shape) == (np.float32, (200, 170))
    order = np.argsort(-p, axis=1, kind="stable")
    top, rest = order[:, :8], order[:, 8:]
    expected = np.log(np.take_along_axis(p, top, axis=1).astype(np.float64))
    np.testing.assert_allclose(np.take_along_axis(logits, top, axis=1), expected, rtol=2**-11, atol=1e-7)
    left = np.take_along_axis(p, rest, axis=1).sum(axis=1, dtype=np.float64) / 162
    np.testing.assert_allclose(np.take_along_axis(logits, rest, axis=1), np.log(left)[:, None].repeat(162, 1), 1e-5)
    q = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-3)
    divergence = (p * (np.log(p) - np.log(q / q.sum(axis=1, keepdims=True)))).sum(axis=1)
    assert divergence.mean() < 0.05


def test_the_mass_of_the_others_survives_rounding(tmp_path: Path) -> None:
    p = np.full((4, 170), 1e-11, np.float32)
    p[:, 7] = 1
    fill(tmp_path, [song(0, 4, posteriors=p)], seal=False)
    logits = Store(tmp_path).teacher_logits(0)
    np.testing.assert_allclose(logits[:, 7], 0, atol=1e-6)
    np.testing.assert_allclose(np.delete(logits, 7, axis=1), np.log(1e-11), atol=0.01)


def test_equal_probabilities_go_to_the_lower_class(tmp_path: Path) -> None:
    p = np.full((3, 170), 1 / 170, np.float32)
    p[1, [40, 41, 99]] = 0.2
    fill(tmp_path, [song(0, 3, posteriors=p)], seal=False)
    store = Store(tmp_path)
    assert store.target(0).tolist() == [0, 40, 0]
    assert store.array(0, "top_class")[0].tolist() == list(range(8))
    assert store.array(0, "top_class")[1].tolist() == [40, 41, 99, 0, 1, 2, 3, 4]


def test_full_posteriors_and_none(tmp_path: Path) -> None:
    record = song(1, 50)
    assert record.posteriors is not None
    fill(tmp_path / "full", [record], seal=False, identity=identity(posteriors="full"))
    logits = Store(tmp_path / "full").teacher_logits(record.id, 10, 20)
    np.testing.assert_allclose(logits, np.log(np.maximum(record.posteriors[10:20], 1e-12)), rtol=2**-11)
    fill(tmp_path / "full8", [record], seal=False, identity=identity(posteriors="full8"))
    logits = Store(tmp_path / "full8").teacher_logits(record.id, 10, 20)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, np.log(np.maximum(record.posteriors[10:20], 1e-12)), atol=0.0543)
    fill(tmp_path / "none", [record], seal=False, identity=identity(posteriors="none"))
    store = Store(tmp_path / "none")
    np.testing.assert_array_equal(store.target(0), record.posteriors.argmax(axis=1))


@needs_pyarrow
@pytest.mark.parametrize("order", ["F", "strided"])
def test_other_memory_layouts(tmp_path: Path, order: str) -> None:
    record = song(4)
    assert record.features is not None and record.posteriors is not None
    plain_features, plain_posteriors = record.features.copy(), record.posteriors.copy()
    if order == "F":
        record.features, record.posteriors = np.asfortranarray(plain_features), np.asfortranarray(plain_posteriors)
    else:
        record.features = np.repeat(np.repeat(plain_features, 2, axis=0), 3, axis=1)[::2, ::3]
        record.posteriors = plain_posteriors[::-1].copy()[::-1]
    record.agreement = np.arange(2 * len(plain_features))[::2] % 3
    assert not record.features.flags.c_contiguous
    fill(tmp_path, [record])
    store = Store(tmp_path)
    np.testing.assert_array_equal(store.features(0), plain_features.astype(np.float16))
    np.testing.assert_array_equal(store.target(0), plain_posteriors.argmax(axis=1))
    np.testing.assert_array_equal(store.agreement(0), np.arange(0, 2 * len(plain_features), 2) % 3)
    other = safetensors.numpy.load_file(tmp_path / "shards/0-00000.safetensors")
    np.testing.assert_array_equal(other["features"], plain_features.astype(np.float16))
    assert {name: array.dtype.str for name, array in other.items()} == {
        "rest": "<f4", "features": "<f2", "target": "<i2", "confidence": "<f2", "kd_confidence": "<f2",
        "top_class": "<i2", "top_log_probability": "<f2", "agreement": "|u1",
    }  # fmt: skip


def test_windows(tmp_path: Path) -> None:
    records = [song(0, 30), song(3, 12, agreement=np.ones(12, int))]
    fill(tmp_path, records, seal=False)
    store = Store(tmp_path)
    names = ("features", "target", "confidence", "agreement", "teacher_logits")
    batch = store.read_windows([1, 0, 1], np.array([4, 25, 12]), 10, names)
    assert batch["valid"].tolist() == [8, 5, 0]
    assert {name: (a.dtype.name, a.shape) for name, a in batch.items()} == {
        "valid": ("int64", (3,)), "features": ("float16", (3, 10, 144)), "target": ("int16", (3, 10)),
        "confidence": ("float32", (3, 10)), "agreement": ("uint8", (3, 10)),
        "teacher_logits": ("float32", (3, 10, 170)),
    }  # fmt: skip
    np.testing.assert_array_equal(batch["features"][0, :8], store.features(1, 4, 12))
    np.testing.assert_array_equal(batch["features"][0, 8:], 0)
    np.testing.assert_array_equal(batch["target"][1], [*store.target(0, 25), *[-1] * 5])
    np.testing.assert_array_equal(batch["teacher_logits"][1, :5], store.teacher_logits(0, 25))
    assert batch["agreement"][:, 0].tolist() == [1, 255, 255]
    again = store.read_windows([0, 0, 0], [0, 1, 2], 10, names, out=batch)
    assert again is batch
    np.testing.assert_array_equal(batch["features"][2], store.features(0, 2, 12))


def test_frames_of_another_plan_may_differ_by_two(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, identity()) as writer:
        assert writer.add(song(0, 30, posteriors=posteriors(1, 31))).frames == 30
        assert writer.add(song(1, 30, posteriors=posteriors(1, 28))).frames == 28


@needs_pyarrow
def test_songs_without_a_frame(tmp_path: Path) -> None:
    fill(tmp_path, [failed("x.mp3"), song(0, 0, id="0.mp3", agreement=np.zeros(0))])
    store = Store(tmp_path)
    assert [(row.frames, row.shard, row.confidence) for row in store.rows] == [(0, "0-00000", None)] * 2
    for position in (0, 1):
        assert store.features(position).shape == (0, 144)
        assert store.teacher_logits(position).shape == (0, 170)
    assert store.read_windows([0, 1], [0, 0], 5)["valid"].tolist() == [0, 0]
    assert store.verify() == []


@needs_pyarrow
def test_only_some_songs_have_agreement(tmp_path: Path) -> None:
    fill(tmp_path, [song(0, 4, agreement=np.array([0, 1, 2, 254])), song(1, 3), failed("x.mp3")])
    store = Store(tmp_path)
    assert store.agreement(song(0).id).tolist() == [0, 1, 2, 254]  # type: ignore[union-attr]
    assert store.agreement(song(1).id) is None
    assert store.agreement("x.mp3") is None
    assert store.array(song(1).id, "agreement").tolist() == [255] * 3
    assert store.verify() == []
