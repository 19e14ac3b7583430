"""A writer killed anywhere, started again, leaves the bytes of one that was never disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

from songs import contents, failed, identity, song

from chordfast.store import Store, StoreWriter

RECORDS = [*(song(i) for i in (1, 0)), failed("zz.mp3")]
SHARD_BYTES = 12_000  # one song
EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link"}


def work(path: Path, records: list[Any]) -> None:
    with StoreWriter(path, identity(), shard_bytes=SHARD_BYTES) as writer:
        for record in records:
            writer.add(record)
        writer.seal()


def killed_at(path: Path, event: int) -> bool:
    """Do the work in a child that dies at the given operation on the store's files; whether it came that far."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    seen = 0

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if name in EVENTS and str(arguments[0]).startswith(str(path)):
            if seen == event:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    code = 1
    try:
        sys.addaudithook(hook)
        work(path, RECORDS)
        code = 0
    finally:
        os._exit(code)


def test_killed_at_every_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)  # slow, and of no matter where only a process dies
    whole = tmp_path / "whole"
    work(whole, RECORDS)
    expected = contents(whole)
    assert sorted(expected) == [
        "index/0-00000.parquet", "index/0-00001.parquet",
        "shards/0-00000.safetensors", "shards/0-00001.safetensors", "store.json",
    ]  # fmt: skip
    event, survived = 0, False
    while not survived:
        path = tmp_path / str(event)
        survived = not killed_at(path, event)
        if (path / "store.json").exists():  # what a reader sees at any moment is whole
            store = Store(path)
            assert store.verify() == []
        work(path, list(reversed(RECORDS)))
        assert contents(path) == expected, f"killed at operation {event}"
        event += 1
    assert event > 30


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store_kill import RECORDS, work
print("ready", flush=True)
work(Path(sys.argv[1]), RECORDS)
"""


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    work(tmp_path / "whole", RECORDS)
    expected = contents(tmp_path / "whole")
    here, moments = str(Path(__file__).parent), random.Random(1)
    for _ in range(20):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed"), here]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(moments.uniform(0, 0.3))
            child.kill()
    work(tmp_path / "killed", RECORDS)
    assert contents(tmp_path / "killed") == expected
