"""Shards: who takes what, one set of books over all, many processes at once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelling_fakes import TemplateRecogniser, extract, write_songs

from chordfast.errors import UsageError
from chordfast.labelling import Summary, label_folder
from chordfast.labelling.manifest import Manifest, Row, files, read, read_all
from chordfast.labelling.shards import Shard, array_list, shard_of

WORDS = ["C", "D", "E", "F", "G", "A", "B", "C#", "silent", "unreadable"]


def run(folder: Path, out: Path, **settings: Any) -> Summary:
    return label_folder(folder, out, TemplateRecogniser(), extract=extract, **{"jobs": 1, **settings})


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    return write_songs(tmp_path / "in", **{f"sub{i % 3}__s{i}": WORDS[i % len(WORDS)] for i in range(24)})


def labels(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.lab")}


def test_the_rule_is_the_documented_one() -> None:
    number = int.from_bytes(hashlib.sha256("a/sóng.mp3".encode()).digest()[:8], "big")
    assert [shard_of("a/sóng.mp3", count) for count in (1, 7, 512)] == [0, number % 7, number % 512]
    assert shard_of("a/x.mp3", 8) == 3  # must never change: it decides which task has done what
    assert shard_of("\udcff.mp3", 5) < 5


@given(st.lists(st.text(), min_size=1, max_size=30, unique=True), st.integers(1, 40))
def test_every_recording_is_in_exactly_one_shard(keys: list[str], count: int) -> None:
    for key in (key for key in keys if key.isprintable()):
        assert sum(Shard(index, count).holds(key) for index in range(count)) == 1


def test_shards_are_even() -> None:
    sizes = Counter(shard_of(f"artist {i % 100}/{i}.mp3", 16) for i in range(16_000))
    assert len(sizes) == 16
    assert 850 < min(sizes.values()) <= max(sizes.values()) < 1150


@pytest.mark.parametrize(
    ("count", "index", "said"),
    [
        (8, 8, r"--shard 8 is not one of 8: shards are counted from 0 to 7; number .* likewise \(--array=0-7\)"),
        (8, -1, "--shard -1 is not one of 8"),
        (0, 0, "--num-shards must be at least 1, not 0"),
        (8, None, "--num-shards needs --shard too"),
        (None, 3, "--shard needs --num-shards too"),
    ],
)
def test_nonsense_is_refused(count: int | None, index: int | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        run(tmp_path, tmp_path / "out", num_shards=count, shard=index)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("indices", "text"), [([], ""), ([3], "3"), ([9, 3, 8, 7, 7], "3,7-9"), (range(5), "0-4")])
def test_array_list(indices: Any, text: str) -> None:
    assert array_list(indices) == text


def test_any_division_gives_the_same_and_is_not_done_twice(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path / "whole")
    out = tmp_path / "out"
    first = run(songs, out, num_shards=3, shard=1)
    assert 0 < first.labelled < 24
    assert files(out).keys() == {"1-of-3"}
    done = first.labelled
    for index in range(5):
        done += run(songs, out, num_shards=5, shard=index).labelled
    assert done == 24  # what shard 1 of 3 had done was left alone
    assert files(out).keys() == {"1-of-3", *(f"{index}-of-5" for index in range(5))}
    assert labels(out) == labels(tmp_path / "whole")
    assert read_all(out).keys() == read_all(tmp_path / "whole").keys()
    assert (run(songs, out).labelled, run(songs, tmp_path / "whole", num_shards=2, shard=0).labelled) == (0, 0)


def test_names_do_not_depend_on_the_shard(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("song.wav", "song.flac", "other.wav"):
        (tmp_path / "in" / name).write_text("C")
    for index in range(4):
        run(tmp_path / "in", tmp_path / "out", num_shards=4, shard=index)
    assert labels(tmp_path / "out").keys() == {"song.wav.lab", "song.flac.lab", "other.lab"}


def test_the_newest_row_counts_whichever_file_it_stands_in(tmp_path: Path) -> None:
    with Manifest(tmp_path) as book:
        book.append(Row("a.mp3", "ok"))
        book.append(Row("b.mp3", "ok"))
    with Manifest(tmp_path, "0-of-2") as book:
        book.append(Row("a.mp3", "silent"))
        assert {key: row.outcome for key, row in book.rows.items()} == {"a.mp3": "ok", "b.mp3": "ok"}
    with Manifest(tmp_path, "1-of-3") as book:
        book.append(Row("b.mp3", "timeout"))
    assert {key: row.outcome for key, row in read_all(tmp_path).items()} == {"a.mp3": "silent", "b.mp3": "timeout"}


def test_a_clock_that_goes_slow_does_not_hide_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Manifest(tmp_path, "0-of-2") as book:
        book.append(Row("a.mp3", "timeout"))
    monkeypatch.setattr("time.time_ns", lambda: 5)
    with Manifest(tmp_path, "0-of-3") as book:
        book.append(Row("a.mp3", "ok"))
    assert read_all(tmp_path)["a.mp3"].outcome == "ok"


def test_rows_of_an_older_version_count(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"path":"a.mp3","outcome":"ok","size":3}\n')
    row = read_all(tmp_path)["a.mp3"]
    assert (row.outcome, row.size, row.when, row.source_hash, row.store, row.device) == ("ok", 3, 0, "", "", "")


def test_one_run_a_shard_and_one_division_at_a_time(tmp_path: Path) -> None:
    with Manifest(tmp_path, "0-of-4"):
        Manifest(tmp_path, "1-of-4").close()
        with pytest.raises(
            UsageError, match=r"another run of shard 0-of-4 is writing to .*; wait until it has finished"
        ):
            Manifest(tmp_path, "0-of-4")
        for other in ("", "0-of-3"):
            with pytest.raises(UsageError, match=r"a run of shard 0-of-4 is writing to .* divided in another way"):
                Manifest(tmp_path, other)
    with Manifest(tmp_path), pytest.raises(UsageError, match="a run of the whole folder is writing"):
        Manifest(tmp_path, "0-of-4")


SHARD = """
import sys
sys.path.insert(0, sys.argv[1])
from labelling_fakes import TemplateRecogniser, extract
from chordfast.labelling import label_folder
print("ready", flush=True)
sys.stdin.readline()
done = label_folder(sys.argv[2], sys.argv[3], TemplateRecogniser(), extract=extract, jobs=1,
                    num_shards=3, shard=int(sys.argv[4]), batch_frames=50)
print(done.labelled)
"""


def test_all_shards_at_the_same_time(songs: Path, tmp_path: Path) -> None:
    """Three processes, let go at one moment."""
    arguments = [sys.executable, "-c", SHARD, str(Path(__file__).parent), str(songs), str(tmp_path / "out")]
    processes = [
        subprocess.Popen([*arguments, str(index)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for index in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    counts = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(counts) == 24
    run(songs, tmp_path / "whole")
    assert labels(tmp_path / "out") == labels(tmp_path / "whole")
    rows = [read(path) for path in files(tmp_path / "out").values()]
    assert sorted(key for part in rows for key in part) == sorted(read_all(tmp_path / "whole"))
