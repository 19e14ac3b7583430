"""``chordfast info``, and the group itself: lazy help, exit codes, Ctrl-C, a closed pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import chordfast
from chordfast._native import native
from chordfast.cli import COMMANDS, cli
from chordfast.errors import AudioError, UsageError

PROGRAM = [sys.executable, "-m", "chordfast"]


def test_info_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "crema-0.2.0.safetensors").touch()
    monkeypatch.setenv("CHORDFAST_CACHE", str(tmp_path))
    monkeypatch.setenv("CHORDFAST_THREADS", "3")
    found = json.loads(CliRunner().invoke(cli, ["info", "--json"]).stdout)
    import numpy
    import torch

    assert found["chordfast"] == chordfast.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["packages"]["numpy"] == numpy.__version__
    assert found["packages"]["torch"] == torch.__version__
    assert found["simd"] == native().build_info()["simd"]
    assert found["cuda_built"] is native().build_info()["with_cuda"]
    assert len(found["cuda_devices"]) == len(native().cuda_devices())
    assert (found["cache"], found["models"], found["threads"]) == (str(tmp_path), ["crema-0.2.0"], 3)
    assert found["cpu"] and found["problems"] == []


def test_info_text_and_a_broken_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHORDFAST_THREADS", "many")
    result = CliRunner().invoke(cli, ["info"])
    assert result.exit_code == 0
    lines = {line[:14].strip(): line[15:] for line in result.stdout.splitlines()}
    assert lines["chordfast"] == chordfast.__version__
    assert lines["problems"].startswith("CHORDFAST_THREADS is 'many'")
    assert lines["threads"] == "none"


def test_help_lists_every_command_without_torch_or_numpy() -> None:
    code = (
        "import sys\nfrom chordfast.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print({'torch', 'numpy', 'rich', 'chordfast._C'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    for name, (_, line) in COMMANDS.items():
        assert f"  {name}" in done.stdout and line in done.stdout


def test_every_command_in_the_table_has_a_help_page() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(cli, [name, "--help"])
        assert result.exit_code == 0 and result.stdout.startswith(f"Usage: cli {name}"), name


def failing(error: BaseException) -> click.Command:
    @click.command("info")
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("x is 3; give 4"), 2, "Error: x is 3; give 4"),
        (AudioError("a.wav: no\n samples"), 1, "Error: a.wav: no samples"),
        (PermissionError(13, "Permission denied", "out/a.lab"), 1, "Error: out/a.lab: Permission denied"),
        (OSError("odd"), 1, "Error: odd"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_failures_are_one_line(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str) -> None:
    monkeypatch.delenv("CHORDFAST_DEBUG", raising=False)
    monkeypatch.setattr("chordfast.cli.info.info", failing(error))
    result = CliRunner().invoke(cli, ["info"])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", line + "\n")


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHORDFAST_DEBUG", "1")
    monkeypatch.setattr("chordfast.cli.info.info", failing(UsageError("x")))
    assert isinstance(CliRunner().invoke(cli, ["info"]).exception, UsageError)


def test_usage_errors_of_the_command_line() -> None:
    assert CliRunner().invoke(cli, ["nonsense"]).exit_code == 2
    assert CliRunner().invoke(cli, ["info", "--nonsense"]).exit_code == 2
    result = CliRunner().invoke(cli, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"chordfast, version {chordfast.__version__}\n")


def test_reader_that_goes_away() -> None:
    with subprocess.Popen([*PROGRAM, "models", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_interrupted_program() -> None:
    code = (
        "import sys, time, click, chordfast.cli.info as info\n"
        "def wait():\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "info.info = click.Command('info', callback=wait)\n"
        "from chordfast.cli import main\nsys.argv[1:] = ['info']\nmain()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"interrupted\n"
    assert process.returncode == 130
