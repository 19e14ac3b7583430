"""``chordfast store``: what is said, written, and the exit codes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from chordfast.cli import cli
from chordfast.store import SongRecord, StoreIdentity, StoreWriter

needs_pyarrow = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow")


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, ["store", *map(str, arguments)])


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "pseudo"
    with StoreWriter(path, StoreIdentity(teacher="crema", teacher_hash="abc")) as writer:
        posteriors = np.eye(170, dtype=np.float32)[[1] * 30 + [169] * 10]
        writer.add(SongRecord("a/one.mp3", "1", "ok", 3.7, np.zeros((40, 144)), posteriors))
        writer.add(SongRecord("bad.mp3", "2", "unreadable", 0.0))
    return path


def test_info(made: Path) -> None:
    result = invoke("info", made)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for line in ("teacher crema", "posteriors top 8", "songs 2 (1 ok, 1 unreadable)", "maj 75.00 %", "N 25.00 %",
                 "audio 0.00 hours, 40 frames, 12.9 KiB", "files 0 shards, 2 songs not sealed yet",
                 "superseded 0 songs, 0 B", "confidence 1.000 (mean over frames)"):  # fmt: skip
        assert line in lines
    with StoreWriter(made, None, "1") as writer:
        writer.add(SongRecord("a/one.mp3#-2", "1", "timeout", 0.0))
    assert "songs        3, 1 of them pitch-shifted (1 ok, 1 timeout, 1 unreadable)" in invoke("info", made).stdout
    found = json.loads(invoke("info", made, "--json").stdout)
    assert (found["songs"], found["shifted"]) == (3, 1)
    assert (found["frames"], found["identity"]["teacher"], found["qualities"]) == (
        40,
        "crema",
        {"maj": 0.75, "N": 0.25},
    )


def test_verify(made: Path) -> None:
    result = invoke("verify", made)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "2 songs: all as they were written\n")
    part = max(made.glob("parts/*/*/*.safetensors"), key=lambda path: path.stat().st_size)
    part.write_bytes(part.read_bytes()[:-1] + b"\x7f")
    result = invoke("verify", made)
    assert result.exit_code == 1
    assert result.stdout.endswith("song a/one.mp3, top_log_probability: is not what was written (CRC-32)\n")
    assert result.stderr == "1 damaged, of 2 songs; copy these files back, or label them again\n"


def test_export(made: Path, tmp_path: Path) -> None:
    result = invoke("export", made, tmp_path / "out", "--format", "chordmini")
    assert (result.exit_code, result.stderr) == (0, f"1 songs written to {tmp_path / 'out'}\n")
    assert (tmp_path / "out/a/one.lab").read_text().splitlines()[0] == "0.000000000\t2.786394558\tC:maj"
    result = invoke("export", made, tmp_path / "out", "--format", "wav")
    assert (result.exit_code, result.stderr) == (
        2, "Error: unknown format 'wav' of an export; choose npz or chordmini\n",
    )  # fmt: skip


@needs_pyarrow
def test_seal(made: Path) -> None:
    with StoreWriter(made, None, "7") as writer:
        writer.add(SongRecord("other.mp3", "3", "timeout", 0.0))
    assert invoke("seal", made, "--writer", "7").stderr == "1 shards written\n"
    assert invoke("seal", made).stderr == "1 shards written\n"
    assert sorted(path.name for path in made.glob("index/*")) == ["0-00000.parquet", "7-00000.parquet"]
    assert "songs not sealed" in invoke("info", made).stdout
    with StoreWriter(made, None):
        result = invoke("seal", made, "--writer", "0")
    assert (result.exit_code, result.stderr[:27]) == (2, "Error: another writer '0' i")


@pytest.mark.parametrize("command", [["info"], ["verify"], ["seal"], ["export", "out"]])
def test_no_store(tmp_path: Path, command: list[str]) -> None:
    result = invoke(command[0], tmp_path / "gone", *command[1:])
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {tmp_path / 'gone'} is not a store (no store.json); name a folder given to --store\n"
    )
    assert not (tmp_path / "gone").exists()


def test_no_torch(made: Path) -> None:
    code = (
        "import sys; from chordfast.cli import cli\n"
        "for args in (['store', '--help'], ['store', 'info', sys.argv[1]], ['store', 'verify', sys.argv[1]]):\n"
        "    cli(args, standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(made)], check=True, capture_output=True)
