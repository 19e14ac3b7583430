"""Two processes train as one does, up to the rounding of sums."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from train_toys import toy_corpus, toy_recipe

from chordfast.train import train
from chordfast.train.parallel import Ranks

HERE = Path(__file__).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_ranks_equal_one(tmp_path: Path) -> None:
    one = train(toy_recipe("stage1", "btc", "loss.kd=true"), toy_corpus(), tmp_path / "one", progress="none")
    common = {"PYTHONPATH": f"{HERE.parent}:{HERE.parents[1]}", "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / "ranked_run.py"), str(tmp_path / "two")],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "epoch 2/2" in said[0] and "epoch" not in said[1]
    alone, together = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("one", "two"))
    assert (alone["weights"] - together["weights"]).abs().max() < 1e-5
    np.testing.assert_allclose(alone["best"], together["best"], atol=2e-3)
    assert one.epochs == together["epoch"] == 2


def test_shares_of_a_batch() -> None:
    for count in (1, 2, 3, 7, 256):
        for ranks in (1, 2, 3, 8):
            shares = [Ranks(i, ranks).share(count) for i in range(ranks)]
            assert shares[0].start == 0 and shares[-1].stop == count
            assert all(a.stop == b.start for a, b in itertools.pairwise(shares))
            sizes = [s.stop - s.start for s in shares]
            assert max(sizes) - min(sizes) <= 1
