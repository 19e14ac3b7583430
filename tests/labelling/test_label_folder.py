"""What a second start does, and that the result depends on nothing but the input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from labelling_fakes import TemplateRecogniser, extract, write_songs

from chordfast.decoding import DecodingOptions
from chordfast.errors import UsageError
from chordfast.files import atomic_write, sha256_file
from chordfast.labelling import Summary, label_folder
from chordfast.labelling.manifest import NAME, Manifest, read
from chordfast.labelling.paths import Source, collect, output_names
from chordfast.labelling.planning import Planner
from chordfast.labelling.runner import Identity


def run(folder: Path, out: Path, model: Any = None, **settings: Any) -> Summary:
    settings.setdefault("jobs", 1)
    return label_folder(folder, out, model or TemplateRecogniser(), extract=extract, **settings)


def reasons(summary: Summary) -> dict[str, str]:
    return {job.source.key: job.reason for job in summary.planned}


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    return write_songs(
        tmp_path / "in", a="C", b__c="G", d="silent", e="short", f="nothing", g="unreadable", h="truncated"
    )


def test_every_outcome_and_its_files(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = run(songs, out)
    assert summary.outcomes == {"ok": 2, "silent": 1, "too_short": 2, "unreadable": 1, "truncated": 1}
    assert summary.exit_code == 1
    assert (out / "a.lab").read_text() == "0.000000\t6.000000\tC:maj\n"
    assert (out / "b/c.lab").read_text() == "0.000000\t6.000000\tG:maj\n"
    assert (out / "d.lab").read_text().split() == ["0.000000", "6.000000", "N"]
    assert (out / "e.lab").read_text().split()[2] == "N"
    assert not (out / "f.lab").exists()
    assert not (out / "g.lab").exists()
    rows = read(out / NAME)
    assert {key: row.outcome for key, row in rows.items()} == {
        "a.wav": "ok", "b/c.wav": "ok", "d.wav": "silent", "e.wav": "too_short", "f.wav": "too_short",
        "g.wav": "unreadable", "h.wav": "truncated",
    }  # fmt: skip
    row = rows["a.wav"]
    assert row.outputs == {"lab": "a.lab"}
    assert (row.seconds, row.size, row.decoder, row.model) == (6.0, 1, "fake", "templates")
    assert row.mtime_ns == os.stat(songs / "a.wav").st_mtime_ns
    assert row.confidence is not None
    assert 0.5 < row.confidence <= 1
    assert set(row.cpu) == {"hash", "decode", "ingest", "cqt", "ring", "model", "labels"}
    assert rows["d.wav"].confidence is None
    assert rows["g.wav"].note.endswith("g.wav: not audio")
    assert rows["f.wav"].outputs == {}


def test_second_start_does_nothing(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path / "out")
    before = (tmp_path / "out" / NAME).read_bytes()
    model = TemplateRecogniser()
    again = run(songs, tmp_path / "out", model)
    assert (again.labelled, again.skipped, model.batches) == (0, 7, [])
    assert again.exit_code == 1  # g.wav has still no labels
    assert (tmp_path / "out" / NAME).read_bytes() == before


def test_whatever_changed_is_done_again_and_said(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(songs, out)
    (songs / "a.wav").write_text("D")
    (out / "b/c.lab").unlink()
    write_songs(songs, z="E")
    expected = {"a.wav": "the recording has changed", "b/c.wav": "label file missing: b/c.lab", "z.wav": "new"}
    planned = run(songs, out, dry_run=True)
    assert reasons(planned) == expected
    assert (planned.skipped, planned.labelled) == (5, 0)
    assert not (out / "b/c.lab").exists()
    assert reasons(run(songs, out)) == expected
    assert (out / "a.lab").read_text().split()[2].startswith("D")
    assert reasons(run(songs, out, dry_run=True)) == {}


def test_other_model_features_options_formats(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(songs, out)
    everything = 7

    def planned(**settings: Any) -> tuple[int, set[str]]:
        found = reasons(run(songs, out, dry_run=True, **settings))
        return len(found), set(found.values())

    other, retrained = TemplateRecogniser(), TemplateRecogniser()
    other.name, retrained.hash = "other", "1" * 64
    assert planned(model=other) == (everything, {"model other instead of templates"})
    assert planned(model=retrained) == (everything, {"the model's weights have changed"})
    assert planned(quality="exact") == (everything, {"other features"})
    assert planned(options=DecodingOptions(min_duration=0.7)) == (everything, {"other decoding options"})
    assert planned(force=True) == (everything, {"--force"})
    assert planned(retry_failed=True) == (1, {"failed before: unreadable"})
    assert planned(formats=["lab", "json"]) == (5, {"no json yet"})
    assert planned() == (0, set())


def touch(path: Path) -> None:
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def add_hashes(out: Path, songs: Path) -> None:
    """Rows with the recordings' hashes, as a worker writes them."""
    with Manifest(out) as book:
        for row in list(book.rows.values()):
            book.append(replace(row, source_hash=sha256_file(songs / row.path)))


