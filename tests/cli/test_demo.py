"""The bundled recording, its truth, and the command that shows them."""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib import resources
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from chordfast.annotations import Annotation, read_lab
from chordfast.cli import cli
from chordfast.cli.demo import Row, compare, print_table, scores
from chordfast.errors import ModelError
from chordfast.ops.feature_plan import BTC
from chordfast.vocabulary import QUALITIES, chord_class

DATA = Path(str(resources.files("chordfast") / "data"))
SOURCE = Path(__file__).parents[2] / "examples" / "demo"


@pytest.fixture(scope="module")
def audio() -> tuple[np.ndarray, int]:
    return soundfile.read(DATA / "demo.ogg", dtype="float32")


@pytest.fixture(scope="module")
def compose() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compose", SOURCE / "compose.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def annotation(*segments: tuple[float, float, str], confidence: list[float] | None = None) -> Annotation:
    starts, ends, labels = zip(*segments, strict=True)
    return Annotation(
        starts=np.array(starts, float),
        ends=np.array(ends, float),
        labels=list(labels),
        confidence=None if confidence is None else np.array(confidence, np.float32),
        alternatives=None,
        alternative_confidence=None,
        duration=ends[-1],
        meta={},
    )


class Oracle:
    """Knows the truth of the bundled recording, except for the first chord (another root) and the second (quality)."""

    name, plan, hash, classes = "oracle", BTC, "0" * 64, 170

    def posteriors(self, features: list[np.ndarray]) -> list[np.ndarray]:
        truth = read_lab(DATA / "demo.lab")
        classes = np.array([chord_class(label) for label in truth.labels])
        classes[1], classes[2] = chord_class("D:maj"), chord_class("C:min")
        out = []
        for one in features:
            at = np.searchsorted(truth.ends, np.arange(len(one)) * self.plan.frame_period, side="right")
            rows = np.full((len(one), 170), 0.1 / 169, np.float32)
            rows[np.arange(len(one)), classes[np.minimum(at, len(classes) - 1)]] = 0.9
            out.append(rows)
        return out


def test_the_committed_files_come_from_the_chart(compose: ModuleType, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["compose.py", str(tmp_path)])
    compose.main()
    assert (tmp_path / "demo.mid").read_bytes() == (SOURCE / "demo.mid").read_bytes()
    assert (tmp_path / "demo.lab").read_text() == (SOURCE / "demo.lab").read_text()
    assert (tmp_path / "demo.lab").read_text() == (DATA / "demo.lab").read_text()


def test_recording_is_short_small_and_as_long_as_its_labels(audio: tuple[np.ndarray, int]) -> None:
    samples, rate = audio
    truth = read_lab(DATA / "demo.lab")
    assert rate == 44100
    assert samples.shape[1] == 2
    assert 40 <= len(samples) / rate <= 60
    assert truth.ends[-1] == pytest.approx(len(samples) / rate, abs=1e-3)
    assert (DATA / "demo.ogg").stat().st_size <= 700_000
    assert 0.8 < np.abs(samples).max() < 1.0


def test_every_quality_occurs_and_both_ends_are_without_a_chord() -> None:
    truth = read_lab(DATA / "demo.lab")
    assert truth.labels[0] == truth.labels[-1] == "N"
    classes = {chord_class(label) for label in truth.labels[1:-1]}
    assert {index % 14 for index in classes} == set(range(len(QUALITIES)))
    np.testing.assert_array_equal(truth.starts[1:], truth.ends[:-1])


def test_every_chord_begins_within_ten_milliseconds_of_its_label(audio: tuple[np.ndarray, int]) -> None:
    """Spectral flux over 120 ms around each label's start peaks at that start."""
    samples, rate = audio
    hop, size, lag = 128, 1024, 4
    frames = np.lib.stride_tricks.sliding_window_view(samples.mean(axis=1), size)[::hop] * np.hanning(size)
    spectrum = np.log1p(100 * np.abs(np.fft.rfft(frames, axis=1)))
    flux = np.clip(spectrum[lag:] - spectrum[:-lag], 0, None).sum(axis=1)
    # A rise from frame i to frame i + lag lies half way between their centres.
    times = ((np.arange(len(flux)) + lag / 2) * hop + size / 2) / rate
    for start in read_lab(DATA / "demo.lab").starts[1:-1]:
        near = np.abs(times - start) < 0.12
        assert times[near][np.argmax(flux[near])] == pytest.approx(start, abs=0.010)


