"""Files made from a store, and its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from songs import failed, fill, identity, song

from chordfast.annotations import read_lab
from chordfast.errors import StoreError, UsageError
from chordfast.store import Store, StoreIdentity, summary


def test_npz(tmp_path: Path) -> None:
    fill(tmp_path / "s", [song(1, 20), failed("x.mp3")], seal=False)
    store = Store(tmp_path / "s")
    assert store.export(tmp_path / "out") == 1
    (file,) = (tmp_path / "out").rglob("*.*")
    assert file == tmp_path / "out/folder 1/001.mp3.npz"
    with np.load(file) as found:
        assert sorted(found) == sorted(store.rows[0].crc)
        for name in found:
            np.testing.assert_array_equal(found[name], store.array(0, name))


def test_chordmini(tmp_path: Path) -> None:
    p = np.full((6, 170), 1e-4, np.float32)
    p[[0, 1, 2, 3, 4, 5], [169, 169, 1, 1, 1, 168]] = 1
    fill(tmp_path / "s", [song(1, 6, posteriors=p, id="a/b.mp3")], seal=False, identity=identity(posteriors="full"))
    assert Store(tmp_path / "s").export(tmp_path / "out", "chordmini") == 1
    spec = np.load(tmp_path / "out/a/b_spec.npy")
    assert (spec.dtype, spec.shape) == (np.float32, (6, 144))
    np.testing.assert_array_equal(spec, song(1, 6).features.astype(np.float16))  # type: ignore[union-attr]
    logits = np.load(tmp_path / "out/a/b_logits.npy")
    assert (logits.dtype, logits.shape, logits.argmax(axis=1).tolist()) == (
        np.float32, (6, 170), [169, 169, 1, 1, 1, 168],
    )  # fmt: skip
    lab = read_lab(tmp_path / "out/a/b.lab", strict=True)
    assert lab.labels == ["N", "C:maj", "X"]
    period = 2048 / 22050
    np.testing.assert_allclose(lab.starts, np.array([0, 2, 5]) * period, atol=1e-9)
    np.testing.assert_allclose(lab.ends, np.array([2, 5, 6]) * period, atol=1e-9)
    # ChordMini asks for the label at multiples of a rounded period.
    times = np.arange(6) * 0.09288
    inside = (lab.starts <= times[:, None]) & (times[:, None] < lab.ends)
    assert inside.argmax(axis=1).tolist() == [0, 0, 1, 1, 1, 2]


def test_names_that_collide(tmp_path: Path) -> None:
    ids = ["a/b.mp3", "a/b.flac", "c.d/e", "f.mp3#+3", "f.mp3", "live 3.5 mix"]
    fill(tmp_path / "s", [song(i, 3, id=name) for i, name in enumerate(ids)], seal=False)
    assert Store(tmp_path / "s").export(tmp_path / "out", "chordmini") == 6
    found = {file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*.lab")}
    assert found == {"a/b.mp3.lab", "a/b.flac.lab", "c.d/e.lab", "f#+3.lab", "f.lab", "live 3.5 mix.lab"}


@pytest.mark.parametrize("name", ["../up.mp3", "/abs.mp3", "a/../../b.mp3", ""])
@pytest.mark.parametrize("format", ["npz", "chordmini"])
def test_names_that_point_outside(tmp_path: Path, name: str, format: str) -> None:
    fill(tmp_path / "s", [song(1, 3, id=name), song(2, 3, id="0.mp3")], seal=False)
    with pytest.raises(UsageError, match="points out of the folder of an export"):
        Store(tmp_path / "s").export(tmp_path / "out", format)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    fill(tmp_path / "s", [song(1, 3, posteriors=None)], seal=False, identity=StoreIdentity())
    with pytest.raises(UsageError, match="unknown format 'mp3' of an export; choose npz or chordmini"):
        Store(tmp_path / "s").export(tmp_path / "out", "mp3")
    with pytest.raises(StoreError, match="made without a teacher; export it as npz"):
        Store(tmp_path / "s").export(tmp_path / "out", "chordmini")


def test_numbers(tmp_path: Path) -> None:
    p = np.full((40, 170), 1e-4, np.float32)
    p[:10, 1], p[10:20, 15], p[20:, 169] = 1, 1, 3
    fill(
        tmp_path / "s", [song(1, 40, posteriors=p), song(2, 5), failed("x.mp3"), failed("y.mp3", "silent")], seal=False
    )
    found = summary(Store(tmp_path / "s"))
    assert found["outcomes"] == {"ok": 2, "silent": 1, "unreadable": 1}
    assert (found["songs"], found["frames"], found["unsealed"], found["shards"]) == (4, 45, 4, 0)
    assert found["hours"] == pytest.approx(45 * 2048 / 22050 / 3600)
    assert found["bytes"] == 45 * (4 + 288 + 2 + 2 + 2 + 16 + 16)
    rows = Store(tmp_path / "s").rows
    assert found["confidence"] == pytest.approx((rows[0].confidence * 40 + rows[1].confidence * 5) / 45)  # type: ignore[operator]
    assert sum(found["qualities"].values()) == pytest.approx(1)
    assert found["qualities"]["N"] >= 20 / 45
    assert found["qualities"]["maj"] >= 10 / 45
    assert found["identity"]["posteriors"] == "top 8"
