"""Going on after a kill, a full disk, the end of the time: the weights come out as if nothing had happened."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from train_toys import toy_corpus, toy_recipe

from chordfast import files
from chordfast.errors import ChordfastError, ModelError, UsageError
from chordfast.train import train

HERE = Path(__file__).parent
EPOCHS = "5"


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parent}:{HERE.parents[1]}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "resumed_run.py"), str(folder), EPOCHS]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def weights(folder: Path) -> dict:
    return torch.load(folder / "last.pt", weights_only=True)


def test_killed_runs_come_out_bit_for_bit(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(whole).wait() == 0
    wait, kills = random.Random(5), 0
    for _ in range(2):
        before = (broken / "last.pt").stat().st_mtime_ns if (broken / "last.pt").exists() else 0
        process = start(broken)
        while process.poll() is None:  # until it got somewhere, and then at any moment
            if (broken / "last.pt").exists() and (broken / "last.pt").stat().st_mtime_ns != before:
                time.sleep(wait.uniform(0, 0.08))
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        kills += process.wait() == -signal.SIGKILL
    assert kills
    assert start(broken).wait() == 0
    one, two = weights(whole), weights(broken)
    assert torch.equal(one["weights"], two["weights"])
    for name, moment in one["moments"].items():
        assert torch.equal(moment, two["moments"][name]), name
    for name in ("epoch", "best", "best_epoch", "stale", "schedule", "global_step"):
        assert one[name] == two[name], name
    assert (whole / "best.safetensors").read_bytes() == (broken / "best.safetensors").read_bytes()
    epochs = [
        [(line["epoch"], line["loss"], line["val_accuracy"]) for line in lines if line["event"] == "epoch"]
        for lines in (map(json.loads, (f / "log.jsonl").read_text().splitlines()) for f in (whole, broken))
    ]
    assert epochs[0] == epochs[1] and len(epochs[0]) == int(EPOCHS)


def test_in_pieces_of_time(tmp_path: Path) -> None:
    corpus, recipe = toy_corpus(4), toy_recipe(dropout=True)
    train(recipe, corpus, tmp_path / "whole", progress="none")
    result = train(recipe, corpus, tmp_path / "pieces", progress="none", minutes=0)
    assert not result.finished and result.epochs == 0 and weights(tmp_path / "pieces")["position"] == 1
    while not result.finished:
        result = train(recipe, corpus, tmp_path / "pieces", resume=True, progress="none", minutes=0)
    assert torch.equal(weights(tmp_path / "whole")["weights"], weights(tmp_path / "pieces")["weights"])
    again = train(recipe, corpus, tmp_path / "pieces", resume=True, progress="none")
    assert again.finished and again.epochs == 2 and len(again.history) == 2
    longer = recipe.with_settings(["loop.epochs=3"])
    assert train(longer, corpus, tmp_path / "pieces", resume=True, progress="none").epochs == 3


def test_disk_full_leaves_the_former_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, recipe = toy_corpus(), toy_recipe("stage1", "btc", "loop.checkpoint_minutes=0")
    train(recipe, corpus, tmp_path, progress="none", minutes=0)
    former = (tmp_path / "last.pt").read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(ChordfastError, match=r"could not be written \(No space left on device\)"):
        train(recipe, corpus, tmp_path, resume=True, progress="none")
    monkeypatch.undo()
    assert (tmp_path / "last.pt").read_bytes() == former
    assert not list(tmp_path.glob(".chordfast-*"))
    assert train(recipe, corpus, tmp_path, resume=True, progress="none").finished


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    corpus, recipe = toy_corpus(), toy_recipe()
    train(recipe, corpus, tmp_path / "run", progress="none", minutes=0)
    with pytest.raises(UsageError, match="holds a run already; go on with --resume"):
        train(recipe, corpus, tmp_path / "run", progress="none")
    with pytest.raises(UsageError, match="the recipe changed since"):
        train(recipe.with_settings(["optimizer.lr=1e-3"]), corpus, tmp_path / "run", resume=True, progress="none")
    with pytest.raises(UsageError, match="the data changed since"):
        train(recipe, toy_corpus(6), tmp_path / "run", resume=True, progress="none")
    last = tmp_path / "run" / "last.pt"
    last.write_bytes(last.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"last\.pt is"):
        train(recipe, corpus, tmp_path / "run", resume=True, progress="none")
    last.write_bytes(b"garbage")
    with pytest.raises(ModelError, match=r"last\.pt is"):
        train(recipe, corpus, tmp_path / "run", resume=True, progress="none")
