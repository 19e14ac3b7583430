"""One run over damaged files of every format: each gets its row, nothing hangs, nothing grows.

``CHORDFAST_MUTANTS`` sets the number of files, 300 by default.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mutations import seeds, write_mutants

from chordfast.annotations import read_lab
from chordfast.audio import open_audio
from chordfast.labelling.manifest import NAME, OUTCOMES, read

COUNT = int(os.environ.get("CHORDFAST_MUTANTS", "300"))
TIMEOUT = 30

# In a process of its own, so that its memory and descriptors are its own: now and then it notes what it holds.
RUN = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from labelling_fakes import TemplateRecogniser
from chordfast.labelling import label_folder, manifest
notes, extend, count = [], manifest.Manifest.extend, 0

def pages(process):
    with open(f"/proc/{process}/statm") as file:
        return int(file.read().split()[1])

def noting(book, rows):
    global count
    extend(book, rows)
    before, count = count, count + len(rows)
    if count // 50 > before // 50:
        children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
        own = pages("self")
        largest = max((pages(child) for child in children if os.path.exists(f"/proc/{child}")), default=0)
        notes.append((count, own * 4096, largest * 4096, len(os.listdir("/proc/self/fd"))))

manifest.Manifest.extend = noting
before = len(os.listdir("/proc/self/fd"))
summary = label_folder(sys.argv[2], sys.argv[3], TemplateRecogniser(), jobs=2, threads=1, timeout=float(sys.argv[4]),
                       memory_limit=2 << 30)
after = len(os.listdir("/proc/self/fd"))
json.dump({"notes": notes, "before": before, "after": after, "labelled": summary.labelled}, sys.stdout)
"""


def test_the_seeds_are_sound(tmp_path: Path) -> None:
    """Otherwise the mutants would test nothing."""
    for suffix, data in seeds().items():
        (tmp_path / f"x.{suffix}").write_bytes(data)
        with open_audio(tmp_path / f"x.{suffix}") as reader:
            seconds = sum(len(block) for block in reader) / reader.info.sample_rate
            assert seconds == pytest.approx(0.8, abs=0.15), suffix
            assert reader.outcome_hint == "ok", suffix


def test_mutants_are_the_same_each_time(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_mutants(tmp_path / folder, 60)
    files = [sorted((tmp_path / folder).rglob("*.*")) for folder in ("a", "b")]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    differ = [one.name for one, two in zip(*files, strict=True) if one.read_bytes() != two.read_bytes()]
    assert all(one.stat().st_size == two.stat().st_size for one, two in zip(*files, strict=True))
    assert len(differ) < 20  # Ogg streams carry a random number, WAV with floats the time


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
@pytest.mark.timeout(300 + COUNT)
def test_every_mutant_gets_its_row(tmp_path: Path) -> None:
    names = write_mutants(tmp_path / "in", COUNT)
    out = tmp_path / "out"
    arguments = [str(Path(__file__).parent), str(tmp_path / "in"), str(out), str(TIMEOUT)]
    done = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    rows = read(out / NAME)
    assert sorted(rows) == sorted(names)
    assert len((out / NAME).read_bytes().splitlines()) == found["labelled"] == COUNT
    outcomes = Counter(row.outcome for row in rows.values())
    assert outcomes.keys() <= set(OUTCOMES)
    odd = [row.note for row in rows.values() if row.outcome == "crashed" and "worker process" not in row.note]
    assert odd == []  # exceptions of ours; a decoder may die
    assert outcomes["timeout"] == 0, [row for row in rows.values() if row.outcome == "timeout"]
    assert outcomes["ok"] + outcomes["truncated"] > COUNT / 4  # most damage is small
    assert outcomes["unreadable"] > COUNT / 20
    written = {str(path.relative_to(out)) for path in out.rglob("*.lab")}
    assert written == {name for row in rows.values() for name in row.outputs.values()}
    for row in rows.values():
        assert bool(row.outputs) == (not row.failed and row.seconds > 0)
        assert bool(row.note) or row.outcome in ("ok", "too_short", "silent")
        for name in row.outputs.values():
            assert read_lab(out / name).duration == pytest.approx(row.seconds, abs=2e-6)
    assert found["after"] == found["before"]
    notes = found["notes"]
    grown = [max(later[i] for later in notes[len(notes) // 4 :]) - notes[len(notes) // 4][i] for i in range(4)]
    assert grown[1] < (16 << 20) + 4096 * COUNT  # the rows themselves
    assert grown[2] < 128 << 20
    assert grown[3] < 8
    print(json.dumps({"outcomes": outcomes, "first": notes[0], "last": notes[-1], "grown": grown}))
