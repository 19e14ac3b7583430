"""``chordfast evaluate``: what is printed and written, exit codes, models and splits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import chordfast
from chordfast.annotations import read_lab, write
from chordfast.cli import cli

GOOD = "0\t4\tC:maj\n4\t8\tG:maj\n"


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    for folder in ("ref", "est", "other", "audio"):
        (tmp_path / folder / "sub").mkdir(parents=True)
    for song in ("a", "sub/b"):
        (tmp_path / "ref" / f"{song}.lab").write_text(GOOD)
        (tmp_path / "est" / f"{song}.lab").write_text(GOOD.replace("G:maj", "G:7"))
        (tmp_path / "other" / f"{song}.lab").write_text(GOOD)
        (tmp_path / "audio" / f"{song}.wav").write_bytes(b"")
    return tmp_path


def test_two_trees(trees: Path) -> None:
    result = invoke("--reference", trees / "ref", "--estimate", trees / "est", "-o", trees / "report")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "2 songs, 0.00 hours; percent, songs weighted by length"
    assert "majmin        100.0 [100.0, 100.0]" in result.stdout
    assert "tetrads          50.0 [50.0, 50.0]" in result.stdout
    assert json.loads((trees / "report/report.json").read_text())["songs"] == 2
    assert (trees / "report/report.html").stat().st_size > 5000


def test_one_pair_several_estimates_json(trees: Path) -> None:
    ref = trees / "ref/a.lab"
    result = invoke(
        "-r", ref, "-e", trees / "est/a.lab", "-e", trees / "other/a.lab", "--json", "--compat", "chordmini"
    )
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert [e["name"] for e in report["estimates"]] == ["est/a.lab", "other/a.lab"]
    assert report["comparisons"][0]["measures"]["tetrads"]["difference"] == 0.5
    assert report["estimates"][0]["chordmini"]["average"]["tetrads"] == pytest.approx(0.5, abs=0.02)


def test_warnings_and_strict(trees: Path) -> None:
    (trees / "est/a.lab").write_bytes(b"0 4 C\n4 8 G\xff\n")
    (trees / "est/sub/b.lab").write_text("0 4 C\n5 8 H7\n")
    arguments = ("--reference", trees / "ref", "--estimate", trees / "est")
    result = invoke(*arguments)
    assert result.exit_code == 0
    warnings = result.stderr.splitlines()
    assert len(warnings) == 3 and all(line.startswith("warning: ") for line in warnings)
    assert "a.lab, line 2: bytes that are not UTF-8" in warnings[0]
    assert "b.lab, line 2: the label 'H7'" in warnings[1]
    assert "b.lab, line 2: there is a gap from 4 to 5 s" in warnings[2]
    strict = invoke(*arguments, "--strict")
    assert strict.exit_code == 1 and strict.stdout == ""
    assert strict.stderr.startswith("Error: ") and "a.lab, line 2" in strict.stderr
    assert invoke(*arguments, "--quiet").stderr == ""


def test_many_warnings_are_counted(trees: Path) -> None:
    for k in range(30):
        (trees / f"est/{k}.lab").write_text(GOOD)
    result = invoke("-r", trees / "ref", "-e", trees / "est")
    assert len(result.stderr.splitlines()) == 21
    assert result.stderr.splitlines()[-1] == "warning: 10 more; -o DIR writes them all into a report"


def test_nothing_to_score(trees: Path) -> None:
    result = invoke("-r", trees / "ref", "-e", trees / "audio")
    assert result.exit_code == 1
    assert "No song could be scored" in result.stderr


def test_usage(trees: Path) -> None:
    ref, est, audio = trees / "ref", trees / "est", trees / "audio"
    for arguments, words in (
        (("-r", ref), "give either --estimate or --model"),
        (("-r", ref, "-e", est, "--model", "crema"), "give either --estimate or --model"),
        (("-r", ref, "-e", est, "--part", "val"), "--part needs --split"),
        (("-r", ref, "--model", "crema"), "--model needs --audio"),
        (("-r", ref / "a.lab", "--model", "crema", "--audio", audio), "needs folders"),
        (("-r", ref, "--model", "crema", "--audio", est), "no recording in"),
        (("-r", ref, "--model", "student.safetensors", "--audio", audio), "may have been trained on these songs"),
        (("-r", ref, "-e", trees / "none"), "no file or folder"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr


@pytest.fixture
def labelled(monkeypatch: pytest.MonkeyPatch, trees: Path) -> list[list[str]]:
    """Stands in for the labelling: copies the labels of est; remembers what it was asked for."""
    asked: list[list[str]] = []

    def label_folder(recordings: list[Path], out: Path, **settings: Any) -> None:
        asked.append([p.relative_to(trees / "audio").as_posix() for p in recordings])
        assert settings["formats"] == "json" and Path(settings["root"]) == trees / "audio"
        for path in recordings:
            name = path.relative_to(trees / "audio").with_suffix("")
            target = Path(out) / f"{name}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            write(read_lab(trees / "est" / f"{name}.lab"), target, "json")

    monkeypatch.setattr(chordfast, "label_folder", label_folder)
    return asked


def test_a_model(trees: Path, labelled: list[list[str]]) -> None:
    (trees / "audio/c.wav").write_bytes(b"")  # without a reference: not labelled
    common = ("-r", trees / "ref", "--audio", trees / "audio", "--json")
    result = invoke(*common, "--model", "crema", "--labels", trees / "kept")
    assert result.exit_code == 0, result.stderr
    assert labelled == [["a.wav", "sub/b.wav"]]
    assert "note: crema may have been trained on some of these songs" in result.stderr
    report = json.loads(result.stdout)
    assert report["estimates"][0]["name"] == "crema" and report["songs"] == 2
    assert report["notes"][0].startswith("crema may have been trained")
    assert (trees / "kept/sub/b.json").exists()


def test_a_checkpoint_and_its_split(trees: Path, labelled: list[list[str]]) -> None:
    (trees / "split.json").write_text('{"train": ["a"], "val": ["sub/b"]}')
    common = ("-r", trees / "ref", "--audio", trees / "audio", "--json", "--model", trees / "student.safetensors")
    result = invoke(*common, "--split", trees / "split.json")
    assert result.exit_code == 0, result.stderr
    assert labelled == [["sub/b.wav"]]
    report = json.loads(result.stdout)
    assert [row["song"] for row in report["estimates"][0]["per_song"]] == ["sub/b"]
    assert "Only the part 'val'" in report["notes"][0]
    assert invoke(*common, "--all-songs").exit_code == 0
    assert labelled[-1] == ["a.wav", "sub/b.wav"]


def test_evaluating_does_not_import_torch(trees: Path) -> None:
    code = (
        "import sys; from chordfast.cli import cli\n"
        f"cli(['evaluate', '-r', {str(trees / 'ref')!r}, '-e', {str(trees / 'est')!r}], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules and 'mir_eval' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
