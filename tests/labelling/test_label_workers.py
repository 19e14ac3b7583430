"""Workers that die, hang or swell, and runs that are stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelling_fakes import TemplateRecogniser, extract, write_songs

from chordfast.errors import ChordfastError, ModelError
from chordfast.labelling import LabellingInterrupted, label_folder
from chordfast.labelling.manifest import NAME, Row, read


def rows_of(songs: Path, out: Path, **settings: Any) -> dict[str, Row]:
    label_folder(songs, out, TemplateRecogniser(), extract=extract, **{"jobs": 1, **settings})
    return read(out / NAME)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Any, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_dead_worker_costs_one_file(tmp_path: Path) -> None:
    songs = write_songs(
        tmp_path / "in", a="kill", b="C", c="segfault", d="exit", e="bug", f="memory 2", g="G", bb="grumble"
    )
    rows = rows_of(songs, tmp_path / "out", memory_limit=1 << 30)
    assert {key: row.outcome for key, row in rows.items()} == {
        "a.wav": "crashed", "b.wav": "ok", "bb.wav": "ok", "c.wav": "crashed", "d.wav": "crashed", "e.wav": "crashed",
        "f.wav": "crashed", "g.wav": "ok",
    }  # fmt: skip
    assert rows["a.wav"].note == "the worker process was killed by SIGKILL"
    assert rows["c.wav"].note.startswith(
        "the worker process was killed by SIGSEGV (Fatal Python error: Segmentation fault"
    )
    assert rows["d.wav"].note == "the worker process ended with exit code 7"
    assert rows["e.wav"].note == "RuntimeError: a bug"
    assert "memory" in rows["f.wav"].note


def test_a_worker_killed_from_outside_in_mid_file(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    songs = write_songs(tmp_path / "in", a=f"hang {mark}", b="C")
    program = (
        "import os, signal, sys, time, pathlib\n"
        "mark = pathlib.Path(sys.argv[1])\n"
        "while not (mark.exists() and mark.read_text()): time.sleep(0.02)\n"
        "os.kill(int(mark.read_text()), signal.SIGKILL)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(mark)]):
        rows = rows_of(songs, tmp_path / "out")
    assert rows["a.wav"].outcome == "crashed"
    assert rows["a.wav"].note == "the worker process was killed by SIGKILL"
    assert rows["b.wav"].outcome == "ok"


def test_a_file_that_takes_too_long(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    songs = write_songs(tmp_path / "in", a=f"hang {mark}", b="C", c="slow 0.01")
    rows = rows_of(songs, tmp_path / "out", timeout=0.5)
    assert {key: row.outcome for key, row in rows.items()} == {"a.wav": "timeout", "b.wav": "ok", "c.wav": "ok"}
    assert rows["a.wav"].note == "took longer than 0.5 s; see --timeout"
    assert not alive(int(mark.read_text()))


def test_workers_know_neither_torch_nor_the_terminal(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "in", a="modules")
    rows = rows_of(songs, tmp_path / "out")
    modules = rows["a.wav"].note.split()
    assert "numpy" in modules
    assert not {"torch", "rich", "click", "librosa"} & set(modules)


def test_a_worker_that_cannot_start_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    songs = write_songs(tmp_path / "in", a="C")
    monkeypatch.setattr("chordfast.labelling.process._BOOTSTRAP", "raise SystemExit('no numpy here')")
    with pytest.raises(ChordfastError, match=r"a worker process could not start: exit code 1 \(no numpy here\)"):
        rows_of(songs, tmp_path / "out")


NONSENSE = """
import json, mmap, os, socket, struct, sys, time
channel = socket.socket(fileno=int(sys.argv[2])); ring = int(sys.argv[4]); channel.send(b'R')
word = open(os.fsdecode(channel.recv(65536)[5:])).read()
unit = lambda rows, room=None, index=0: b'U' + struct.pack('<BII', index, rows, rows if room is None else room)
end = lambda **said: b'E' + json.dumps({"outcome": "ok", "note": "", "decoder": "", "seconds": 1, "cpu": {}, "hash": "",
                                        "rows": [2]} | said).encode()
messages = {
    "json": [b'E{'], "list": [b'E[]'], "missing": [b'E{}'], "few": [unit(2), end(rows=[3])],
    "many": [unit(3), end(rows=[2])], "more_than_room": [unit(3, 2)], "huge": [unit(1 << 31)],
    "overfull": [unit(7000)] * 40, "plan": [unit(2, index=1)], "no_kind": [b'?'], "short": [b'U'], "ready": [b'R'],
    "pcm": [b'S' + struct.pack('<IBB', 44100, 2, 0)], "outcome": [end(outcome="fine", rows=[])],
    "infinite": [end(seconds=1e999)], "note": [end(note=["a"], cpu=[1])], "rows": [end(rows="x")], "half": [unit(2)],
    "shrink": [end(rows=[0])], "early": [end(outcome="unreadable"), end(outcome="unreadable")]}[word]
if word == "shrink":
    try:
        os.ftruncate(ring, 0)
    except PermissionError:
        messages = [end(outcome="unreadable", note="sealed")]
try:
    for message in messages: channel.send(message)
    if word == "half": os._exit(3)
    time.sleep(60)
except BrokenPipeError:
    pass
