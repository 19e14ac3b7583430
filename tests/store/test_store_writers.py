"""Several writers, songs stored anew, identities that do not fit, readers beside writers."""

from __future__ import annotations

import errno
import multiprocessing
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from songs import contents, failed, fill, identity, song

from chordfast.errors import StoreError, UsageError
from chordfast.ops.feature_plan import CREMA
from chordfast.store import Store, StoreIdentity, StoreWriter, summary, writers

needs_pyarrow = pytest.mark.skipif("not __import__('importlib').util.find_spec('pyarrow')", reason="needs pyarrow")


@needs_pyarrow
def test_the_order_of_songs_does_not_matter(tmp_path: Path) -> None:
    records = [*(song(i) for i in range(12)), failed("none.mp3", "silent")]
    fill(tmp_path / "a", records, shard_bytes=100_000)
    fill(tmp_path / "b", records[::-1], shard_bytes=100_000)
    with StoreWriter(tmp_path / "c", identity(), shard_bytes=100_000) as writer:
        for record in records[::2]:
            writer.add(record)
    fill(tmp_path / "c", records[1::2], shard_bytes=100_000)
    expected = contents(tmp_path / "a")
    assert len([name for name in expected if name.startswith("shards/")]) == 3
    assert contents(tmp_path / "b") == expected
    assert contents(tmp_path / "c") == expected
    rows = Store(tmp_path / "a").rows
    by_shard = {row.shard: sum(r.frames for r in rows if r.shard == row.shard) for row in rows}
    assert max(by_shard.values()) * identity().frame_bytes() <= 100_000


@needs_pyarrow
def test_songs_added_by_threads(tmp_path: Path) -> None:
    records = [song(i) for i in range(24)]
    fill(tmp_path / "a", records)
    with StoreWriter(tmp_path / "b", identity()) as writer, ThreadPoolExecutor(6) as pool:
        rows = list(pool.map(writer.add, records))
        writer.seal()
    assert [row.id for row in rows] == [record.id for record in records]
    assert contents(tmp_path / "b") == contents(tmp_path / "a")


def write_and_seal(path: Path, name: str, numbers: range) -> None:
    fill(path, [song(i) for i in numbers], writer=name)


@needs_pyarrow
def test_writers_beside_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=write_and_seal, args=(tmp_path, str(i), range(i * 5, i * 5 + 5))) for i in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0]
    store = Store(tmp_path)
    assert sorted({row.shard for row in store.rows}) == ["0-00000", "1-00000"]
    assert len(store) == 10
    assert store.verify() == []
    np.testing.assert_array_equal(store.target(song(7).id), song(7).posteriors.argmax(axis=1))  # type: ignore[union-attr]


def write_in_turns(path: Path, turns: int) -> None:
    with StoreWriter(path, identity()) as writer:
        for turn in range(turns):
            for i in range(4):
                writer.add(song(4 * turn + i, 10))
            writer.seal()


@needs_pyarrow
def test_readers_beside_a_writer(tmp_path: Path) -> None:
    StoreWriter(tmp_path, identity()).close()
    job = multiprocessing.get_context("spawn").Process(target=write_in_turns, args=(tmp_path, 15))
    job.start()
    seen = []
    while job.is_alive():
        store = Store(tmp_path)
        seen.append(len(store))
        for position, row in enumerate(store.rows):
            assert store.target(position).shape == (row.frames,)
        assert store.verify() == []
    job.join()
    assert job.exitcode == 0
    assert seen == sorted(seen)
    assert len(Store(tmp_path)) == 60


def test_one_writer_of_a_name(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, identity(), "a-1"):
        with pytest.raises(UsageError, match="another writer 'a-1' is at work"):
            StoreWriter(tmp_path, identity(), "a-1")
        StoreWriter(tmp_path, identity(), "a").close()
    StoreWriter(tmp_path, identity(), "a-1").close()


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "a" * 65, "a b"])
def test_names_of_writers(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"give up to 64 letters"):
        StoreWriter(tmp_path, identity(), name)


@needs_pyarrow
def test_a_song_stored_anew(tmp_path: Path) -> None:
    fill(tmp_path, [song(1, 30), song(2, 40)])
    with StoreWriter(tmp_path, identity()) as writer:
        assert writer.add(song(1, 30)).shard == "0-00000"  # nothing differs: nothing is written
        assert not list(tmp_path.glob("parts/*/*/*.safetensors"))
        row = writer.add(song(1, 50, seed=77))
        assert (row.generation, row.frames, row.shard) == (1, 50, "")
        assert writer.add(song(1, 60, seed=78)).generation == 1  # the one before was not sealed, and is replaced
        assert [r.frames for r in writer.rows] == [60, 40]
        unsealed = Store(tmp_path)
        writer.seal()
        row = writer.add(failed(song(1).id, "timeout"))
        assert row.generation == 2
        writer.seal()
    assert unsealed.row(song(1).id).frames == 60
    np.testing.assert_array_equal(unsealed.features(song(1).id), song(1, 60, seed=78).features.astype(np.float16))  # type: ignore[union-attr]
    store = Store(tmp_path)
    assert [(row.frames, row.outcome, row.shard) for row in store.rows] == [
        (0, "timeout", "0-00002"),
        (40, "ok", "0-00000"),
    ]
    assert summary(store)["superseded"] == {"songs": 2, "bytes": 90 * identity().frame_bytes()}
    assert store.verify() == []


