"""find_audio: order, suffixes, links."""

from __future__ import annotations

import os

import pytest

from chordfast.audio import AUDIO_SUFFIXES, find_audio


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_recursive_sorted_by_folder(tmp_path):
    touch(tmp_path, "b.mp3", "a/z.FLAC", "a/b/c.wav", "a/notes.txt", "a/._z.flac", "c.m4a", "d.mp3/inside.ogg")
    found = [path.relative_to(tmp_path).as_posix() for path in find_audio(tmp_path)]
    assert found == ["a/b/c.wav", "a/z.FLAC", "b.mp3", "c.m4a", "d.mp3/inside.ogg"]
    assert {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".webm", ".aiff"} <= AUDIO_SUFFIXES


def test_named_files_are_taken_as_they_are(tmp_path):
    touch(tmp_path, "song.dat", "x/a.wav")
    found = list(find_audio([str(tmp_path / "song.dat"), tmp_path / "x", tmp_path / "missing.mp3"]))
    assert found == [tmp_path / "song.dat", tmp_path / "x/a.wav", tmp_path / "missing.mp3"]


def test_link_loops_end_and_folders_are_visited_once(tmp_path):
    touch(tmp_path, "music/a.wav", "elsewhere/b.wav")
    (tmp_path / "music/loop").symlink_to(tmp_path / "music")
    (tmp_path / "music/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "music/again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "music/c.wav").symlink_to(tmp_path / "elsewhere/b.wav")
    (tmp_path / "music/dangling").symlink_to(tmp_path / "nowhere")
    found = [path.relative_to(tmp_path).as_posix() for path in find_audio(tmp_path / "music")]
    assert found == ["music/a.wav", "music/again/b.wav", "music/c.wav"]


def test_folder_that_cannot_be_listed_is_skipped_with_a_warning(tmp_path, monkeypatch):
    touch(tmp_path, "a/x.wav", "b/y.wav")
    real = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("a"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("chordfast.audio.finding.os.scandir", scandir)
    with pytest.warns(UserWarning, match="cannot be listed"):
        found = list(find_audio(tmp_path))
    assert found == [tmp_path / "b/y.wav"]
