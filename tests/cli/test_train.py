"""``chordfast train``: from a store to a checkpoint that labels a recording."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from train_toys import RATES, TINY, toy_store

from chordfast.cli import cli
from chordfast.store import Store

QUICK = [x for s in ("loop.epochs=1", "loop.batch=4", f"model.options={TINY['btc']}", f"model.options={RATES}")
         for x in ("--set", s)]  # fmt: skip


def chordfast(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_store_to_labels(tmp_path: Path) -> None:
    store = toy_store(tmp_path / "store")
    done = chordfast("train", "stage1", "--store", store, "--student", "btc", "-o", tmp_path / "s1", "--threads", 1,
                     "--progress", "plain", *QUICK)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "best      epoch 1" in done.output and "epoch 1/1: loss" in done.output
    assert {p.name for p in (tmp_path / "s1").iterdir()} >= {
        *("recipe.yaml", "split.json", "log.jsonl", "curves.svg", "last.pt", "best.safetensors")
    }
    best = tmp_path / "s1" / "best.safetensors"
    demo = Path(__file__).parents[2] / "chordfast/data/demo.ogg"
    labelled = chordfast("label", demo, "--model", best, "-o", tmp_path / "demo.lab")
    assert labelled.exit_code == 0, labelled.output
    assert (tmp_path / "demo.lab").read_text().startswith("0.000000\t")
    refused = chordfast("train", "stage1", "--store", store, "-o", tmp_path / "s1", *QUICK)
    assert refused.exit_code == 2 and "go on with --resume" in refused.output
    resumed = chordfast("train", "--store", store, "-o", tmp_path / "s1", "--resume", "--progress", "none")
    assert resumed.exit_code == 0, resumed.output
    labels = tmp_path / "labels"
    (labels / "a").mkdir(parents=True)
    for i in range(6):
        (labels / "a" / f"s{i}.lab").write_text("0 4 C:maj\n4 12 G:min7\n")
    second = chordfast("train", "stage2", "--store", store, "--labels", labels, "--student", best, "--teacher", "toy",
                       "--set", "loop.epochs=1", "-o", tmp_path / "s2", "--progress", "none")  # fmt: skip
    assert second.exit_code == 0, second.output


def test_from_recordings(tmp_path: Path) -> None:
    toy = ("--store", toy_store(tmp_path / "toy"), "--progress", "none", *QUICK)
    assert chordfast("train", "stage1", *toy, "-o", tmp_path / "teacher").exit_code == 0
    music = tmp_path / "music"
    music.mkdir()
    for name in ("one", "two", "three"):
        (music / f"{name}.ogg").symlink_to(Path(__file__).parents[2] / "chordfast/data/demo.ogg")
    (music / "broken.ogg").write_bytes(b"OggS")
    arguments = ("--audio", music, "--teacher", tmp_path / "teacher" / "best.safetensors", "-o", tmp_path / "run")
    done = chordfast("train", "stage1", *arguments, "--progress", "plain", "--set", "loss.kd=true", *QUICK)
    assert done.exit_code == 0, done.output
    assert "broken.ogg is not in the store (unreadable)" in done.output
    assert "1 songs train and 1 validate" in done.output and (tmp_path / "run" / "store" / "store.json").exists()
    assert (tmp_path / "run" / "teacher" / "one.lab").exists() and (tmp_path / "run" / "best.safetensors").exists()


def test_from_recordings_with_shifted_audio(tmp_path: Path) -> None:
    """Originals first, then versions of the songs that train; a second start does nothing."""
    pytest.importorskip("python_stretch")
    toy = ("--store", toy_store(tmp_path / "toy"), "--progress", "none", *QUICK)
    assert chordfast("train", "stage1", *toy, "-o", tmp_path / "teacher").exit_code == 0
    (tmp_path / "music").mkdir()
    (tmp_path / "labels").mkdir()
    time = np.arange(15 * 22050) / 22050
    for i in range(4):
        soundfile.write(tmp_path / f"music/s{i}.wav", 0.3 * np.sin(2 * np.pi * 220 * 2 ** (i / 12) * time), 22050)
        (tmp_path / f"labels/s{i}.lab").write_text("0 15 A:maj\n")
    arguments = ["train", "scratch", "--audio", tmp_path / "music", "--labels", tmp_path / "labels", "--teacher",
                 tmp_path / "teacher" / "best.safetensors", "-o", tmp_path / "run", "--student", "btc", "--set",
                 "data.train=0.5", "--set", "data.val=0.25", "--set", "augment.pitch_shift=[-1, 1]",
                 *QUICK]  # fmt: skip
    done = chordfast(*arguments, "--progress", "plain")
    assert done.exit_code == 0, done.output
    parts = json.loads((tmp_path / "run/split.json").read_text())
    store = Store(tmp_path / "run/store")
    assert {row.id for row in store.rows} == {f"s{i}.wav" for i in range(4)} | {
        name + mark for name in parts["train"] for mark in ("#-1", "#+1")
    }
    assert [len(parts[name]) for name in ("train", "val", "test")] == [2, 1, 1]
    assert "6 songs train and 1 validate" in done.output
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("store/*/*")}
    again = chordfast(*arguments, "--progress", "none", "--resume")
    assert again.exit_code == 0, again.output
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("store/*/*")}
    assert after == before


def test_several_gpus_are_torchruns_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def execute(path: str, arguments: list[str]) -> None:
        calls.append((path, arguments))
        raise SystemExit(0)

    line = ["train", "stage1", "--store", "x", "--gpus", "2", "-o", str(tmp_path / "run")]
    monkeypatch.setattr("os.execv", execute)
    monkeypatch.setattr("sys.argv", ["chordfast", *line])
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert chordfast(*line).exit_code == 0
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "chordfast"]
    assert calls == [(sys.executable, [sys.executable, *launch, *line])]


def test_recipe_is_shown(tmp_path: Path) -> None:
    shown = chordfast("train", "stage2", "--show", "-o", tmp_path, "--set", "optimizer.lr=3e-6", "--student", "2e1d",
                      "--compat", "tails")  # fmt: skip
    assert shown.exit_code == 0 and "lr: 3.0e-06" in shown.output and "architecture: 2e1d" in shown.output
    assert "compat:\n- tails\n" in shown.output and shown.output.startswith("recipe: stage2")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["stage1"], "name a store (chordfast label --store)"),
        ([], "say what to train: one of stage1"),
        (["stage1", "--set", "loop.batch=x"], "loop.batch is 'x'; give a whole number"),
        (["stage1", "--student", "none.safetensors"], "none.safetensors does not exist"),
        (["stage1", "--config", "none.yaml"], "none.yaml cannot be read"),
        (["stage1", "--compat", "tail"], "did you mean 'tails'?"),
    ],
)
def test_wrong_usage(arguments: list[str], wanted: str, tmp_path: Path) -> None:
    result = chordfast("train", *arguments, "-o", tmp_path / "run")
    assert result.exit_code in (1, 2) and wanted in result.output
    assert not (tmp_path / "run").exists()
