"""``chordfast.label``: one recording in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from labelling_fakes import TemplateRecogniser
from test_label_bad_input import triad

import chordfast
from chordfast.decoding import DecodingOptions
from chordfast.errors import AudioError, UsageError
from chordfast.features import features_hash
from chordfast.labelling import recognise
from chordfast.ops import BTC


def two_chords(rate: int = 22050) -> np.ndarray:
    """4 s of C major, then 3 s of G major."""
    first = triad(rate, 4.0)
    t = np.arange(3 * rate) / rate
    second = 0.1 * sum(np.sin(2 * np.pi * f * t) for f in (195.998, 246.942, 293.665))
    return np.concatenate([first, second])


def test_a_file_and_its_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "song.wav", two_chords(44100), 44100)
    model = TemplateRecogniser()
    found = chordfast.label(tmp_path / "song.wav", model=model)
    assert found.labels == ["C:maj", "G:maj"]
    assert found.starts[0] == 0
    assert found.ends[0] == found.starts[1] == pytest.approx(4.0, abs=0.2)
    assert found.ends[-1] == found.duration == 7.0
    assert found.confidence is not None
    assert (found.confidence > 0.5).all()
    assert found.meta["file"] == "song.wav"
    assert found.meta["outcome"] == "ok"
    assert found.meta["model"] == "templates"
    assert found.meta["features_hash"] == features_hash(BTC, "relaxed")
    assert found.meta["options_hash"] == DecodingOptions().for_model(0.0).hash
    assert found.meta["chordfast"] == chordfast.__version__

    samples, _ = soundfile.read(tmp_path / "song.wav", dtype="int16")
    same = chordfast.label(samples, sr=44100, model=model)
    assert same.labels == found.labels
    np.testing.assert_array_equal(same.starts, found.starts)
    assert same.meta["file"] == ""


def test_options_count() -> None:
    merged = chordfast.label(two_chords(), 22050, TemplateRecogniser(), options=DecodingOptions(min_duration=3.5))
    assert merged.labels == ["C:maj"]
    assert merged.ends[-1] == 7.0


def test_silence_is_n_without_asking_the_model() -> None:
    model = TemplateRecogniser()
    found = chordfast.label(np.zeros(44100), sr=44100, model=model)
    assert (found.labels, found.duration, found.confidence) == (["N"], 1.0, None)
    assert found.meta["outcome"] == "silent"
    assert model.batches == []
    nothing = chordfast.label(np.zeros(0), sr=44100, model=model)
    assert (nothing.labels, nothing.duration, nothing.meta["outcome"]) == ([], 0.0, "too_short")


def test_errors(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_text("words")
    with pytest.raises(AudioError, match=r"x\.wav"):
        chordfast.label(tmp_path / "x.wav", model=TemplateRecogniser())
    with pytest.raises(UsageError, match="sr is read from the file"):
        chordfast.label(tmp_path / "x.wav", 44100, TemplateRecogniser())
    with pytest.raises(UsageError, match="samples need their rate"):
        chordfast.label(np.zeros(10), model=TemplateRecogniser())


def test_a_model_is_loaded_once_and_again_when_its_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def load(name: str, offline: bool = False) -> TemplateRecogniser:
        loaded.append((name, offline))
        return TemplateRecogniser()

    monkeypatch.setattr("chordfast.teachers.load", load, raising=False)
    recognise._load.cache_clear()
    path = tmp_path / "m.safetensors"
    path.write_text("1")
    for _ in range(3):
        recognise.find_recogniser(path, offline=True)
    assert loaded == [(str(path), True)]
    path.write_text("22")
    recognise.find_recogniser(path, offline=True)
    assert len(loaded) == 2
    recognise._load.cache_clear()
