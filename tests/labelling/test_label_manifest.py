"""The manifest: whole rows whatever happens."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chordfast.errors import ChordfastError, UsageError
from chordfast.labelling.manifest import NAME, Manifest, Row, files, held, read


def test_rows_come_back_and_the_last_one_counts(tmp_path: Path) -> None:
    first = Row("a/x.mp3", "timeout", note="slow")
    second = Row("a/x.mp3", "ok", {"lab": "a/x.lab"}, 12.5, 100, 10**18 + 1, "crema", "m", "f", "o", 0.75)
    with Manifest(tmp_path / "new" / "out") as book:
        book.append(first)
        book.append(Row("\udcff\n\u00fc.mp3", "silent"))
        book.append(second)
    rows = read(tmp_path / "new" / "out" / NAME)
    assert rows["a/x.mp3"] == second
    assert set(rows) == {"a/x.mp3", "\udcff\n\u00fc.mp3"}
    assert len((tmp_path / "new" / "out" / NAME).read_bytes().splitlines()) == 3


@pytest.mark.parametrize("torn", [b'{"path":"b.mp3","outco', b"\x00\x00\x00", b'{"path":"b.mp3","outcome":"ok"}'])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    with Manifest(tmp_path) as book:
        book.append(Row("a.mp3", "ok"))
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole + torn)
    with Manifest(tmp_path) as book:
        assert set(book.rows) == {"a.mp3"}
        assert (tmp_path / NAME).read_bytes() == whole
        book.append(Row("c.mp3", "ok"))
    assert set(read(tmp_path / NAME)) == {"a.mp3", "c.mp3"}


def test_lines_that_are_no_rows_are_passed_over(tmp_path: Path) -> None:
    lines = [
        b"[1]",
        b"nonsense",
        b'{"path":"x"}',
        b'{"path":"y","outcome":"odd"}',
        b'{"path":"y","outcome":"ok","when":"late"}',
        b'{"path":7,"outcome":"ok"}',
        b'{"path":"z","outcome":"ok","new":1}',
    ]
    (tmp_path / NAME).write_bytes(b"\n".join(lines) + b"\n")
    assert set(read(tmp_path / NAME)) == {"z"}
    assert read(tmp_path / "missing") == {}


def test_two_runs_cannot_share_a_folder(tmp_path: Path) -> None:
    with Manifest(tmp_path), pytest.raises(UsageError, match="another run is writing to"):
        Manifest(tmp_path)
    Manifest(tmp_path).close()


def test_an_append_that_fails_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Manifest(tmp_path) as book:
        book.append(Row("a.mp3", "ok"))
        before = (tmp_path / NAME).read_bytes()
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            book.append(Row("b.mp3", "ok"))
        assert (tmp_path / NAME).read_bytes() == before


def test_a_part_of_a_row_is_taken_back(tmp_path: Path) -> None:
    """A real short write: the file may not grow beyond 300 bytes."""
    program = (
        "import resource, signal, sys; from chordfast.labelling.manifest import Manifest, Row\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))\n"
        "book = Manifest(sys.argv[1]); book.append(Row('a.mp3', 'ok'))\n"
        "try: book.append(Row('b' * 400, 'ok'))\n"
        "except OSError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
    (line,) = (tmp_path / NAME).read_bytes().splitlines()
    assert json.loads(line)["path"] == "a.mp3"


def test_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ChordfastError, match=r"cannot write to the output folder .*file: .*; choose another with -o"):
        Manifest(tmp_path / "file")
    with pytest.raises(ChordfastError, match="Not a directory"):
        Manifest(tmp_path / "file" / "out")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with (
        pytest.warns(UserWarning, match="has no locks .*; see to it that no shard runs twice"),
        Manifest(tmp_path) as book,
    ):
        book.append(Row("a.mp3", "ok"))
    assert set(read(tmp_path / NAME)) == {"a.mp3"}
    assert held(tmp_path / NAME) is None


def test_held(tmp_path: Path) -> None:
    with Manifest(tmp_path, "1-of-2") as book:
        assert held(book.path) is True
    assert held(book.path) is False
    assert held(tmp_path / "missing") is None


def test_files(tmp_path: Path) -> None:
    for name in ("manifest.jsonl", "manifest.3-of-8.jsonl", "manifest.old.jsonl", "manifest.3-of-8.jsonl.bak", "a.lab"):
        (tmp_path / name).write_text("")
    assert files(tmp_path) == {"": tmp_path / "manifest.jsonl", "3-of-8": tmp_path / "manifest.3-of-8.jsonl"}
    assert files(tmp_path / "a.lab") == files(tmp_path / "none") == {}
