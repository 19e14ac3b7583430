"""Outputs that cannot be written: one sentence, nothing half-written, and the next start continues."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labelling_fakes import TemplateRecogniser, extract, write_songs

import chordfast.labelling.finishing
from chordfast.errors import ChordfastError, UsageError
from chordfast.labelling import OutputError, Summary, label_folder
from chordfast.labelling.manifest import NAME, read


def run(songs: Path, out: Path, **settings: Any) -> Summary:
    return label_folder(songs, out, TemplateRecogniser(), extract=extract, **{"jobs": 1, **settings})


def whole(out: Path) -> bool:
    """No temporary files, no torn rows, and every row's labels are there and end with the song."""
    files = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} - {NAME, "run.json"}
    rows = read(out / NAME)
    assert len(rows) == len((out / NAME).read_bytes().splitlines())
    assert {name for row in rows.values() for name in row.outputs.values()} <= files
    assert all(name.endswith(".lab") for name in files)
    return all((out / name).read_text().rstrip().split("\t")[1] == "6.000000" for name in files)


def test_disk_full_while_writing_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    songs, out = write_songs(tmp_path / "in", a="C", b="D", c="E"), tmp_path / "out"
    real = chordfast.labelling.finishing.atomic_write

    def full(path: Path, data: str) -> None:
        if path.name == "b.lab":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data)

    monkeypatch.setattr(chordfast.labelling.finishing, "atomic_write", full)
    with pytest.raises(OutputError) as caught:
        run(songs, out, batch_frames=1)
    assert str(caught.value) == (
        f"cannot write {out / 'b.lab'}: No space left on device; free some space and run the same command again, "
        "it continues where it stopped"
    )
    assert whole(out)
    assert set(read(out / NAME)) == {"a.wav"}
    monkeypatch.undo()
    again = run(songs, out)
    assert (again.labelled, again.skipped, again.exit_code) == (2, 1, 0)


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[None]:
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a tmpfs here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "in", **{f"s{i:02d}": "C" for i in range(20)})
    out = tmp_path / "out"
    with small_disk(out):
        with pytest.raises(OutputError, match="No space left on device; free some space"):
            run(songs, out, batch_frames=1)
        assert whole(out)
        done = len(read(out / NAME))
        assert 0 < done < 20
        subprocess.run(["mount", "-o", "remount,size=4m", str(out)], check=True)
        again = run(songs, out)
        assert (again.labelled, again.skipped, again.exit_code) == (20 - done, done, 0)
        assert whole(out)


LIMITED = """
import resource, signal, sys
sys.path.insert(0, sys.argv[3])
from labelling_fakes import TemplateRecogniser, extract
from chordfast.labelling import OutputError, label_folder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
class Limited(TemplateRecogniser):
    def posteriors(self, features):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
        return super().posteriors(features)
try:
    label_folder(sys.argv[1], sys.argv[2], Limited(), extract=extract, jobs=1, batch_frames=1)
except OutputError as error:
    print(error)
"""


def test_a_manifest_that_may_not_grow(tmp_path: Path) -> None:
    songs, out = write_songs(tmp_path / "in", **{f"s{i}": "C" for i in range(8)}), tmp_path / "out"
    arguments = [sys.executable, "-c", LIMITED, str(songs), str(out), str(Path(__file__).parent)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "File too large; raise the file size limit and run the same command again" in done.stdout, done.stderr
    assert whole(out)
    assert 0 < len(read(out / NAME)) < 8
    assert run(songs, out).outcomes == {"ok": 8}


RINGLESS = """
import resource, sys
sys.path.insert(0, sys.argv[3])
from labelling_fakes import TemplateRecogniser, extract
from chordfast.errors import ChordfastError
from chordfast.labelling import label_folder
resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
try:
    label_folder(sys.argv[1], sys.argv[2], TemplateRecogniser(), extract=extract, jobs=1)
except ChordfastError as error:
    print(error)
"""


def test_no_room_for_a_ring(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "in", a="C")
    arguments = [sys.executable, "-c", RINGLESS, str(songs), str(tmp_path / "out"), str(Path(__file__).parent)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        "cannot start a worker process: File too large; raise the file size limit (ulimit -f)"
    ), done.stderr


def test_output_below_a_file_or_read_only(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "in", a="C")
    (tmp_path / "file").write_text("")
    with pytest.raises(ChordfastError, match=r"cannot write to the output folder .*; choose another with -o"):
        run(songs, tmp_path / "file")
    with pytest.raises(ChordfastError, match=r"cannot write to the output folder .*: Not a directory"):
        run(songs, tmp_path / "file" / "out")


def test_folders_without_permission() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to others
        base = Path(name)
        songs, out, closed = write_songs(base / "in", a="C"), base / "out", write_songs(base / "closed", a="C")
        out.mkdir(mode=0o555)
        base.chmod(0o755)
        closed.chmod(0)
        with as_nobody():
            with pytest.raises(ChordfastError, match=r"cannot write to the output folder .*: Permission denied"):
                run(songs, out)
            hidden = run(base, out, dry_run=True)
            assert hidden.troubles == [f"{closed} cannot be listed (Permission denied) and was skipped"]
            assert hidden.exit_code == 1
            with pytest.raises(UsageError, match=r"cannot read .*/closed/a.wav: Permission denied"):
                run(closed / "a.wav", out)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Permissions do not bind root: give the rights up for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_subfolder_that_is_a_file(tmp_path: Path) -> None:
    songs, out = write_songs(tmp_path / "in", a="C", b__c="D"), tmp_path / "out"
    run(songs, out)
    for path in (out / "b/c.lab", out / "b"):
        path.unlink() if path.is_file() else path.rmdir()
    (out / "b").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .*/b.*: File exists; make it writable"):
        run(songs, out)