def test_another_time_with_the_same_content_is_kept(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(songs, out)
    touch(songs / "a.wav")
    with Manifest(out) as book:  # a row of an earlier version, without the content's hash
        book.append(replace(book.rows["a.wav"], source_hash=""))
    assert reasons(run(songs, out, dry_run=True)) == {"a.wav": "the recording has changed"}
    run(songs, out)
    add_hashes(out, songs)
    for name in "abd":
        touch(songs / f"{name}.wav" if name != "b" else songs / "b/c.wav")
    (songs / "b/c.wav").write_text("D")  # of the same size
    touch(songs / "b/c.wav")
    planned = run(songs, out, dry_run=True)
    assert reasons(planned) == {"b/c.wav": "the recording has changed"}
    assert [row.path for row in planned.refreshed] == ["a.wav", "d.wav"]
    again = run(songs, out)
    assert (again.labelled, again.skipped) == (1, 6)
    assert read(out / NAME)["a.wav"].mtime_ns == os.stat(songs / "a.wav").st_mtime_ns
    assert run(songs, out, dry_run=True).refreshed == []


def test_another_time_and_no_way_to_read_it(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path / "out")
    add_hashes(tmp_path / "out", songs)
    source = Source(tmp_path / "gone.wav", "a.wav", 1, 1)
    row = read(tmp_path / "out" / NAME)["a.wav"]
    identity = Identity(row.model, row.model_hash, row.features_hash, row.options_hash)
    planned = Planner({"a.wav": row}, identity, tmp_path / "out").summary([source], {"a.wav": {"lab": "a.lab"}}).planned
    assert [job.reason for job in planned] == ["the recording has changed"]


def test_what_is_not_in_the_store_is_done_again(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path / "out")
    rows = read(tmp_path / "out" / NAME)
    for key in ("a.wav", "b/c.wav", "d.wav"):
        rows[key].store = "right"
    rows["d.wav"].store = "wrong"
    identity = Identity(*(getattr(rows["a.wav"], name) for name in Identity.__dataclass_fields__))
    planner = Planner(rows, identity, tmp_path / "out", store="right", stored={"a.wav", "d.wav", "e.wav"})
    sources = collect([songs])[0]
    planned = planner.summary(sources, output_names([source.key for source in sources], ["lab"])).planned
    assert {job.source.key for job in planned} == {"b/c.wav", "d.wav", "e.wav", "f.wav", "h.wav"}
    assert {job.reason for job in planned} == {"not in the store yet"}


def test_leftovers_of_a_killed_run_are_cleared_away(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(songs, out)
    child = (
        "import os; from chordfast.files import atomic_write as w; os.replace = lambda *_: os._exit(9); w('x', 'half')"
    )
    subprocess.run([sys.executable, "-c", child], cwd=out / "b", check=False)
    (out / "b" / ".chordfast-mine.txt").write_text("of the user")
    other = out / ".chordfast-00000000-1-abcd1234.tmp"  # of another machine
    other.write_text("half")
    mine = out / os.path.basename(_temporary(out))
    assert len(list((out / "b").glob(".chordfast-*.tmp"))) == 1
    run(songs, out)
    assert {p.name for p in (out / "b").iterdir()} == {"c.lab", ".chordfast-mine.txt"}
    assert other.exists()
    assert mine.exists()
    os.utime(other, (0, 0))
    run(songs, out)
    assert not other.exists()


def _temporary(folder: Path) -> str:
    """A temporary file as this living process would name it."""
    names = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", lambda source, _: names.append(str(source)))
        atomic_write(folder / "x", b"")
    return names[0]


def test_a_recording_called_run(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "in", run="C", sub__run="D")
    run(songs, tmp_path / "out", formats=["json", "lab"])
    assert (tmp_path / "out/run.wav.json").exists()
    assert (tmp_path / "out/sub/run.json").exists()
    assert json.loads((tmp_path / "out/run.json").read_text())["root"] == str(songs)
    assert run(songs, tmp_path / "out", formats=["json", "lab"]).labelled == 0


def test_dry_run_leaves_no_trace(songs: Path, tmp_path: Path) -> None:
    assert len(run(songs, tmp_path / "out", dry_run=True).planned) == 7
    assert not (tmp_path / "out").exists()


def test_retry_failed_mends(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path / "out")
    status = os.stat(songs / "g.wav")
    (songs / "g.wav").write_text("F" + " " * 9)  # same size and time: as when a permission was mended
    os.utime(songs / "g.wav", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run(songs, tmp_path / "out").labelled == 0
    mended = run(songs, tmp_path / "out", retry_failed=True)
    assert (mended.labelled, mended.exit_code) == (1, 0)
    assert (tmp_path / "out" / "g.lab").exists()


def test_same_labels_for_any_number_of_workers_and_any_batch(tmp_path: Path) -> None:
    names = {f"s{i}": word for i, word in enumerate(["C", "D", "E", "F", "G", "A", "B", "long 40", "silent", "C#"])}
    songs = write_songs(tmp_path / "in", **names)
    results = []
    for jobs, batch in ((1, 1), (3, 100), (2, 100_000)):
        out = tmp_path / f"out{jobs}"
        model = TemplateRecogniser()
        run(songs, out, model, jobs=jobs, batch_frames=batch, formats=["lab", "json"])
        frames = [frames for sizes in model.batches for frames in sizes]
        assert len(frames) == 9
        assert all(len(sizes) == 1 or sum(sizes) <= batch for sizes in model.batches)
        results.append({p.name: p.read_bytes() for p in out.iterdir() if p.name not in (NAME, "run.json")})
    assert len(results[0]) == 20
    assert results[0] == results[1] == results[2]


def test_two_files_of_one_base_name(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/song.wav").write_text("C")
    (tmp_path / "in/song.flac").write_text("G")
    run(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out/song.wav.lab").read_text().split()[2].startswith("C")
    assert (tmp_path / "out/song.flac.lab").read_text().split()[2].startswith("G")
    assert run(tmp_path / "in", tmp_path / "out").labelled == 0


def test_labels_of_others_are_not_overwritten(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "in", a="C")
    (songs / "a.lab").write_text("by hand")
    with pytest.raises(UsageError, match=r"already holds label files that no earlier run wrote \(a\.lab\)"):
        run(songs, songs)
    assert (songs / "a.lab").read_text() == "by hand"
    assert run(songs, songs, force=True).exit_code == 0
    assert "0.0" in (songs / "a.lab").read_text()


def test_fail_fast_stops_and_the_rest_is_done_later(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "in", a="unreadable", **{f"b{i}": "C" for i in range(20)})
    summary = run(songs, tmp_path / "out", fail_fast=True)
    assert summary.stopped_early
    assert summary.exit_code == 1
    assert summary.labelled < 21
    rest = run(songs, tmp_path / "out")
    assert rest.outcomes == {"unreadable": 1, "ok": 20}


def test_missing_files_of_a_list_are_rows(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "in", a="C")
    listed = [songs / "a.wav", songs / "gone.wav"]
    summary = label_folder([], tmp_path / "out", TemplateRecogniser(), extract=extract, listed=listed, jobs=1)
    assert summary.outcomes == {"ok": 1, "unreadable": 1}


def test_an_empty_folder_is_fine(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    summary = run(tmp_path / "in", tmp_path / "out")
    assert (summary.exit_code, summary.lines()) == (0, ["outcomes  no files"])


def test_nonsense_settings_are_refused(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown quality 'best'"):
        run(songs, tmp_path / "out", quality="best")
    with pytest.raises(UsageError, match="must be positive"):
        run(songs, tmp_path / "out", timeout=0)
    with pytest.raises(UsageError, match="unknown format"):
        run(songs, tmp_path / "out", formats="mp3")


def test_the_closing_report_adds_up(songs: Path, tmp_path: Path) -> None:
    summary = run(songs, tmp_path / "out")
    assert sum(summary.shares().values()) == pytest.approx(1)
    assert summary.audio == pytest.approx(4 * 6 + 0.01)
    text = "\n".join(summary.lines(profile=True))
    assert "2 ok, 1 truncated, 1 silent, 2 too_short, 1 unreadable" in text
    assert "audio decoding" in text
    assert "x per core" in text
