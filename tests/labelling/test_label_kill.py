"""A run that is killed at any moment and started again ends with the same bytes as one that was left alone.

``CHORDFAST_KILLS`` sets the number of kills, 10 by default.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from labelling_fakes import write_songs

from chordfast.labelling.manifest import read

KILLS = int(os.environ.get("CHORDFAST_KILLS", "10"))
SONGS = 16
UNTIED = {"cpu", "when"}  # what may differ between two runs

# Forks a run, kills it and everything in its session after a random time, starts again until it ends by itself.
LAUNCHER = """
import os, random, shutil, signal, sys, time
tests, songs, out, kills, seed, store = sys.argv[1:]
sys.path.insert(0, tests)
from labelling_fakes import TemplateRecogniser, extract
from chordfast.labelling import label_folder
random = random.Random(int(seed))

def start(jobs):
    child = os.fork()
    if child:
        return child
    os.setsid()
    code = 3
    try:
        kept = {"store": out + "/store", "top": 3} if store else {}
        label_folder(songs, out + "/labels", TemplateRecogniser(), ["lab", "json"], extract=extract, jobs=jobs,
                     threads=2, batch_frames=random.choice([1, 200]), **kept)
        code = 0
    finally:
        os._exit(code)

def ends(child, wait):
    until = time.monotonic() + wait
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None

began = time.monotonic()
assert ends(start(1), 120) == 0
whole = time.monotonic() - began
shutil.move(out, out + ".whole")
killed = ended = 0
while True:
    child = start(random.choice([1, 2]))
    code = ends(child, random.uniform(0, whole) if killed < int(kills) else 120)
    if code is None:
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:  # so early that it has no group of its own yet
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        killed += 1
    elif code:
        sys.exit(f"a run ended with {code}")
    elif killed >= int(kills):
        break
    else:  # done too early: keep this one to compare, and begin anew
        ended += 1
        shutil.move(out, f"{out}.{ended}")
print(killed)
"""


def tree(folder: Path) -> dict[str, bytes]:
    """Every file with its bytes; of the manifest only the rows, without times."""
    files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    found = {name: path.read_bytes() for name, path in files.items() if not name.endswith("manifest.jsonl")}
    rows = read(folder / "labels" / "manifest.jsonl")
    plain = {key: {n: v for n, v in asdict(row).items() if n not in UNTIED} for key, row in sorted(rows.items())}
    found["manifest"] = json.dumps(plain, indent=1).encode()
    return found


def test_killed_anywhere_and_started_again(tmp_path: Path) -> None:
    store = importlib.util.find_spec("pyarrow") is not None
    words: dict[str, Any] = {f"sub{i % 2}__s{i:02d}": "slow 0.02" for i in range(SONGS)}
    songs = write_songs(tmp_path / "in", **words, bad="unreadable", quiet="silent", odd="kill")
    out = tmp_path / "out"
    arguments = [str(Path(__file__).parent), str(songs), str(out), str(KILLS), "1", "store" if store else ""]
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *arguments], check=False, capture_output=True,
        text=True, timeout=60 + 10 * KILLS,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"{KILLS}\n"), done.stderr
    whole = tree(tmp_path / "out.whole")
    assert len([name for name in whole if name.endswith(".lab")]) == SONGS + 1
    assert len(json.loads(whole["manifest"])) == SONGS + 3
    if store:
        assert any(name.startswith("store/shards/") for name in whole)
    for other in tmp_path.glob("out*"):
        there = tree(other)
        assert there.keys() == whole.keys(), other.name
        assert {name for name in there if there[name] != whole[name]} == set(), other.name
