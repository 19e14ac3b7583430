"""Features of files and samples: values, agreement of the two ways, and what a song tells about itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chordfast.audio.pitch_shift import shift
from chordfast.errors import AudioError, UsageError
from chordfast.features import extract, extract_samples, extract_song, features_hash, stream_song
from chordfast.features.extraction import stream_shifted
from chordfast.ops import BTC, CREMA, FeaturePlan
from chordfast.ops.cqt import cqt
from chordfast.ops.ingest import ingest


def chord(rate: int, seconds: float = 3.0) -> np.ndarray:
    """A major triad over noise, float64 [N]."""
    t = np.arange(round(rate * seconds)) / rate
    noise = 0.01 * np.random.default_rng(1).standard_normal(len(t))
    return noise + 0.1 * sum(np.sin(2 * np.pi * f * t) for f in (220.0, 277.18, 329.63))


def test_shape_and_values() -> None:
    tone = np.sin(2 * np.pi * 440.0 * np.arange(5 * 22050) / 22050).astype(np.float32)
    features = extract(tone, sr=22050)
    assert features.dtype == np.float32
    assert features.shape == (BTC.n_frames(len(tone)), 144)
    # A4 is 45 quarter-octave steps of 1/24 above C1: bin 2 * 45.
    assert set(features[10:40].argmax(axis=1)) == {90}
    assert extract(np.zeros(22050, np.float32), sr=22050) == pytest.approx(np.log(1e-6), abs=1e-4)


@pytest.mark.parametrize("quality", ["relaxed", "exact"])
@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_a_file_and_its_samples_give_the_same(tmp_path: Path, rate: int, quality: str) -> None:
    pcm = np.stack([chord(rate), 0.5 * chord(rate)], axis=1)
    soundfile.write(tmp_path / "x.wav", pcm, rate, subtype="PCM_16")
    samples, _ = soundfile.read(tmp_path / "x.wav", dtype="int16")
    from_file = extract(tmp_path / "x.wav", quality=quality)
    from_samples = extract(samples, sr=rate, quality=quality)
    np.testing.assert_allclose(from_file, from_samples, atol=2e-3)
    assert np.abs(from_file - from_samples).mean() < 1e-5
    np.testing.assert_array_equal(extract_samples(samples, rate, quality=quality).features, from_file)


def test_extract_is_cqt_of_ingest() -> None:
    pcm = chord(44100).astype(np.float32)
    np.testing.assert_array_equal(extract(pcm, sr=44100, quality="exact"), cqt(ingest(pcm, 44100, "exact")))
    np.testing.assert_array_equal(extract(pcm, sr=44100), cqt(ingest(pcm, 44100, "relaxed")))


def test_int16_is_float_over_32768() -> None:
    whole = np.round(chord(22050) * 32768).astype(np.int16)
    np.testing.assert_allclose(extract(whole, 22050), extract(whole / 32768, 22050), atol=1e-4)


def test_relaxed_is_near_exact() -> None:
    pcm = chord(44100)
    difference = np.abs(extract(pcm, 44100) - extract(pcm, 44100, quality="exact"))
    assert difference.mean() < 5e-4
    assert np.quantile(difference, 0.999) < 6e-2


def test_other_plans() -> None:
    features = extract(chord(22050), 22050, CREMA)
    assert features.shape == (BTC.n_frames(3 * 22050), CREMA.n_bins)
    assert features.min() >= 0


def test_several_plans_in_one_pass(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.stack([chord(44100), 0.5 * chord(44100)], axis=1), 44100)
    song = extract_song(tmp_path / "x.wav", (CREMA, BTC))
    assert isinstance(song.features, tuple)
    np.testing.assert_array_equal(song.features[0], extract_song(tmp_path / "x.wav", CREMA).features)
    np.testing.assert_array_equal(song.features[1], extract_song(tmp_path / "x.wav", BTC).features)
    from_samples = extract_samples(chord(22050), 22050, [BTC])
    assert isinstance(from_samples.features, tuple)
    assert len(from_samples.features) == 1


def test_streamed_frames_follow_each_other(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", chord(22050, 20.0), 22050)
    seen: list[tuple[int, np.ndarray]] = []
    song = stream_song(tmp_path / "x.wav", (CREMA, BTC), "relaxed", lambda plan, frames: seen.append((plan, frames)))
    assert song.features == ()
    assert (song.outcome, song.duration, song.n_samples) == ("ok", 20.0, 441000)
    for index, plan in enumerate((CREMA, BTC)):
        parts = [frames for which, frames in seen if which == index]
        assert len(parts) > 2
        np.testing.assert_array_equal(np.concatenate(parts), extract(tmp_path / "x.wav", plan=plan))


def test_plans_of_other_rates_are_refused() -> None:
    slow = FeaturePlan(sample_rate=16000, n_bins=96)
    with pytest.raises(UsageError, match="share one sample rate; these have: 22050, 16000"):
        extract_samples(np.zeros(10, np.float32), 22050, (BTC, slow))
    with pytest.raises(UsageError, match="these have: none"):
        extract_samples(np.zeros(10, np.float32), 22050, ())


@pytest.mark.parametrize("n", [0, 1, 2, 100, 2047, 2048, 2049])
def test_any_length(n: int) -> None:
    pcm = chord(22050)[:n]
    assert extract(pcm, 22050).shape == (BTC.n_frames(n), 144)
    song = extract_samples(pcm, 22050)
    assert song.features.shape == (BTC.n_frames(n), 144)
    assert song.outcome == ("too_short" if n < 2048 else "ok")
    assert song.duration == n / 22050
    assert song.n_samples == n


def test_what_a_song_tells(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.flac", 0.5 * chord(48000, 2.5), 48000)
    song = extract_song(tmp_path / "x.flac")
    assert (song.outcome, song.note, song.duration) == ("ok", "", 2.5)
    assert song.n_samples == np.ceil(2.5 * 22050)
    assert song.peak == pytest.approx(np.abs(ingest(0.5 * chord(48000, 2.5).astype(np.float32), 48000)).max(), rel=0.01)
    assert set(song.seconds) == {"decode", "ingest", "cqt"}
    assert all(seconds >= 0 for seconds in song.seconds.values())
    assert song.decoder


def test_silence_and_numbers_that_are_none() -> None:
    quiet = extract_samples(1e-5 * chord(22050), 22050)
    assert quiet.outcome == "silent"
    assert "of full scale" in quiet.note
    broken = chord(22050).astype(np.float32)
    broken[[5, 70, 900]] = np.nan, np.inf, -np.inf
    song = extract_samples(broken, 22050)
    assert (song.outcome, song.note) == ("ok", "3 non-finite samples replaced by 0")
    assert np.isfinite(song.features).all()
    np.testing.assert_array_equal(
        song.features, extract_samples(np.nan_to_num(broken, posinf=0, neginf=0), 22050).features
    )


def test_hash_names_plan_and_quality() -> None:
    hashes = {features_hash(plan, quality) for plan in (BTC, CREMA) for quality in ("relaxed", "exact")}
    hashes.add(features_hash((BTC, CREMA), "exact"))
    assert len(hashes) == 5
    assert features_hash((BTC,), "exact") == features_hash(BTC, "exact")
    assert all(len(text) == 16 for text in hashes)
    assert features_hash(BTC, "exact") == features_hash(BTC, "exact")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((np.zeros(10),), "samples need their rate"),
        (("x.wav", 44100), "sr is read from the file"),
        ((np.zeros((2, 2, 2)), 22050), r"shape \(2, 2, 2\)"),
        ((np.zeros(10, np.int32), 22050), "int32"),
        ((np.zeros(10), 0), "rate"),
        ((np.zeros(10), -44100), "rate"),
        ((np.zeros(10), 44100.5), "rate"),
        ((np.zeros((10, 4000)), 44100), "channels"),
    ],
)
def test_arguments_that_do_not_fit(arguments: tuple[object, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        extract(*arguments)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unknown quality 'best'"):
        extract(np.zeros(10), 22050, quality="best")


def test_a_file_that_is_no_audio(tmp_path: Path) -> None:
    (tmp_path / "x.mp3").write_text("words")
    with pytest.raises(AudioError, match=r"x\.mp3"):
        extract(tmp_path / "x.mp3")
    with pytest.raises(AudioError, match=r"gone\.mp3"):
        extract_song(tmp_path / "gone.mp3")


def test_importing_features_does_not_import_torch() -> None:
    program = "import sys, chordfast.features; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("semitones", [-4, 3])
def test_shifted_features_are_those_of_the_shifted_mix(tmp_path: Path, semitones: int) -> None:
    pytest.importorskip("python_stretch")
    soundfile.write(tmp_path / "x.flac", np.stack([chord(48000), 0.5 * chord(48000)], axis=1), 48000)
    samples, _ = soundfile.read(tmp_path / "x.flac", dtype="int16")
    mono = shift(ingest(samples, 48000, "exact"), semitones)
    for quality in ("relaxed", "exact"):
        song = extract_song(tmp_path / "x.flac", (CREMA, BTC), quality, semitones)
        np.testing.assert_array_equal(song.features[1], cqt(mono, BTC))
        np.testing.assert_array_equal(song.features[0], cqt(mono, CREMA))
    assert (song.outcome, song.duration, song.n_samples) == ("ok", 3.0, 3 * 22050)
    assert set(song.seconds) == {"decode", "ingest", "shift", "cqt"}
    assert song.decoder.startswith("libsndfile ") and ", python-stretch " in song.decoder
    # A3 is 33 semitones above C1, two bins each.
    assert set(song.features[1][10:20].argmax(axis=1)) <= {2 * (33 + semitones + step) for step in (0, 4, 7)}
    seen: list[np.ndarray] = []
    formats: list[tuple[object, ...]] = []
    told = stream_shifted(tmp_path / "x.flac", semitones, 22050, lambda *form: formats.append(form), seen.append)
    assert formats == [(22050, 1, np.dtype(np.float32))]
    np.testing.assert_array_equal(np.concatenate(seen)[:, 0], mono)
    assert (told.outcome, told.duration, told.decoder) == ("ok", 3.0, song.decoder)
