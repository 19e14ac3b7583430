"""The scripts behind docs/results.md: which songs train and validate, and what the tables say."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chordfast.annotations import Annotation

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import experiment_splits  # noqa: E402
import experiment_tables  # noqa: E402
import noisy_labels  # noqa: E402


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, count in (("pop", 60), ("rare", 12)):
        for index in range(count):
            path = tmp_path / "audio" / "labelled" / name / f"{index:02d}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            path.with_suffix(".lab").touch()
    for index in range(20):
        path = tmp_path / "real" / "band" / f"{index:02d}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    path = tmp_path / "audio" / "unlabelled" / "pop" / "x.flac"
    path.parent.mkdir(parents=True)
    path.touch()
    return tmp_path


def test_what_validates_one_stage_trains_neither(data: Path) -> None:
    found = experiment_splits.splits(data)
    assert {name: (len(p["train"]), len(p["val"])) for name, p in found.items()} == {
        "stage1": (5 + 1 + 63, 15 + 3),
        "stage2": (63, 9),
        "half": (32, 9),
    }
    validating = {song for parts in found.values() for song in parts["val"]}
    training = {song for parts in found.values() for song in parts["train"]}
    assert not validating & training
    assert sum(song.startswith("audio/labelled/rare/") for song in found["stage2"]["val"]) == 4
    assert found == experiment_splits.splits(data)
    assert set(found["half"]["train"]) < set(found["stage2"]["train"])


def report(path: Path, shift: float) -> Path:
    def system(name: str, value: float) -> dict:
        songs = [
            {"song": f"{folder}/{i}", "seconds": 60.0 * (i + 1)} | dict.fromkeys(experiment_tables.SCORES, value)
            for folder in ("pop", "rare")
            for i in range(3)
        ]
        folders = [{"folder": folder, "songs": 3, "seconds": 360.0} for folder in ("pop", "rare")]
        corpus = {s: {"mean": value, "low": value - 0.1, "high": value + 0.1} for s in experiment_tables.SCORES}
        groups = {
            "maj": {"seconds": 300.0, "accuracy_with_root": value},
            "aug": {"seconds": 100.0, "accuracy_with_root": None},
        }
        quality = {"acqa": value / 2, "acqa_with_root": None, "groups": groups}
        return {"name": name, "corpus": corpus, "folders": folders, "quality": quality, "per_song": songs}

    systems = [system("crema", 0.5 + shift), system("student", 0.625 + shift)]
    path.write_text(json.dumps({"songs": 6, "seconds": 7200.0, "estimates": systems}))
    return path


def test_noisy_labels_are_wrong_as_often_as_asked(tmp_path: Path) -> None:
    starts = np.arange(1000.0)
    song = Annotation(starts, starts + 1, ["C:maj", "G:7", "A:min", "N"] * 250)
    copy = noisy_labels.noisy(song, 0.2, 0.1, random.Random(3))
    changed = [old != new for old, new in zip(song.labels, copy.labels, strict=True)]
    assert sum(changed) == 162  # of 750 chords: 0.216
    assert not any(changed[3::4])  # silence stays
    assert {copy.labels[i] for i in range(1, 1000, 4)} == {"G:7", "G:maj", "C:7", "D:7", "C:maj", "A:min"}
    assert np.std(copy.starts[1:] - starts[1:]) == pytest.approx(0.1, rel=0.1)
    assert (copy.starts[1:] == copy.ends[:-1]).all() and (np.diff(copy.starts) > 0).all()
    song.labels[0] = "X"
    assert noisy_labels.noisy(song, 0.0, 0.0, random.Random(3)) == song

    for name in ("a/1.lab", "b/2.lab"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        (tmp_path / "in" / name).write_text("0 1 C:maj\n1 2 G:7\n2 3 N\n")
    for out in ("out", "again"):
        subprocess.run(
            [sys.executable, ROOT / "benchmarks" / "noisy_labels.py", tmp_path / "in", tmp_path / out, "--wrong", "1"],
            check=True,
        )
    for name in ("a/1.lab", "b/2.lab"):
        text = (tmp_path / "out" / name).read_text()
        assert text == (tmp_path / "again" / name).read_text()
        assert [line.split()[2] for line in text.splitlines()][2] == "N" and "C:maj\n" not in text


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks" / "experiment_tables.py", *arguments]
    return subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True)


def test_tables_go_between_the_markers(tmp_path: Path) -> None:
    document = tmp_path / "results.md"
    before = "above\n<!-- results:a -->\nold\n<!-- /results:a -->\nbetween\n<!-- results:b -->\n<!-- /results:b -->\n"
    document.write_text(before)
    first, second = report(tmp_path / "a.json", 0.0), report(tmp_path / "b.json", 0.125)
    assert run(f"a={first}", f"b={second}", "--document", document, "--check").returncode == 1
    assert document.read_text() == before
    assert run(f"a={first}", f"b={second}", "--document", document).returncode == 0
    text = document.read_text()
    assert text.startswith("above\n<!-- results:a -->\n\n6 songs, 2.00 h;") and "old" not in text
    assert "\nbetween\n" in text and text.count("**rare**, 3 songs, 0.10 h") == 2
    assert "| student | 62.5 (52.5–72.5) |" in text and "| student | 75.0 (65.0–85.0) |" in text
    assert "| 62.5 | 31.2 | – |\n" in text  # mean, ACQA, ACQA with root
    assert "| share of the time | 75.0 | 25.0 |\n| crema | 50.0 | – |" in text
    assert "| crema | 50.0 (50.0–50.0) |" in text  # by folder: three equal songs
    assert run(f"a={first}", f"b={second}", "--document", document, "--check").returncode == 0
    assert run(f"b={second}", "--brief", "b", "--document", document).returncode == 0
    text = document.read_text()
    assert text.count("**rare**, 3 songs, 0.10 h") == 1 and "| student | 75.0 (65.0–85.0) |" in text


def test_errors_are_one_sentence(tmp_path: Path) -> None:
    document = tmp_path / "results.md"
    document.write_text("nothing\n")
    good = report(tmp_path / "a.json", 0.0)
    assert "has no block <!-- results:a -->" in run(f"a={good}", "--document", document).stderr
    assert "is not KEY=REPORT.json" in run(good, "--document", document).stderr
    (tmp_path / "bad.json").write_text("{}")
    assert "is no report of chordfast evaluate" in run(f"a={tmp_path / 'bad.json'}", "--document", document).stderr
    assert document.read_text() == "nothing\n"