@needs_pyarrow
def test_another_writer_supersedes(tmp_path: Path) -> None:
    fill(tmp_path, [song(1, 30)], writer="a", seal=False)
    fill(tmp_path, [song(1, 35, seed=9)], writer="b", seal=False)
    assert Store(tmp_path).rows[0].frames == 35
    assert writers(tmp_path) == ["a", "b"]
    for name in ("b", "a"):
        with StoreWriter(tmp_path, None, name) as writer:
            assert writer.seal() == [f"{name}-00000"]
    assert [(row.frames, row.generation, row.writer) for row in Store(tmp_path).rows] == [(35, 1, "b")]
    assert writers(tmp_path) == []


@needs_pyarrow
def test_a_reader_goes_on_while_songs_are_sealed(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, identity()) as writer:
        for i in range(4):
            writer.add(song(i))
        store = Store(tmp_path)
        before = store.features(0).copy()
        writer.seal()
        np.testing.assert_array_equal(store.features(0), before)
        for i in range(4):
            np.testing.assert_array_equal(store.features(song(i).id), song(i).features.astype(np.float16))  # type: ignore[union-attr]
        assert store.row(song(3).id).shard == "0-00000"
        copied = pickle.loads(pickle.dumps(store))
        np.testing.assert_array_equal(copied.features(0), before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"plan": CREMA}, "a feature plan of 144 bins, 24 to the octave, hop 2048, log instead of 252 bins"),
        ({"teacher": "btc"}, "teacher crema instead of btc"),
        ({"teacher_hash": "d" * 64}, "teacher's weights cccccccccccccccc… instead of dddddddddddddddd…"),
        ({"features_hash": "0"}, "features' hash (plan and resampling) ffffffffffffffff instead of 0"),
        ({"options_hash": "1"}, "decoding options 0000000000000000 instead of 1"),
        ({"top": 4}, "number of top classes 8 instead of 4"),
        ({"posteriors": "full"}, "kind of posteriors topk instead of full"),
        ({"kd_temperature": 2.0}, "distillation temperature 3.0 instead of 2.0"),
        ({"classes": 25}, "classes 170 instead of 25"),
    ],
)
def test_another_identity_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    StoreWriter(tmp_path, identity()).close()
    with pytest.raises(StoreError) as caught:
        StoreWriter(tmp_path, identity(**change))
    assert str(caught.value) == f"the store {tmp_path} has {said}; give this run another folder for its store".replace(
        "instead of 252 bins", "instead of 252 bins, 36 to the octave, hop 2048, magnitude"
    )
    StoreWriter(tmp_path, identity()).close()


def test_what_a_reader_requires(tmp_path: Path) -> None:
    fill(tmp_path, [song(0)], seal=False, identity=identity(posteriors="none"))
    store = Store(tmp_path)
    assert store.require(plan=identity().plan, teacher="crema", teacher_hash="c" * 64, classes=170) is store
    for wanted, said in [
        ({"plan": CREMA}, "has features of another plan"),
        ({"plan": "0123"}, "has features of another plan"),
        ({"teacher": "btc"}, "has teacher crema instead of btc; name another store"),
        ({"teacher_hash": "d"}, "instead of d; name another store"),
        ({"classes": 25}, "has classes 170 instead of 25"),
        ({"features_hash": "0"}, "has features_hash ffffffffffffffff instead of 0"),
        ({"logits": True}, "was made without posteriors; label its music again with full or topk ones"),
    ]:
        with pytest.raises(StoreError, match=said):
            store.require(**wanted)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="was made without posteriors"):
        store.teacher_logits(0)


def test_a_store_of_features_alone(tmp_path: Path) -> None:
    plain = StoreIdentity(features_hash="f")
    fill(tmp_path, [song(0, 25, posteriors=None)], seal=False, identity=plain)
    store = Store(tmp_path)
    assert store.features(0).shape == (25, 144)
    assert (store.rows[0].confidence, list(store.rows[0].crc), store.verify()) == (None, ["features"], [])
    with pytest.raises(StoreError, match="has no target; it was made without a teacher"):
        store.target(0)
    with StoreWriter(tmp_path, plain) as writer, pytest.raises(StoreError, match="made without a teacher; it was not"):
        writer.add(song(1))


