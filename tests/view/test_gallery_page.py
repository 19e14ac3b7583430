"""The index page of a labelled folder as text and data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from written_pages import HOSTILE, data_of, policy_of

from chordfast.annotations import Annotation, write
from chordfast.errors import ChordfastError, UsageError
from chordfast.labelling.manifest import Manifest, Row
from chordfast.view import gallery_page, write_gallery
from chordfast.view.gallery import Pages, read_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two labelled songs and one unreadable, by a real manifest; the first of them was labelled twice."""
    root = tmp_path / "labels"
    (root / "sub").mkdir(parents=True)
    song = Annotation(np.array([0.0, 2.0]), np.array([2.0, 4.0]), ["C:maj", "G:maj"])
    write(song, root / "a.lab")
    write(song, root / "sub/b.lab")
    write(song, root / "sub/b.json", "json")
    with Manifest(root) as manifest:
        manifest.append(Row("a.mp3", "timeout"))
        manifest.append(Row("a.mp3", "ok", {"lab": "a.lab"}, 4.0, confidence=0.75))
        manifest.append(Row("sub/b.mp3", "truncated", {"lab": "sub/b.lab", "json": "sub/b.json"}, 4.0, note=HOSTILE))
        manifest.append(Row("c.mp3", "unreadable", note="no audio"))
    return root


def rows(page: str) -> dict[str, dict[str, Any]]:
    data = data_of(page)
    named = [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]
    return {row["path"]: row for row in named}


def test_rows_of_a_manifest(folder: Path) -> None:
    page = gallery_page(folder, out=folder / "g.html")
    found = rows(page)
    assert list(found) == ["a.mp3", "sub/b.mp3", "c.mp3"]
    assert found["a.mp3"] == {
        "path": "a.mp3", "url": None, "seconds": 4.0, "confidence": 0.75, "outcome": "ok", "note": "", "differ": None,
        "strip": "0" * 48 + "S" * 48,
    }  # fmt: skip
    assert found["sub/b.mp3"]["note"] == HOSTILE
    assert found["c.mp3"]["strip"] == ""
    assert policy_of(page).startswith("default-src 'none'; ")
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert "http" not in page.replace("http-equiv", "")


def test_json_is_preferred_and_paths_stay_inside(folder: Path) -> None:
    with open(folder / "manifest.jsonl", "a") as manifest:
        row = {"path": "d.mp3", "outcome": "ok", "outputs": {"lab": "../../x.lab"}, "seconds": 1, "confidence": None}
        manifest.write(json.dumps(row) + '\n[1]\n{"path": 3}\n{"path": "torn')
    entries = {entry.path: entry for entry in read_folder(folder)}
    assert entries["sub/b.mp3"].labels == "sub/b.json"
    assert entries["d.mp3"].labels is None
    assert len(entries) == 4


def test_compared_with_other_labels(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref/a.lab").write_text("0 3 C\n3 4 G\n")
    page = gallery_page(folder, compare=tmp_path / "ref")
    assert rows(page)["a.mp3"]["differ"] == 0.25
    assert rows(page)["sub/b.mp3"]["differ"] is None
    assert data_of(page)["compared"] == "ref"


def test_a_label_file_that_cannot_be_read_becomes_a_note(folder: Path) -> None:
    (folder / "a.lab").write_text("0 1\n")
    assert "a.lab, line 1: '0 1' has fewer than three fields" in rows(gallery_page(folder))["a.mp3"]["note"]


def test_a_folder_without_a_manifest(folder: Path) -> None:
    (folder / "manifest.jsonl").unlink()
    found = rows(gallery_page(folder))
    assert list(found) == ["a.lab", "sub/b.json"]
    assert found["a.lab"]["seconds"] == 4.0


def test_pages_with_and_without_audio(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    soundfile.write(tmp_path / "music" / "a.mp3", np.zeros(88200), 22050, format="WAV")
    pages = Pages(tmp_path / "pages", tmp_path / "music")
    seen: list[tuple[int, int]] = []
    write_gallery(folder, tmp_path / "g.html", pages=pages, progress=lambda done, all: seen.append((done, all)))
    found = rows((tmp_path / "g.html").read_text())
    assert [row["url"] for row in found.values()] == ["./pages/a.html", "./pages/sub/b.html", None]
    assert data_of((tmp_path / "pages/a.html").read_text())["audio"] == "../music/a.mp3"
    assert data_of((tmp_path / "pages/sub/b.html").read_text())["audio"] is None
    assert (pages.written, seen) == (2, [(1, 3), (2, 3), (3, 3)])
    assert len(pages.troubles) == 1
    assert pages.troubles[0].startswith("sub/b.mp3: no ")
    write_gallery(folder, folder / "g.html", pages=Pages(folder))
    write_gallery(folder, folder / "again.html")  # pages beside the labels are found
    assert rows((folder / "again.html").read_text())["a.mp3"]["url"] == "./a.html"


def test_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such folder: .*nowhere"):
        gallery_page(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"no such folder: .*nowhere"):
        gallery_page(folder, compare=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds neither a manifest"):
        gallery_page(tmp_path / "empty")
    with pytest.raises(ChordfastError, match="the folder does not exist; create it"):
        write_gallery(folder, tmp_path / "none" / "g.html")


def test_shards_make_one_gallery(tmp_path: Path) -> None:
    """Every shard's rows, and of a song that two have labelled the newest."""
    for shard, row in (
        ("1-of-2", Row("b.mp3", "timeout")),
        ("0-of-2", Row("a.mp3", "ok", {"lab": "a.lab"}, 4.0)),
        ("0-of-1", Row("b.mp3", "ok", {"lab": "b.lab"}, 3.0)),
    ):
        with Manifest(tmp_path, shard) as manifest:
            manifest.append(row)
    found = sorted((entry.path, entry.outcome, entry.seconds) for entry in read_folder(tmp_path))
    assert found == [("a.mp3", "ok", 4.0), ("b.mp3", "ok", 3.0)]
