"""What a run says while it runs and when it has ended."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from labelling_fakes import write_songs

from chordfast.errors import UsageError
from chordfast.labelling import progress
from chordfast.labelling.manifest import Row
from chordfast.labelling.paths import Source
from chordfast.labelling.progress import Progress
from chordfast.labelling.summary import Job, Summary, span
from chordfast.labelling.use import Use


def summary_of(*sizes: int) -> Summary:
    return Summary(planned=[Job(Source(Path(f"{i}"), f"{i}", size, 0), {}, "new") for i, size in enumerate(sizes)])


def test_status_counts_files_hours_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    summary, stream = summary_of(1000, 1000, 6000), io.StringIO()
    with Progress(summary, "plain", stream) as shown:
        assert shown.status() == "0/3 files, 0.00 h of audio"
        summary.add(Row("0", "ok", seconds=1800.0, size=1000))
        summary.add(Row("1", "timeout", note="slow", size=1000))
        now[0] += 20.0
        assert shown.status() == "2/3 files, 0.50 h of audio, 90 x real time, 1 min 00 s left, 1 failed"
        shown.failed(summary.failures[0])
        shown.tick()
        shown.tick()  # too early for another line
        now[0] += progress.LINE_INTERVAL
        shown.tick()
        now[0] += 60.0
        shown.tick()
        now[0] += progress.LINE_INTERVAL  # after a minute a line every half minute is enough
        shown.tick()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "timeout: 1: slow"
    assert len(lines) == 4
    assert "72 x real time" in lines[2]


def test_quiet_is_quiet() -> None:
    stream = io.StringIO()
    with Progress(summary_of(1), False, stream) as shown:
        shown.tick()
        shown.failed(Row("x", "timeout"))
    assert stream.getvalue() == ""


def test_names_that_are_no_text_can_be_shown() -> None:
    stream = io.StringIO()
    with Progress(summary_of(1), "plain", stream) as shown:
        shown.failed(Row("caf\udce9.mp3", "unreadable", note="[bold]"))
    assert stream.getvalue().splitlines()[-1] == "unreadable: caf\\udce9.mp3: [bold]"


def test_json_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    summary, stream = summary_of(1000, 3000), io.StringIO()
    summary.devices = [Use("cuda:0", files=1, audio=1800.0, busy=4.0, since=100.0)]
    with Progress(summary, stream=stream) as shown:
        summary.add(Row("0", "ok", seconds=1800.0, size=1000))
        shown.failed(Row("caf\udce9.mp3", "unreadable", note="why"))
        now[0] += 10.0
        shown.tick()
        shown.tick()
    failed, progress_line, end = map(json.loads, stream.getvalue().splitlines())
    assert failed == {"event": "failed", "path": "caf\udce9.mp3", "outcome": "unreadable", "note": "why"}
    assert progress_line == {
        "event": "progress", "files": 1, "of": 2, "hours": 0.5, "speed": 180.0, "failed": 0, "seconds": 10.0,
        "left": 30.0,
        "devices": [{"name": "cuda:0", "files": 1, "hours": 0.5, "speed": 180.0, "idle": 0.6}],
    }  # fmt: skip
    assert end == {**progress_line, "event": "end"}


def test_plain_lines_tell_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 20.0)
    summary, stream = summary_of(1000), io.StringIO()
    summary.devices = [Use("cuda:1", files=2, audio=3600.0, busy=5.0, since=10.0), Use("cpu")]
    shown = Progress(summary, "plain", stream)
    monkeypatch.setattr(time, "monotonic", lambda: 30.0)
    shown.tick()
    assert stream.getvalue() == (
        "0/1 files, 0.00 h of audio; cuda:1: 2 files, 1.00 h, 180 x real time, idle 75%\n"
    )  # fmt: skip


def test_a_progress_nobody_knows() -> None:
    with pytest.raises(UsageError, match="unknown progress 'loud'; choose from auto, rich, json, plain, none"):
        Progress(summary_of(1), "loud")


def test_devices_that_wait_for_decoding() -> None:
    def uses(*busy: float) -> list[Use]:
        return [Use(f"cuda:{i}", 1, 3600.0, seconds, 0.0, 10.0) for i, seconds in enumerate(busy)]

    summary = Summary(wall=10.0, devices=uses(9.5, 9.0))
    summary.add(Row("a", "ok", seconds=7200.0))
    assert summary.starved == ""
    assert "device    cuda:1: 1 files, 1.00 h, 360 x real time, idle 10%" in summary.lines()
    summary.devices = uses(9.0, 3.0)
    assert summary.lines()[-1] == (
        "devices   decoding feeds 60% of what the devices could take; add cores or fewer --gpus"
    )
    summary.devices = [Use("cpu", busy=1.0, since=0.0, until=10.0)]
    assert summary.starved == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.9, "9.9 s"), (41.6, "42 s"), (185, "3 min 05 s"), (7810, "2 h 10 min")]
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_report_of_speed_and_shares() -> None:
    summary = Summary(wall=10.0, cpu_total=18.0, skipped=2)
    summary.add(
        Row("a", "ok", seconds=7200.0, cpu={"decode": 9.0, "ingest": 1.0, "cqt": 2.0, "model": 4.0, "labels": 1.1})
    )
    assert summary.speed == 720
    assert summary.speed_per_core == 400
    assert summary.shares() == pytest.approx(
        {"decode": 0.5, "ingest": 1 / 18, "cqt": 1 / 9, "model": 2 / 9, "labels": 1.1 / 18, "rest": 0.9 / 18}
    )
    assert summary.lines() == [
        "outcomes  1 ok (2 from earlier runs)",
        "speed     2.00 h of audio in 10 s: 720 x real time, 400 x per core",
        "cpu       audio decoding 50%, mix-down and resampling 6%, constant-Q transform 11%, model 22%, "
        "chord decoding and writing 6%, rest 5%",
    ]
    assert summary.lines(profile=True)[2] == "cpu            9.00 s   50.0%  audio decoding"


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[3])
from labelling_fakes import TemplateRecogniser, extract
from chordfast.labelling import label_folder
label_folder(sys.argv[1], sys.argv[2], TemplateRecogniser(), extract=extract, jobs=1, progress=True)
"""


def test_live_line_on_a_terminal(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "in", a="C", b="unreadable", c="slow 0.5")
    ours, theirs = pty.openpty()
    arguments = [sys.executable, "-c", PROGRAM, str(songs), str(tmp_path / "out"), str(Path(__file__).parent)]
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    with subprocess.Popen(arguments, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            shown += part
        assert process.wait() == 0, shown.decode()
    os.close(ours)
    text = shown.decode()
    assert "/3 files, " in text
    assert "h of audio" in text
    assert "unreadable: b.wav: " in text
