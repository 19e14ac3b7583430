"""Damaged files: found by verify(), named, and never a crash."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from songs import failed, fill, identity, song

from chordfast.errors import ChordfastError, StoreError
from chordfast.store import Store, StoreWriter, verify
from chordfast.store.tensors import Mapped


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Three sealed songs, a failed one, and one that is not sealed yet."""
    path = tmp_path / "store"
    fill(path, [song(0, 20), song(1, 20), song(2, 20), failed("x.mp3")], identity=identity(top=2))
    fill(path, [song(3, 20)], seal=False, identity=identity(top=2))
    return path


SHARD, INDEX = "shards/0-00000.safetensors", "index/0-00000.parquet"


def flip(path: Path, at: int, bits: int = 0x10) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bits
    path.write_bytes(data)


def test_every_array_is_checked(made: Path) -> None:
    assert verify(made) == []
    shard = made / SHARD
    whole = shard.read_bytes()
    for name, array in Mapped(shard).arrays.items():
        start = whole.index(array.tobytes())
        flip(shard, start + array.nbytes // 2)  # in the second song
        (damage,) = verify(made)
        expected = f"{SHARD}, song {song(1).id}, {name}: is not what was written (CRC-32)"
        assert (damage.file, damage.song, damage.array, str(damage)) == (SHARD, song(1).id, name, expected)
        shard.write_bytes(whole)
    part = next(made.glob("parts/*/*/*.safetensors"))
    flip(part, part.stat().st_size - 1)
    assert [(d.song, d.array) for d in verify(made)] == [(song(3).id, "top_log_probability")]


def test_files_that_are_cut_or_gone(made: Path) -> None:
    shard = made / SHARD
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    (damage,) = verify(made)
    assert (damage.file, damage.song) == (SHARD, "")
    assert damage.problem == f"is damaged ({len(whole) - 100} bytes instead of {len(whole)})"
    store = Store(made)
    with pytest.raises(StoreError, match=r"is damaged .* run chordfast store verify"):
        store.features(0)
    assert store.features(song(3).id).shape == (20, 144)
    shard.unlink()
    assert [str(damage) for damage in verify(made)] == [f"{SHARD}: is missing"]
    with pytest.raises(StoreError, match="is missing; copy it back"):
        store.features(0)
    (made / INDEX).write_bytes(b"PAR1 nothing PAR1")
    assert [(d.file, d.problem[:12]) for d in verify(made)] == [(INDEX, "is damaged (")]
    with pytest.raises(StoreError, match=r"0-00000.parquet is damaged .* run chordfast store verify"):
        Store(made)


def test_a_shard_of_another_store(made: Path, tmp_path: Path) -> None:
    fill(tmp_path / "other", [song(0)], writer="1")
    for name in ("shards/1-00000.safetensors", "index/1-00000.parquet"):
        shutil.copy(tmp_path / "other" / name, made / name)
    assert [str(d) for d in verify(made)] == ["index/1-00000.parquet: was made for another store"]
    with pytest.raises(StoreError, match="was made for another store; move it, and its shard, out of this one"):
        Store(made)


def test_an_index_of_another_shard(made: Path) -> None:
    shutil.copy(made / INDEX, made / "index/0-00001.parquet")
    assert [d.problem for d in verify(made)] == ["is damaged (it belongs to another shard)"]


def test_a_shard_without_an_index_does_not_count(made: Path) -> None:
    (made / "shards/0-00001.safetensors").write_bytes(b"half of a")
    assert verify(made) == []
    assert len(Store(made)) == 5
    with StoreWriter(made, None) as writer:
        assert writer.seal() == ["0-00001"]
    assert verify(made) == []


def test_a_damaged_part_is_not_sealed(made: Path) -> None:
    part = next(made.glob("parts/*/*/*.safetensors"))
    flip(part, part.stat().st_size - 1)
    with StoreWriter(made, None) as writer, pytest.raises(StoreError, match="delete it and label this song again"):
        writer.seal()
    assert part.exists()
    assert not (made / "index/0-00001.parquet").exists()


@pytest.mark.parametrize("kind", ["shard", "index", "part", "identity"])
def test_mutations_never_crash(made: Path, kind: str) -> None:
    path = {
        "shard": made / SHARD, "index": made / INDEX, "part": next(made.glob("parts/*/*/*.safetensors")),
        "identity": made / "store.json",
    }[kind]  # fmt: skip
    whole = path.read_bytes()
    # The headers are where a wrong byte can lead astray.
    front = min(len(whole), 1500)
    chance = random.Random(5)
    for i in range(60):
        data = bytearray(whole)
        if i % 4 == 0:
            del data[chance.randrange(len(data)) :]
        elif i % 4 == 1:
            data[chance.randrange(len(data))] = chance.randrange(256)
        else:
            for _ in range(chance.randrange(1, 4)):
                data[chance.randrange(front) if i % 4 == 2 else -1 - chance.randrange(front)] = chance.randrange(256)
        path.write_bytes(data)
        try:
            found = verify(made)
            store = Store(made)
            for position, row in enumerate(store.rows):
                store.features(position)
                store.teacher_logits(position, 0, row.frames)
        except ChordfastError as error:
            assert "\n" not in str(error)
            assert ";" in str(error)
        else:
            if kind == "shard" and bytes(data) != whole:
                assert found
