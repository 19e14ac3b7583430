"""``pitch_shift``: versions of recordings in the store, without label files, and in the books like any other song."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from labelling_fakes import TemplateRecogniser, extract, song, write_songs

from chordfast.audio.pitch_shift import shift
from chordfast.errors import UsageError
from chordfast.labelling import Summary, label_folder
from chordfast.labelling.manifest import NAME, read, read_all
from chordfast.labelling.shards import shard_of
from chordfast.labelling.status import status
from chordfast.ops import cqt, ingest
from chordfast.store import Store, shifted_id
from chordfast.view.gallery import read_folder

pytest.importorskip("pyarrow")
pytest.importorskip("python_stretch")


def run(folder: Path, out: Path, **settings: Any) -> Summary:
    """With features made up: no audio is shifted."""
    given = {"jobs": 1, "store": out / "store", "extract": extract, **settings}
    return label_folder(folder, out / "labels", TemplateRecogniser(), **given)


def triads(folder: Path) -> Path:
    """A C major and a G major triad of 4 s as files, two channels and one."""
    folder.mkdir()
    t = np.arange(4 * 44100) / 44100
    for name, root, form in (("c.wav", 0, 2), ("g.flac", 7, 1)):
        pcm = 0.2 * sum(np.sin(2 * np.pi * 261.6256 * 2 ** ((root + step) / 12) * t) for step in (0, 4, 7))
        soundfile.write(folder / name, np.stack([pcm, 0.5 * pcm][:form], axis=1), 44100)
    return folder


def test_the_store_has_features_of_the_shifted_audio_and_what_the_model_hears_in_it(tmp_path: Path) -> None:
    music, out = triads(tmp_path / "music"), tmp_path / "out"
    summary = label_folder(
        music, out, TemplateRecogniser(), jobs=1, store=tmp_path / "store", pitch_shift="-2..2", store_posteriors="full"
    )
    assert (summary.outcomes["ok"], summary.shifted) == (10, 8)
    assert summary.lines()[0] == "outcomes  10 ok (8 pitch-shifted)"
    assert {p.name for p in out.iterdir()} == {"c.lab", "g.lab", "manifest.jsonl", "run.json"}
    store, rows = Store(tmp_path / "store"), read(out / NAME)
    assert [row.id for row in store.rows] == sorted(rows)
    for name, root in (("c.wav", 0), ("g.flac", 7)):
        mono = ingest(soundfile.read(music / name, dtype="int16", always_2d=True)[0], 44100, "exact")
        for step in (-2, -1, 1, 2):
            version = shifted_id(name, step)
            np.testing.assert_array_equal(store.features(version), cqt(shift(mono, step)).astype(np.float16))
            assert np.mean(store.target(version) == 14 * ((root + step) % 12) + 1) > 0.9
            assert store.row(version).source_hash == store.row(name).source_hash == rows[version].source_hash
            assert (rows[version].outputs, rows[version].semitones, rows[name].semitones) == ({}, step, 0)
            assert rows[version].store == store.identity.hash and "python-stretch" in rows[version].decoder
            assert rows[version].cpu["shift"] > 0 and rows[version].seconds == 4.0
    assert {entry.path for entry in read_folder(out)} == {"c.wav", "g.flac"}  # the gallery shows recordings


@pytest.mark.parametrize("settings", [{"jobs": 2, "threads": 2, "batch_frames": 1}, {"device": "cpu-process"}])
def test_workers_and_devices_change_nothing(tmp_path: Path, settings: dict[str, Any]) -> None:
    music = triads(tmp_path / "music")
    broken = soundfile.read(music / "g.flac", dtype="float32")[0]
    broken[5] = np.nan
    soundfile.write(music / "nan.wav", broken, 44100, subtype="FLOAT")
    soundfile.write(music / "nothing.wav", np.zeros(0), 44100)
    soundfile.write(music / "short.wav", np.full(2000, 0.1), 44100)
    soundfile.write(music / "silent.wav", np.zeros(44100), 44100)
    (music / "words.wav").write_text("no audio")
    found = []
    for name, given in (("one", {"jobs": 1}), ("two", settings)):
        label_folder(
            music, tmp_path / name, TemplateRecogniser(), store=tmp_path / name / "s", pitch_shift=[3], **given
        )
        files = {p.name: p.read_bytes() for p in (tmp_path / name / "s/shards").iterdir()}
        rows = read(tmp_path / name / NAME)
        found.append((files, {key: (r.outcome, r.note, r.seconds, r.decoder, r.semitones) for key, r in rows.items()}))
    assert found[0] == found[1]
    outcomes = {key: row[0] for key, row in found[0][1].items()}
    assert {key: outcomes[key + "#+3"] for key in outcomes if "#" not in key} == {
        "c.wav": "ok", "g.flac": "ok", "nan.wav": "ok", "nothing.wav": "too_short", "short.wav": "too_short",
        "silent.wav": "silent", "words.wav": "unreadable",
    }  # fmt: skip
    assert found[0][1]["nan.wav#+3"][1] == "1 non-finite samples replaced by 0"


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    return write_songs(tmp_path / "in", a="C", b__c="G", d="silent", g="unreadable")


def test_a_second_start_does_only_what_is_new(songs: Path, tmp_path: Path) -> None:
    first = run(songs, tmp_path, pitch_shift=[-2, 3])
    assert (first.labelled, first.shifted, len(first.failures)) == (12, 8, 3)
    assert [job.source.key for job in first.planned[:4]] == ["a.wav", "a.wav#-2", "a.wav#+3", "b/c.wav"]
    assert all(not job.outputs for job in first.planned if job.source.semitones)
    again = run(songs, tmp_path, pitch_shift=[-2, 3])
    assert (again.labelled, again.skipped, again.shifted) == (0, 12, 8)
    more = run(songs, tmp_path, pitch_shift="-2..-1,3", dry_run=True)
    assert {job.source.key: job.reason for job in more.planned} == {
        f"{name}#-1": "new" for name in ("a.wav", "b/c.wav", "d.wav", "g.wav")
    }
    (songs / "a.wav").write_text("D ")
    changed = run(songs, tmp_path, pitch_shift=[-2, 3])
    assert {job.source.key for job in changed.planned} == {"a.wav", "a.wav#-2", "a.wav#+3"}
    assert set(Store(tmp_path / "store").target("a.wav#-2").tolist()) == {1}
    assert (run(songs, tmp_path).labelled, run(songs, tmp_path).skipped) == (0, 4)  # without: recordings only
    assert run(songs, tmp_path, pitch_shift=[-2, 3], retry_failed=True).labelled == 3
    status_of_file = os.stat(songs / "a.wav")
    os.utime(songs / "a.wav", ns=(status_of_file.st_atime_ns, status_of_file.st_mtime_ns + 10**9))
    touched = run(songs, tmp_path, pitch_shift=[-2, 3], dry_run=True)
    assert (len(touched.planned), len(touched.refreshed)) == (0, 3)  # read once, the same content


def test_what_the_store_lost_is_made_again(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path, pitch_shift=[1])
    other = run(songs, tmp_path, pitch_shift=[1], store=tmp_path / "other", dry_run=True)
    assert {job.source.key for job in other.planned} == {
        f"{n}{s}" for n in ("a.wav", "b/c.wav", "d.wav") for s in ("", "#+1")
    }


def test_only_some_songs(songs: Path, tmp_path: Path) -> None:
    found = run(songs, tmp_path, pitch_shift=[2], shift_only=["b/c", "a.wav", "elsewhere"])
    assert {job.source.key for job in found.planned if job.source.semitones} == {"a.wav#+2", "b/c.wav#+2"}
    assert status(tmp_path / "labels").whole.missing == 0


def test_status_counts_versions(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels"
    run(songs, tmp_path, pitch_shift=[-2, 3])
    found = status(out)
    assert (found.whole.done, found.whole.shifted, found.whole.failed, found.whole.missing) == (9, 6, 3, 0)
    assert found.lines()[0] == "done      9 files, 6 of them pitch-shifted, 0.02 h of audio"
    assert found.to_json()["shifted"] == 6
    assert status(out, [songs / "b"]).whole.done == 3
    write_songs(songs, new="C")
    assert {job.source.key for job in status(out).missing} == {"new.wav", "new.wav#-2", "new.wav#+3"}
    run(songs, tmp_path)  # what was asked for last counts
    assert (status(out).whole.done, status(out).whole.shifted) == (4, 0)


def test_versions_go_with_their_recording_into_a_shard(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "in", **{f"s{i}": "C" for i in range(9)})
    mine = {f"s{i}.wav" for i in range(9) if shard_of(f"s{i}.wav", 3) == 1}
    assert 0 < len(mine) < 9
    first = run(songs, tmp_path, pitch_shift=[-1, 1], num_shards=3, shard=1)
    assert {job.source.key for job in first.planned} == {name + mark for name in mine for mark in ("", "#-1", "#+1")}
    found = status(tmp_path / "labels")
    assert [(part.done, part.missing) for part in found.parts][1] == (3 * len(mine), 0)
    assert found.whole.missing == 27 - 3 * len(mine)
    done = sum(run(songs, tmp_path, pitch_shift=[-1, 1], num_shards=2, shard=i).labelled for i in range(2))
    assert done == 27 - 3 * len(mine)
    assert len(Store(tmp_path / "store").rows) == len(read_all(tmp_path / "labels")) == 27


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from labelling_fakes import TemplateRecogniser, extract
from chordfast.labelling import label_folder
label_folder(sys.argv[2], sys.argv[3] + "/labels", TemplateRecogniser(), extract=extract, jobs=1, batch_frames=1,
             store=sys.argv[3] + "/store", pitch_shift="-2..2")
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_stopped_and_started_again(tmp_path: Path, signum: int) -> None:
    songs = write_songs(tmp_path / "in", **{f"s{i}": "slow 0.02" for i in range(6)})
    run(songs, tmp_path / "whole", pitch_shift="-2..2")
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(songs), str(out)],
                               stderr=subprocess.DEVNULL)  # fmt: skip
    while len(read_all(out / "labels")) < 4 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signum)
    assert process.wait(60) != 0
    before = read_all(out / "labels")
    assert 4 <= len(before) < 30
    assert before.keys() <= {row.id for row in Store(out / "store").rows}
    rest = run(songs, out, pitch_shift="-2..2")
    assert (rest.labelled, rest.skipped) == (30 - len(before), len(before))
    shards = [
        {p.name: p.read_bytes() for p in (folder / "store/shards").iterdir()} for folder in (out, tmp_path / "whole")
    ]
    assert shards[0] == shards[1]


def test_what_is_refused(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(sentence: str, **settings: Any) -> None:
        with pytest.raises(UsageError, match=sentence):
            run(songs, tmp_path, **settings)
        assert not (tmp_path / "labels").exists()

    refused("'13' is no pitch shift", pitch_shift="13")
    refused("makes songs to train on; name the --store", pitch_shift="-5..6", store=None)
    refused("--shift-only names songs to shift; give --pitch-shift too", shift_only=["a"])
    refused("no song is named that shall be shifted", pitch_shift="1", shift_only=[])
    refused(r"none of the 2 songs to be shifted \(say, 'x'\) is there", pitch_shift="1", shift_only=["y", "x"])
    (songs / "a.wav#+3").write_text("C")
    with pytest.raises(UsageError, match=r"a\.wav#\+3 has the name of a shifted version; rename it"):
        run(songs, tmp_path, pitch_shift="3", listed=[songs / "a.wav#+3"])
    monkeypatch.setitem(sys.modules, "python_stretch.Signalsmith", None)
    refused(r"needs python-stretch: pip install 'chordfast\[pitch\]'", pitch_shift="3")


def test_the_record_of_an_older_version_counts(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path)
    path = tmp_path / "labels/run.json"
    old = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("semitones", "shifted")}
    path.write_text(json.dumps(old))
    assert status(tmp_path / "labels").whole.done == 3


def test_an_extractor_of_ones_own_is_told_the_semitones(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path, pitch_shift=[5])
    stored = Store(tmp_path / "store").features("b/c.wav#+5")
    np.testing.assert_allclose(stored, song(0).features, atol=0.01)
