"""``--store``: filled beside the labels, complete whatever was there before, by many shards at once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelling_fakes import TemplateRecogniser, extract, song, write_songs

from chordfast.errors import StoreError, UsageError
from chordfast.labelling import Summary, label_folder
from chordfast.labelling.manifest import NAME, Manifest, read, read_all
from chordfast.labelling.status import status
from chordfast.store import Store

pytest.importorskip("pyarrow")


def run(folder: Path, out: Path, **settings: Any) -> Summary:
    return label_folder(folder, out, TemplateRecogniser(), extract=extract, **{"jobs": 1, **settings})


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    return write_songs(tmp_path / "in", a="C", b__c="G", d="silent", g="unreadable", h="truncated")


def test_what_lands_in_the_store(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path / "out", store=tmp_path / "store", top=4)
    store = Store(tmp_path / "store")
    rows = read(tmp_path / "out" / NAME)
    assert {row.id: row.outcome for row in store.rows} == {key: row.outcome for key, row in rows.items()}
    assert all(row.shard for row in store.rows)  # sealed
    assert {row.store for row in rows.values()} == {store.identity.hash}
    assert (store.identity.teacher, store.identity.top, store.identity.posteriors) == ("templates", 4, "topk")
    for key in ("a.wav", "b/c.wav"):
        assert store.row(key).source_hash == rows[key].source_hash
        assert set(store.target(key).tolist()) == {14 * (0 if key == "a.wav" else 7) + 1}
        np.testing.assert_allclose(store.features(key), song(0 if key == "a.wav" else 7).features, atol=0.01)
    assert store.row("d.wav").frames == 0


def test_what_is_not_in_the_store_yet_is_done_again(songs: Path, tmp_path: Path) -> None:
    out, store = tmp_path / "out", tmp_path / "store"
    run(songs, out)
    planned = run(songs, out, store=store, dry_run=True)
    assert {job.source.key: job.reason for job in planned.planned} == dict.fromkeys(
        ("a.wav", "b/c.wav", "d.wav", "h.wav"), "not in the store yet"
    )
    assert not store.exists()
    assert run(songs, out, store=store).labelled == 4
    assert run(songs, out, store=store).labelled == 0
    assert run(songs, out).labelled == 0
    write_songs(songs, new="D")
    run(songs, out)  # without the store
    assert [job.source.key for job in run(songs, out, store=store, dry_run=True).planned] == ["new.wav"]
    assert run(songs, out, store=store).labelled == 1
    assert len(run(songs, out, store=tmp_path / "another", dry_run=True).planned) == 5


def test_status_counts_what_the_store_lacks(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path / "out", store=tmp_path / "store")
    assert status(tmp_path / "out").whole.missing == 0
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    assert {job.reason for job in status(tmp_path / "out").missing} == {"not in the store yet"}


def test_a_store_of_another_kind_is_refused(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path / "out", store=tmp_path / "store")
    for dry_run in (True, False):
        with pytest.raises(StoreError, match="number of top classes 8 instead of 5; give this run another folder"):
            run(songs, tmp_path / "out", store=tmp_path / "store", top=5, dry_run=dry_run)
    with pytest.raises(UsageError, match="unknown kind of posteriors 'most'; choose from topk, full8, full, none"):
        run(songs, tmp_path / "out", store=tmp_path / "new", store_posteriors="most")


def test_without_pyarrow_it_is_said_at_once(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="pip install 'chordfast"):
        run(songs, tmp_path / "out", store=tmp_path / "store")
    assert not (tmp_path / "out").exists()


SHARD = """
import sys
sys.path.insert(0, sys.argv[1])
from labelling_fakes import TemplateRecogniser, extract
from chordfast.labelling import label_folder
label_folder(sys.argv[2], sys.argv[3], TemplateRecogniser(), extract=extract, jobs=1, num_shards=2,
             shard=int(sys.argv[5]), store=sys.argv[4])
"""


def test_two_shards_at_once_and_then_another_division(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "in", **{f"s{i}": "CDEFGAB"[i % 7] for i in range(12)})
    out, store = tmp_path / "out", tmp_path / "store"
    arguments = [sys.executable, "-c", SHARD, str(Path(__file__).parent), str(songs), str(out), str(store)]
    processes = [subprocess.Popen([*arguments, str(index)]) for index in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert {row.id for row in Store(store).rows} == read_all(out).keys()
    assert {row.writer for row in Store(store).rows} == {"0-of-2", "1-of-2"}
    assert run(songs, out, store=store).labelled == 0
    write_songs(songs, new="D")
    done = sum(run(songs, out, store=store, num_shards=5, shard=index).labelled for index in range(5))
    assert (done, len(Store(store).rows)) == (1, 13)


def test_a_row_whose_song_the_store_lost(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(songs, out, store=tmp_path / "store")
    write_songs(songs, x="C")
    run(songs, out)
    with Manifest(out) as book:  # claims more than is there
        book.append(replace(book.rows["x.wav"], store=book.rows["a.wav"].store))
    planned = run(songs, out, store=tmp_path / "store", dry_run=True).planned
    assert [(job.source.key, job.reason) for job in planned] == [("x.wav", "not in the store yet")]