def test_silence_at_the_end(audio: tuple[np.ndarray, int]) -> None:
    samples, rate = audio
    last = read_lab(DATA / "demo.lab").starts[-1]
    assert np.abs(samples[round((last + 0.05) * rate) :]).max() < 1e-4


def test_marks_shares_and_confidence_of_the_main_label() -> None:
    truth = annotation((0, 2, "C:maj"), (2, 4, "D:min7"), (4, 6, "N"), (6, 8, "G:7"))
    found = annotation(
        (0, 1.2, "C:maj"),
        (1.2, 2, "A:min"),
        (2, 3, "D:min"),
        (3, 4.1, "D:min"),
        (4.1, 6.2, "N"),
        (6.2, 8, "C#:maj"),
        confidence=[0.9, 0.2, 0.4, 0.8, 1.0, 0.3],
    )
    rows = compare(truth, found)
    assert [row.mark for row in rows] == ["ok", "~", "ok", "x"]
    assert [row.found for row in rows] == ["C:maj A:min", "D:min", "N", "C#:maj"]
    np.testing.assert_allclose([row.confidence for row in rows], [0.9, 0.6, 1.0, 0.3], atol=1e-6)


def test_no_chord_has_no_root_in_common_with_unknown() -> None:
    (row,) = compare(annotation((0, 1, "N")), annotation((0, 1, "X")))
    assert row.mark == "x"
    assert np.isnan(row.confidence)


def test_scores_are_those_of_mir_eval() -> None:
    truth = annotation((0, 2, "C:maj"), (2, 4, "D:min7"))
    found = annotation((0, 2, "C:maj"), (2, 4, "D:min"))
    result = scores(truth, found)
    assert result["root"] == result["majmin"] == result["triads"] == result["seg"] == 1.0
    assert result["sevenths"] == result["tetrads"] == 0.5


def test_table_on_a_terminal(capsys) -> None:
    print_table([Row(0.0, 1.0, "C:maj", "C:7", 0.52, "~"), Row(1.0, 2.0, "N", "N", float("nan"), "ok")])
    first, second = capsys.readouterr().out.splitlines()[1:3]
    assert first.split() == ["0.00", "C:maj", "C:7", "█████░░░░░", "0.52", "≈"]
    assert second.split() == ["1.00", "N", "N", "░░░░░░░░░░", "nan", "ok"]


def test_demo_prints_the_timeline_and_writes_both_files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("chordfast.teachers.load", lambda name, offline=False: Oracle())
    out = tmp_path / "new" / "out"
    run = CliRunner().invoke(cli, ["demo", "-o", str(out)])
    assert run.exit_code == 0, run.output
    lines = run.output.splitlines()
    assert lines[0].split() == ["time", "true", "found", "confidence"]
    table = [line.split() for line in lines[1:24]]
    assert [row[1] for row in table] == read_lab(DATA / "demo.lab").labels
    assert [row[-1] for row in table] == ["ok", "x", "~"] + ["ok"] * 20
    assert table[1][:3] == ["2.40", "C:maj", "D:maj"]
    assert "21 of 23 chords right" in run.output
    assert "root 0.9" in run.output
    assert "x real time" in run.output
    written = read_lab(out / "demo.lab")
    assert written.ends[-1] == pytest.approx(52.8, abs=0.001)
    assert "C:min" in written.labels
    assert "C:min" in json.dumps(json.loads((out / "demo.json").read_text()))


def test_a_missing_model_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    def load(name: str, offline: bool = False) -> Oracle:
        assert (name, offline) == ("btc", True)
        raise ModelError("model crema is not in the cache; run: chordfast models fetch crema")

    monkeypatch.setattr("chordfast.teachers.load", load)
    run = CliRunner().invoke(cli, ["demo", "--offline", "-o", str(tmp_path / "out")])
    assert run.exit_code == 1
    assert "model crema is not in the cache; run: chordfast models fetch crema" in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