def nan(values: Any) -> Any:
    values = values.copy()
    values[3, 2] = np.nan
    return values


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"outcome": "fine"}, "outcome 'fine' is none of ok"),
        ({"duration": float("nan")}, "duration nan is no length"),
        ({"features": None}, "features have shape None, the store's plan has 144 bins"),
        ({"features": np.zeros((20, 84))}, r"features have shape \(20, 84\)"),
        ({"features": np.full((20, 144), 1e6)}, "features are not finite, or too large"),
        ({"features": nan(np.zeros((20, 144)))}, "features are not finite"),
        ({"posteriors": None}, "posteriors have shape None, the store has 170 classes"),
        ({"posteriors": np.ones((20, 25))}, r"posteriors have shape \(20, 25\)"),
        ({"posteriors": np.ones((9, 170))}, "20 frames of features but 9 of posteriors"),
        ({"posteriors": np.zeros((20, 170))}, "posteriors are not probabilities"),
        ({"posteriors": nan(np.ones((20, 170)))}, "posteriors are not probabilities"),
        ({"posteriors": -np.ones((20, 170))}, "posteriors are not probabilities"),
        ({"agreement": np.zeros(7)}, r"agreement has shape \(7,\) for 20 frames"),
        ({"agreement": np.full(20, 255)}, "agreement lies outside 0 ... 254"),
    ],
)
def test_records_that_do_not_fit(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with StoreWriter(tmp_path, identity()) as writer:
        with pytest.raises(StoreError, match=f"^song folder 0/000.mp3: {said}.*; it was not stored$"):
            writer.add(song(0, 20, **change))
        assert writer.rows == []
    assert list(contents(tmp_path)) == ["store.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": 1}, "1 classes"),
        ({"posteriors": "some"}, "posteriors are 'some'"),
        ({"top": 170}, "top 170 of 170 classes"),
        ({"kd_temperature": 0.0}, "kd_temperature is 0.0"),
    ],
)
def test_impossible_identities(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        identity(**change)


def test_identity_in_json() -> None:
    made = identity(top=5, kd_temperature=2.5)
    assert StoreIdentity.from_json(made.to_json()) == made
    assert made.hash == StoreIdentity.from_json(made.to_json()).hash != identity().hash
    for text in ("", "[]", "{}", '{"format": "chordfast-store", "version": 1}', made.to_json().replace("2.5", '"x"')):
        with pytest.raises(StoreError, match="is not the description of a store"):
            StoreIdentity.from_json(text)
    with pytest.raises(StoreError, match="has version 9, not 1"):
        StoreIdentity.from_json(made.to_json().replace('"version": 1', '"version": 9'))


def test_songs_that_are_not_there(tmp_path: Path) -> None:
    fill(tmp_path, [song(0, 20)], seal=False)
    store = Store(tmp_path)
    for call in (
        lambda: store.features("gone.mp3"), lambda: store.features(1), lambda: store.features(-1),
        lambda: store.features(0, -1), lambda: store.features(0, 5, 4), lambda: store.read_windows([0], [21], 10),
        lambda: store.read_windows([0], [0], 10, ["nothing"]),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            call()
    assert store.agreement(0) is None
    with pytest.raises(StoreError, match=r"is not a store \(no store.json\); name a folder"):
        Store(tmp_path / "gone")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with StoreWriter(tmp_path, identity()) as writer:
        writer.add(song(0))
        with monkeypatch.context() as patch:
            patch.setattr("chordfast.store.writer.atomic_write", full)
            with pytest.raises(
                StoreError, match=r"song .* cannot be written to .* \(No space left on device\); make room"
            ):
                writer.add(song(1))
        assert [row.id for row in writer.rows] == [song(0).id]
        writer.add(song(1))
    assert Store(tmp_path).verify() == []


@needs_pyarrow
def test_a_full_disk_while_sealing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    records = [song(i) for i in range(4)]
    fill(tmp_path / "whole", records)
    with StoreWriter(tmp_path / "full", identity()) as writer:
        for record in records:
            writer.add(record)
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", full)
            with pytest.raises(StoreError, match=r"shards cannot be written to .* make room, and seal again"):
                writer.seal()
        assert writer.seal() == ["0-00000"]
    assert contents(tmp_path / "full") == contents(tmp_path / "whole")


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with StoreWriter(tmp_path, identity()) as writer:
        writer.add(song(0))
        with pytest.raises(UsageError, match=r"needs pyarrow.*pip install 'chordfast\[store\]'"):
            writer.seal()
    assert Store(tmp_path).verify() == []


@needs_pyarrow
def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    name = b"caf\xe9/\xff song.mp3".decode("utf-8", "surrogateescape")
    fill(tmp_path, [song(0, 20, id=name), song(1, 20, id="café.mp3")])
    store = Store(tmp_path)
    assert {row.id for row in store.rows} == {name, "café.mp3"}
    np.testing.assert_array_equal(store.features(name), song(0, 20).features.astype(np.float16))  # type: ignore[union-attr]
