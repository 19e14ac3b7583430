"""``chordfast distill``: the parts never mix, a second start does nothing again, and errors come before the work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from chordfast.cli import cli
from chordfast.models import BTC, load_model, save_checkpoint
from chordfast.store import Store

pytest.importorskip("pyarrow")
ROOTS = ("C", "C#", "D", "D#", "E", "F", "F#")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Seven labelled recordings and two without labels, three seconds each, and a teacher of one random layer."""
    for folder in ("music/a", "labels/a"):
        (tmp_path / folder).mkdir(parents=True)
    time = np.arange(3 * 22050) / 22050
    for i in range(9):
        tones = sum(np.sin(2 * np.pi * 261.6 * 2 ** ((k + i) / 12) * time) for k in (0, 4, 7))
        soundfile.write(tmp_path / f"music/a/s{i}.flac", 0.1 * tones, 22050)
        if i < 7:
            (tmp_path / f"labels/a/s{i}.lab").write_text(f"0 3 {ROOTS[i]}:maj\n")
    torch.manual_seed(0)
    teacher = BTC(num_layers=1)
    teacher.set_statistics(-5.0, 3.0)
    save_checkpoint(tmp_path / "teacher.safetensors", teacher)
    return tmp_path


def run(corpus: Path, *more: str) -> object:
    options = ["loop.epochs=1", "loop.batch=4", "model.options.f_layer=1", "model.options.t_layer=1"]
    arguments = ["distill", corpus / "music", "--labels", corpus / "labels", "-o", corpus / "run", "--student", "2e1d"]
    arguments += ["--teacher", corpus / "teacher.safetensors", "-j", "1", *(w for o in options for w in ("--set", o))]
    return CliRunner().invoke(cli, [*map(str, arguments), *more])


def test_whole_way_and_again(corpus: Path) -> None:
    first = run(corpus, "--set", "stage2.optimizer.lr=2e-5")
    assert first.exit_code == 0, first.output
    parts = {stage: json.loads((corpus / "run" / stage / "split.json").read_text()) for stage in ("stage1", "stage2")}
    test = set(parts["stage2"]["test"])
    assert [len(parts["stage2"][name]) for name in ("train", "val", "test")] == [4, 1, 2]
    assert not test & {*parts["stage1"]["train"], *parts["stage1"]["val"]}
    assert not set(parts["stage2"]["val"]) & set(parts["stage1"]["train"])
    assert set(parts["stage2"]["train"]) < set(parts["stage1"]["train"])
    assert Store(corpus / "run/store").identity.posteriors == "full8"  # what distilling at a temperature needs
    report = json.loads((corpus / "run/report/report.json").read_text())
    assert [each["name"] for each in report["estimates"]] == ["teacher", "stage1", "stage2"]
    assert {song["song"] + ".flac" for song in report["estimates"][2]["per_song"]} == test
    assert "lr: 2.0e-05" in (corpus / "run/stage2/recipe.yaml").read_text()
    student = load_model(corpus / "run/stage2/best.safetensors")
    assert (student.architecture, student.config.f_layer) == ("2e1d", 1)

    files = [corpus / "run" / name for name in ("stage1/best.safetensors", "stage2/last.pt", "teacher/a/s0.json")]
    before = [path.stat().st_mtime_ns for path in files]
    again = run(corpus, "--set", "stage2.optimizer.lr=2e-5")
    assert again.exit_code == 0, again.output
    assert [path.stat().st_mtime_ns for path in files] == before


def test_shifted_audio_for_one_stage(corpus: Path) -> None:
    pytest.importorskip("python_stretch")
    done = run(corpus, "--set", "stage2.augment.pitch_shift=[2, 2]")
    assert done.exit_code == 0, done.output
    train = json.loads((corpus / "run/stage2/split.json").read_text())["train"]
    shifted = {row.id for row in Store(corpus / "run/store").rows if "#" in row.id}
    assert shifted == {f"{song}#+2" for song in train}
    for stage, used in (("stage1", "shifted_songs: false"), ("stage2", "shifted_songs: true")):
        assert used in (corpus / "run" / stage / "recipe.yaml").read_text()


def test_labels_of_other_names_are_an_error_before_anything_is_done(corpus: Path) -> None:
    for path in (corpus / "labels/a").iterdir():
        path.rename(path.with_name("x" + path.name))
    result = run(corpus)
    assert result.exit_code == 2
    assert "labels 0 of the 9 recordings" in result.output
    assert not (corpus / "run").exists()


def test_a_setting_that_is_none(corpus: Path) -> None:
    result = run(corpus, "--set", "stage1.optimizer.learning_rate=1")
    assert result.exit_code == 2
    assert result.output.startswith("Error: ")
    assert not (corpus / "run" / "teacher").exists()


def test_no_folder(corpus: Path) -> None:
    result = CliRunner().invoke(cli, ["distill", str(corpus / "nowhere"), "--labels", str(corpus), "-o", "x"])
    assert result.exit_code == 2
    assert "nowhere is no folder" in result.output
