"""``chordfast view``: arguments, what is written, and what is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from chordfast.cli import cli


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    soundfile.write("song.wav", np.zeros(22050), 22050)
    Path("a.lab").write_text("0 1 C:maj\n")
    Path("labels").mkdir()
    Path("labels/b.lab").write_text("0 1 D:min\n")
    return tmp_path


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, ["view", *map(str, arguments)])


def test_a_song(here: Path) -> None:
    result = invoke("song.wav", "a.lab", "labels/b.lab", "-o", "song.html", "--title", "My <song>")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("song.html: ")
    page = Path("song.html").read_text()
    assert "<title>My &lt;song&gt;</title>" in page
    assert '"audio":"./song.wav"' in page
    assert '"D:min"' in page
    assert invoke("a.lab", "--transpose", "-2", "-o", "song.html").exit_code == 0
    assert '"labels":["A#"]' in Path("song.html").read_text()


def test_a_gallery(here: Path) -> None:
    result = invoke("--gallery", "labels", "--compare", ".", "--pages", "pages", "--audio", ".", "-o", "gallery.html")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "warning: b.lab: no b.lab; its page shows labels alone" in result.stderr
    assert "pages: 1 pages" in result.stderr
    assert Path("pages/b.html").is_file()
    assert '"./pages/b.html"' in Path("gallery.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["gone.wav", "-o", "x.html"], 2, "no such file: gone.wav"),
        (["labels", "-o", "x.html"], 2, "labels is a folder; use --gallery"),
        (["song.wav", "song.wav", "-o", "x.html"], 2, "one page shows one recording, not song.wav and song.wav"),
        (["a.lab", "--embed", "-o", "x.html"], 2, "there is no recording to embed"),
        (["a.lab", "--pages", "p", "-o", "x.html"], 2, "belong to --gallery"),
        (["--gallery", "labels", "labels", "-o", "x.html"], 2, "--gallery takes one folder"),
        (["--gallery", "labels", "--embed", "-o", "x.html"], 2, "belong to the page of one song"),
        (["--gallery", "labels", "--audio", ".", "-o", "x.html"], 2, "say with --pages where to write them"),
        (["--gallery", "nowhere", "-o", "x.html"], 2, "no such folder: nowhere"),
        (["a.lab", "-o", "none/x.html"], 1, "cannot write none/x.html: the folder does not exist; create it"),
        (["bad.lab", "-o", "x.html"], 1, "bad.lab, line 2: the segment '2 1 C' ends before it starts"),
        (["text.mp3", "-o", "x.html"], 1, "text.mp3 cannot be decoded"),
        (["a.lab"], 2, "Missing option"),
    ],
)
def test_errors_are_one_sentence(here: Path, arguments: list[str], code: int, said: str) -> None:
    Path("bad.lab").write_text("0 1 C\n2 1 C\n")
    Path("text.mp3").write_text("this is no music")
    result = invoke(*arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert not Path("x.html").exists()


def test_help_needs_neither_torch_nor_numpy_and_pages_no_torch(here: Path) -> None:
    program = (
        "import sys; from chordfast.cli import cli\n"
        "def run(*a):\n"
        "    try: cli(['view', *a])\n"
        "    except SystemExit: pass\n"
        "run('--help')\nassert not {'torch', 'numpy'} & set(sys.modules), 'heavy'\n"
        "run('song.wav', 'a.lab', '-o', 'x.html')\nassert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--gallery" in done.stdout
    assert Path("x.html").is_file()
