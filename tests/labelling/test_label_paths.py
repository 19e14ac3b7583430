"""Which files are taken, and the names of their label files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chordfast.errors import UsageError
from chordfast.labelling.paths import check_formats, collect, output_names, read_list


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")


def keys(*arguments: object, **named: object) -> list[str]:
    return [source.key for source in collect(*arguments, **named)[0]]  # type: ignore[arg-type]


def test_one_folder_is_mirrored_below_itself(tmp_path: Path) -> None:
    touch(tmp_path / "a/b/x.mp3", tmp_path / "y.flac", tmp_path / "a/notes.txt")
    assert keys([tmp_path]) == ["a/b/x.mp3", "y.flac"]
    source = collect([tmp_path])[0][0]
    assert source.size == 5
    assert source.mtime_ns == os.stat(tmp_path / "a/b/x.mp3").st_mtime_ns


def test_several_inputs_are_mirrored_below_their_common_folder(tmp_path: Path) -> None:
    touch(tmp_path / "a/x.mp3", tmp_path / "b/x.mp3", tmp_path / "b/c/y.mp3")
    assert keys([tmp_path / "a", tmp_path / "b"]) == ["a/x.mp3", "b/c/y.mp3", "b/x.mp3"]
    assert keys([tmp_path / "b" / "c" / "y.mp3"]) == ["y.mp3"]
    assert keys([tmp_path / "b"], root=tmp_path) == ["b/c/y.mp3", "b/x.mp3"]


def test_a_file_named_twice_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a/x.mp3")
    monkeypatch.chdir(tmp_path / "a")
    assert keys([tmp_path / "a", "x.mp3", "../a/./x.mp3"]) == ["x.mp3"]


def test_a_named_file_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path / "x.unknown")
    assert keys([tmp_path / "x.unknown"]) == ["x.unknown"]


def test_a_folder_named_like_a_song_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path / "x.mp3" / "inside.wav")
    assert keys([tmp_path]) == ["x.mp3/inside.wav"]
    assert keys([tmp_path / "x.mp3"]) == ["inside.wav"]


def test_typo_in_an_input(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^no such file or folder: .*mussic$"):
        collect([tmp_path / "mussic"])


def test_missing_file_in_a_list_is_kept_for_the_manifest(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp3")
    found, _ = collect([], [tmp_path / "a.mp3", tmp_path / "gone.mp3"])
    assert [(source.key, source.size) for source in found] == [("a.mp3", 5), ("gone.mp3", 0)]


def test_nothing_and_foreign_root(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to label"):
        collect([])
    touch(tmp_path / "a/x.mp3")
    with pytest.raises(UsageError, match="does not lie below the root"):
        collect([tmp_path / "a/x.mp3"], root=tmp_path / "b")


def test_lists_by_line_or_nul() -> None:
    assert read_list(b"a b.mp3\nc.mp3\n\n") == [Path("a b.mp3"), Path("c.mp3")]
    assert read_list(b"a\nb.mp3\0c.mp3\0") == [Path("a\nb.mp3"), Path("c.mp3")]
    assert os.fsencode(read_list(b"\xff.mp3\n")[0]) == b"\xff.mp3"


def test_names_mirror_and_do_not_collide() -> None:
    names = output_names(["a/song.mp3", "a/song.flac", "b/song.mp3", "c/x.mp3"], ["lab", "json"])
    assert names == {
        "a/song.mp3": {"lab": "a/song.mp3.lab", "json": "a/song.mp3.json"},
        "a/song.flac": {"lab": "a/song.flac.lab", "json": "a/song.flac.json"},
        "b/song.mp3": {"lab": "b/song.lab", "json": "b/song.json"},
        "c/x.mp3": {"lab": "c/x.lab", "json": "c/x.json"},
    }


@pytest.mark.parametrize(
    "clashing",
    [
        ["song.mp3", "song.flac", "song.mp3.wav"],
        ["Song.mp3", "song.flac"],
        ["Song.mp3", "song.mp3"],
        ["caf\u00e9.mp3", "cafe\u0301.mp3"],
        ["STRASSE.mp3", "straße.mp3", "strasse.mp3"],
    ],
)
def test_every_clash_gets_its_own_name(clashing: list[str]) -> None:
    names = [outputs["lab"] for outputs in output_names(clashing, ["lab"]).values()]
    assert len({name.casefold() for name in names}) == len(clashing)
    reversed_names = output_names(clashing[::-1], ["lab"])
    assert [reversed_names[key]["lab"] for key in clashing] == names


def test_long_names_are_cut_and_stay_apart(tmp_path: Path) -> None:
    long = ["d/" + "ü" * 125 + ending for ending in ("a.mp3", "b.mp3", "c.au")]
    names = [outputs["jams"] for outputs in output_names(long, ["jams"]).values()]
    assert len(set(names)) == 3
    for name in names:
        assert len(os.fsencode(name.removeprefix("d/"))) <= 255
        assert name.endswith(".jams")
        (tmp_path / name.removeprefix("d/")).write_text("fits")


def test_unknown_format_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown format 'labb'; choose from .*lab.*json"):
        check_formats(["labb"])
    assert check_formats(["json", "lab", "json"]) == ("json", "lab")