"""


def test_a_worker_that_talks_nonsense_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {
        "json": "Expecting", "list": "list indices", "missing": "'outcome'", "few": "other data", "many": "other data",
        "more_than_room": "more rows", "huge": "memory limit allows", "overfull": "", "plan": "an array nobody",
        "no_kind": "no known kind", "short": "wrong length", "ready": "no known kind", "pcm": "no known kind",
        "outcome": "impossible", "infinite": "impossible", "note": "no attribute", "rows": "invalid literal",
    }  # fmt: skip
    songs = write_songs(tmp_path / "in", **{word: word for word in [*words, "half", "shrink"]})
    monkeypatch.setattr("chordfast.labelling.process._BOOTSTRAP", NONSENSE)
    rows = rows_of(songs, tmp_path / "out", timeout=20, memory_limit=100 << 20)
    assert len(rows) == len(words) + 2
    assert rows["half.wav"].note == "the worker process ended with exit code 3"
    assert (rows["shrink.wav"].outcome, rows["shrink.wav"].note) == ("unreadable", "sealed")
    assert "more features than the memory limit allows" in rows["overfull.wav"].note
    for word, said in words.items():
        assert rows[f"{word}.wav"].outcome == "crashed"
        assert rows[f"{word}.wav"].note.startswith("the worker process sent a malformed message: "), word
        assert said in rows[f"{word}.wav"].note, word


def test_a_message_without_a_song_ends_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    songs = write_songs(tmp_path / "in", a="early", b="early")
    monkeypatch.setattr("chordfast.labelling.process._BOOTSTRAP", NONSENSE)
    rows = rows_of(songs, tmp_path / "out", timeout=20)
    assert (
        len(rows) == 2
    )  # the second message of a's worker may be taken for b's: it is not trusted, but no harm is done


def test_a_model_that_returns_nonsense_ends_the_run(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "in", a="C")

    class Broken(TemplateRecogniser):
        def posteriors(self, features: list[np.ndarray]) -> list[np.ndarray]:
            return [np.full((len(song), 170), np.nan, np.float32) for song in features]

    with pytest.raises(ModelError, match="not finite"):
        label_folder(songs, tmp_path / "out", Broken(), extract=extract, jobs=1)
    assert not (tmp_path / "out/a.lab").exists()
    assert read(tmp_path / "out" / NAME) == {}


PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[3])
from labelling_fakes import TemplateRecogniser, extract
from chordfast.labelling import LabellingInterrupted, label_folder
try:
    summary = label_folder(sys.argv[1], sys.argv[2], TemplateRecogniser(), extract=extract, jobs=2, batch_frames=100)
except LabellingInterrupted as stop:
    print(stop.signum, stop.summary.labelled, flush=True)
    raise SystemExit(128 + stop.signum)
"""


def start(songs: Path, out: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", PROGRAM, str(songs), str(out), str(Path(__file__).parent)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_order_and_the_next_continues(tmp_path: Path, signum: signal.Signals) -> None:
    mark, out = tmp_path / "pid", tmp_path / "out"
    songs = write_songs(tmp_path / "in", **{f"a{i}": "C" for i in range(6)}, b=f"hang {mark}")
    with start(songs, out) as process:
        assert until(lambda: mark.exists() and mark.read_text() and len(read(out / NAME)) >= 4)
        os.killpg(process.pid, signum)  # to the group, as a terminal does
        printed, errors = process.communicate(timeout=10)
    assert process.returncode == 128 + signum, errors
    assert errors == ""
    assert not alive(int(mark.read_text()))
    done = read(out / NAME)
    assert printed.split() == [str(int(signum)), str(len(done))]
    assert {p.name for p in out.iterdir()} - {NAME, "run.json"} == {Path(key).stem + ".lab" for key in done}
    (songs / "b.wav").write_text("G")
    rest = label_folder(songs, out, TemplateRecogniser(), extract=extract, jobs=1)
    assert rest.labelled == 7 - len(done)
    assert rest.outcomes == {"ok": 7}


def test_kill_minus_nine_leaves_no_workers_and_whole_files(tmp_path: Path) -> None:
    mark, out = tmp_path / "pid", tmp_path / "out"
    songs = write_songs(tmp_path / "in", a="C", b=f"hang {mark}")
    with start(songs, out) as process:
        assert until(lambda: mark.exists() and mark.read_text())
        process.kill()
    assert until(lambda: not alive(int(mark.read_text())))
    for line in (out / NAME).read_bytes().splitlines():
        json.loads(line)


def test_kill_at_any_moment_and_start_again(tmp_path: Path) -> None:
    words = {f"s{i:02d}": word for i, word in enumerate(["C", "D", "silent", "E", "unreadable", "F"] * 4)}
    songs = write_songs(tmp_path / "in", **words)
    whole, out = tmp_path / "whole", tmp_path / "out"
    label_folder(songs, whole, TemplateRecogniser(), extract=extract, jobs=2)
    for pause in (0.35, 0.42, 0.5):
        with start(songs, out) as process:
            time.sleep(pause)
            process.kill()
    label_folder(songs, out, TemplateRecogniser(), extract=extract, jobs=2)

    def labels(folder: Path) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in folder.glob("*.lab")}

    assert labels(out) == labels(whole)
    assert {k: row.outcome for k, row in read(out / NAME).items()} == {
        k: row.outcome for k, row in read(whole / NAME).items()
    }


def test_keyboard_interrupt_is_what_callers_see() -> None:
    assert issubclass(LabellingInterrupted, KeyboardInterrupt)
