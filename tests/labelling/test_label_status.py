"""``status``: what is done, failed, missing; what to start again; true also while runs go on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from labelling_fakes import TemplateRecogniser, extract, write_songs

from chordfast.decoding import DecodingOptions
from chordfast.errors import UsageError
from chordfast.labelling import label_folder
from chordfast.labelling.manifest import Manifest, read_all
from chordfast.labelling.shards import shard_of
from chordfast.labelling.status import SCRIPT, status


def run(folder: Path, out: Path, **settings: Any) -> None:
    label_folder(folder, out, TemplateRecogniser(), extract=extract, **{"jobs": 1, **settings})


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    return write_songs(tmp_path / "in", **{f"s{i}": "C" for i in range(9)}, bad="unreadable")


def test_a_whole_folder(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(songs, out, command=["in", "-o", "my out"])
    found = status(out)
    assert (found.whole.done, found.whole.failed, found.whole.missing) == (9, 1, 0)
    assert found.whole.hours == pytest.approx(9 * 6 / 3600)
    assert (found.complete, found.exit_code) == (True, 1)
    (songs / "bad.wav").unlink()
    assert status(out).exit_code == 0
    assert status(out).lines() == ["done      9 files, 0.02 h of audio", "failed    0", "missing   0"]


def test_missing_is_what_the_same_command_would_label(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(songs, out, command=["in", "-o", "my out"], formats=["lab", "json"], options=DecodingOptions(min_duration=0.7))
    (songs / "bad.wav").unlink()
    (songs / "s0.wav").write_text("D ")
    (out / "s1.json").unlink()
    write_songs(songs, new="C")
    found = status(out)
    assert {job.source.key: job.reason for job in found.missing} == {
        "s0.wav": "the recording has changed", "s1.wav": "label file missing: s1.json", "new.wav": "new",
    }  # fmt: skip
    assert (found.whole.done, found.exit_code, found.complete) == (7, 1, False)
    assert found.lines()[2:] == [
        "missing   3", "continue  start the command again", "          chordfast label in -o 'my out'",
    ]  # fmt: skip
    assert "          s0.wav: the recording has changed" in found.lines(verbose=True)
    run(songs, out, formats=["lab", "json"], options=DecodingOptions(min_duration=0.7))
    assert status(out).exit_code == 0


def test_shards(songs: Path, tmp_path: Path) -> None:
    out, count = tmp_path / "out", 4
    of = {path.name: shard_of(path.name, count) for path in songs.iterdir()}
    for index in (1, 3):
        run(songs, out, num_shards=count, shard=index, command=["in", "-o", "out", "--num-shards", "4"])
    found = status(out)
    here = [sum(shard == index for shard in of.values()) for index in range(count)]
    assert all(here)
    assert [part.missing for part in found.parts] == [here[0], 0, here[2], 0]
    assert [part.done + part.failed for part in found.parts] == [0, here[1], 0, here[3]]
    assert found.whole.missing == here[0] + here[2]
    assert found.array == "0,2"
    lines = found.lines()
    assert "shards    2 of 4 have nothing missing" in lines
    assert lines[lines.index("resubmit  --array=0,2") + 1] == (
        '          chordfast label in -o out --num-shards 4 --shard "$SLURM_ARRAY_TASK_ID"'
    )
    (out / SCRIPT).write_text("")
    assert f"          sbatch --array=0,2 {out / SCRIPT}" in status(out).lines()
    as_json = json.loads(json.dumps(found.to_json(verbose=True)))
    assert (as_json["array"], as_json["missing"], as_json["complete"]) == ("0,2", found.whole.missing, False)
    assert as_json["shards"][2] == {
        "shard": 2, "done": 0, "failed": 0, "missing": here[2], "hours": 0.0, "shifted": 0, "running": False,
    }  # fmt: skip
    assert len(as_json["missing_files"]) == found.whole.missing
    for index in (0, 2):
        run(songs, out, num_shards=count, shard=index)
    done = status(out)
    assert (done.array, done.whole.missing, done.whole.failed, done.exit_code) == ("", 0, 1, 1)
    assert done.retry_array == str(of["bad.wav"])
    assert done.lines()[-1] == f"retry     what failed: --array={of['bad.wav']}"


def test_while_a_shard_runs(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(songs, out, num_shards=2, shard=0)
    with Manifest(out, "1-of-2"):
        found = status(out)
        assert [part.running for part in found.parts] == [False, True]
        assert found.array == ""
        assert any(line.endswith("  running") for line in found.lines())
        assert "wait      the missing files are being worked on" in found.lines()
    assert status(out).array == "1"


def test_another_division_later_counts(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(songs, out, num_shards=3, shard=0)
    run(songs, out, num_shards=5, shard=4)
    found = status(out)
    assert len(found.parts) == 5
    assert found.whole.done + found.whole.failed == len(read_all(out))
    run(songs, out)
    assert (status(out).parts, status(out).whole.missing) == ([], 0)


def test_only_some_inputs(songs: Path, tmp_path: Path) -> None:
    write_songs(songs, sub__x="C", sub__y="C")
    (songs / "sub/x.flac").write_text("C")  # shares its name with x.wav, also when only one of them is asked for
    run(songs, tmp_path / "out")
    write_songs(songs, sub__z="C", other="C")
    found = status(tmp_path / "out", [songs / "sub"])
    assert (found.whole.done, [job.source.key for job in found.missing]) == (3, ["sub/z.wav"])
    assert status(tmp_path / "out", [songs / "sub/x.wav"]).exit_code == 0
    assert status(tmp_path / "out", [], [songs / "s0.wav"]).whole.done == 1
    with pytest.raises(UsageError, match="no such file or folder"):
        status(tmp_path / "out", [songs / "none"])
    with pytest.raises(UsageError, match="does not lie below the root folder"):
        status(tmp_path / "out", [tmp_path / "out" / "s0.lab"])


def test_inputs_that_went_away(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path / "out")
    songs.rename(tmp_path / "elsewhere")
    found = status(tmp_path / "out")
    assert found.lines()[0] == f"warning   {songs} is no longer there; the run began with it"
    assert (found.whole.done, found.exit_code, found.complete) == (0, 1, False)


def test_a_list_of_files(songs: Path, tmp_path: Path) -> None:
    listed = [songs / "s0.wav", songs / "s1.wav", songs / "gone.wav"]
    label_folder([], tmp_path / "out", TemplateRecogniser(), extract=extract, listed=listed, jobs=1)
    found = status(tmp_path / "out")
    assert (found.whole.done, found.whole.failed, found.whole.missing) == (2, 1, 0)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"inputs":"x"}', b'{"inputs":[]}', b"\xff"])
def test_a_damaged_record(songs: Path, tmp_path: Path, damage: bytes) -> None:
    run(songs, tmp_path / "out")
    (tmp_path / "out/run.json").write_bytes(damage)
    with pytest.raises(UsageError, match=r"run.json is damaged; start the labelling command again"):
        status(tmp_path / "out")
    run(songs, tmp_path / "out")
    assert status(tmp_path / "out").whole.done == 9


def test_no_run_yet(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no run.json: no labelling run has begun there; check -o"):
        status(tmp_path / "out")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / os.fsdecode(b"\xff\n.wav")).write_text("C")
    label_folder([folder], tmp_path / "out", TemplateRecogniser(), extract=extract, jobs=1)
    assert status(tmp_path / "out").exit_code == 0
