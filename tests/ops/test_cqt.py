"""The constant-Q transform against stored librosa features, librosa itself and the float64 procedure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from chordfast import ops, reference
from chordfast.errors import UsageError
from chordfast.ops import BTC, CREMA, CREMA_H1, CREMA_H2, CqtStream, FeaturePlan
from chordfast.reference import cqt as truth

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return sf.read(GOLDEN / "clip_mono_22050.flac", dtype="float32")[0]


def expected(x: np.ndarray, plan: FeaturePlan) -> np.ndarray:
    return truth.cqt(x, plan.sample_rate, plan.hop, plan.n_bins, plan.bins_per_octave, plan.fmin)


def logarithm(x: np.ndarray, plan: FeaturePlan) -> np.ndarray:
    return x if plan.output == "log" else np.log(x + 1e-6)


def assert_close(
    found: np.ndarray, wanted: np.ndarray, mean: float = 2e-5, p999: float = 2e-3, p9999: float = 2e-2
) -> None:
    """The parity gate: errors of log-magnitude, tighter than what rounding the input to 16 bits does."""
    assert found.shape == wanted.shape
    error = np.abs(found - wanted)
    assert error.mean() <= mean
    assert np.quantile(error, 0.999) <= p999
    assert np.quantile(error, 0.9999) <= p9999


def test_stored_features_of_the_reference_within_its_resamplers_noise(clip: np.ndarray) -> None:
    stored = np.load(GOLDEN / "cqt.npz")
    found = ops.cqt(clip)
    magnitude = np.exp(found) - 1e-6
    assert np.all(np.abs(magnitude - stored["mag"]) <= 1e-5 + 1e-5 * stored["mag"])
    loud = stored["mag"] > 1e-2
    assert np.abs(found - stored["log"])[loud].max() <= 2e-4
    # This synthetic clip has empty bands, where soxr's own float32 rounding shows: the exact float64 procedure differs
    # from the stored features by 3.5e-5 on average as well.
    assert_close(found, stored["log"], mean=5e-5, p999=3e-3)


def test_librosa_on_music() -> None:
    librosa = pytest.importorskip("librosa")
    from importlib.resources import files

    pcm, rate = sf.read(str(files("chordfast") / "data" / "demo.ogg"), dtype="float32", always_2d=True)
    y = librosa.resample(pcm.mean(axis=1), orig_sr=rate, target_sr=22050)
    for plan in (BTC, CREMA_H1, CREMA_H2):
        wanted = librosa.cqt(
            y,
            sr=22050,
            hop_length=2048,
            fmin=plan.fmin,
            n_bins=plan.n_bins,
            bins_per_octave=plan.bins_per_octave,
            tuning=0,
        )
        magnitude = np.abs(wanted).T
        heard = magnitude.max(axis=1) > 1e-2  # 60 dB below that stands soxr's rounding, not the music
        assert heard.mean() > 0.9
        assert_close(logarithm(ops.cqt(y, plan), plan)[heard], np.log(magnitude + 1e-6)[heard])


@pytest.mark.parametrize(
    "plan",
    [
        BTC,
        CREMA_H1,
        CREMA_H2,
        CREMA,
        FeaturePlan(n_bins=84, bins_per_octave=12),
        FeaturePlan(n_bins=100, bins_per_octave=24),
        FeaturePlan(n_bins=7, bins_per_octave=12, fmin=110.0, hop=512),
        FeaturePlan(sample_rate=44100, hop=4096),
        FeaturePlan(n_bins=48, bins_per_octave=48, fmin=220.0, hop=1024),
        FeaturePlan(n_bins=24, bins_per_octave=12, fmin=27.5),
    ],
    ids=lambda plan: f"{plan.n_bins}x{plan.bins_per_octave}@{plan.fmin:.0f}Hz/{plan.hop}/{plan.sample_rate}",
)
def test_every_plan_equals_the_float64_procedure(clip: np.ndarray, plan: FeaturePlan) -> None:
    x = clip[100_000:180_001]
    assert_close(logarithm(ops.cqt(x, plan), plan), np.log(expected(x, plan) + 1e-6), mean=6e-5, p999=4e-3)


@pytest.mark.parametrize(
    "n", [0, 1, 2, 3, 5, 31, 100, 511, 512, 1000, 2047, 2048, 2049, 4095, 4096, 6143, 6144, 12345, 40961]
)
def test_any_length_with_exact_ends(clip: np.ndarray, n: int) -> None:
    x = clip[3000 : 3000 + n]
    wanted = np.log(expected(x, BTC) + 1e-6)
    found = ops.cqt(x)
    assert found.shape == wanted.shape == (BTC.n_frames(n), 144)
    if n >= 2:
        assert np.abs(found - wanted).max() <= 2e-3


def test_crema_harmonics_are_slices_of_one_transform(clip: np.ndarray) -> None:
    both = ops.cqt(clip[:60_000], CREMA)
    # The C1 plan halves the rate before its top octave and the C2 plan does not: rounding differs, nothing else.
    for plan, columns in ((CREMA_H1, slice(0, 216)), (CREMA_H2, slice(36, 252))):
        np.testing.assert_allclose(ops.cqt(clip[:60_000], plan), both[:, columns], atol=2e-6, rtol=1e-5)


def test_silence_is_the_logarithm_of_the_floor() -> None:
    out = ops.cqt(np.zeros(22050, np.float32))
    np.testing.assert_allclose(out, np.log(1e-6), atol=1e-6)


def test_pure_tone_peaks_in_its_bin_with_the_expected_level() -> None:
    t = np.arange(44100) / 22050
    magnitude = np.exp(ops.cqt(np.sin(2 * np.pi * 220.0 * t).astype(np.float32)))
    k = round(24 * np.log2(220.0 / BTC.fmin))
    assert (magnitude[5:-5].argmax(axis=1) == k).all()
    # A bin holds sqrt(L)/2 for a unit sine, L its filter's length in samples.
    length = 22050 / (truth.relative_bandwidth(24) * BTC.fmin * 2 ** (k / 24))
    np.testing.assert_allclose(magnitude[8:-8, k], np.sqrt(length) / 2, rtol=0.01)


def test_stream_equals_one_call_for_any_block_sizes(clip: np.ndarray) -> None:
    whole = ops.cqt(clip)
    rng = np.random.default_rng(0)
    for largest in (700, 5000, 200_000):
        stream, parts, at = CqtStream(), [], 0
        while at < len(clip):
            size = int(rng.integers(0, largest))
            parts.append(stream.push(clip[at : at + size]))
            at += size
        parts.append(stream.finish())
        assert np.array_equal(np.concatenate(parts), whole)
    assert len(stream.finish()) == 0
    with pytest.raises(UsageError, match="after finish"):
        stream.push(clip[:10])


def test_stream_gives_frames_early_and_keeps_little(clip: np.ndarray) -> None:
    stream = CqtStream()
    early = sum(len(stream.push(clip[at : at + 22050])) for at in range(0, 22050 * 20, 22050))
    assert early >= BTC.n_frames(22050 * 20) - 30


def test_threads_batches_and_layout_do_not_change_a_bit(clip: np.ndarray) -> None:
    long = np.tile(clip, 5)
    whole = ops.cqt(long, threads=1)
    assert np.array_equal(whole, ops.cqt(long, threads=3))
    batch = np.stack([long[:50_000], long[9:50_009], long[77:50_077]])
    rows = ops.cqt(batch, threads=2)
    assert rows.shape == (3, BTC.n_frames(50_000), 144)
    for row, found in zip(batch, rows, strict=True):
        assert np.array_equal(ops.cqt(row), found)
    strided = np.stack([long[:50_000]] * 2, axis=1)[:, 0]
    assert np.array_equal(ops.cqt(strided), rows[0])
    assert ops.cqt(np.zeros((2, 0, 5000), np.float32)).shape == (2, 0, 3, 144)


@pytest.mark.parametrize("level", ["plain", "avx2"])
def test_lower_simd_levels_agree(clip: np.ndarray, level: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", clip[:50_000])
    code = "import sys,numpy as np; from chordfast import ops; np.save(sys.argv[2], ops.cqt(np.load(sys.argv[1])))"
    environment = {"CHORDFAST_SIMD": level, "PATH": "", "PYTHONPATH": str(Path(ops.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code, tmp_path / "x.npy", tmp_path / "y.npy"], check=True, env=environment)
    assert_close(np.load(tmp_path / "y.npy"), ops.cqt(clip[:50_000]), mean=2e-5, p999=2e-3)


def test_torch_tensors(clip: np.ndarray) -> None:
    x = torch.from_numpy(np.stack([clip[:30_000], clip[500:30_500]]))
    out = ops.cqt(x)
    assert isinstance(out, torch.Tensor)
    assert np.array_equal(out.numpy(), ops.cqt(x.numpy()))
    compiled = torch.compile(lambda v: ops.cqt(v) * 2, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), out * 2)
    assert ops.cqt(x.to("meta")).shape == out.shape
    arguments = (x[:, :5000].contiguous(), 1, 22050, 2048, 144, 24, BTC.fmin, True)
    torch.library.opcheck(torch.ops.chordfast._cqt.default, arguments)


def test_arguments_are_checked(clip: np.ndarray) -> None:
    with pytest.raises(UsageError, match="float64; convert them to float32"):
        ops.cqt(clip.astype(np.float64))
    with pytest.raises(UsageError, match="int16; convert"):
        ops.cqt(torch.zeros(100, dtype=torch.int16))
    with pytest.raises(UsageError, match="no sample axis"):
        ops.cqt(np.array(1.0, np.float32))
    with pytest.raises(UsageError, match="got list"):
        ops.cqt([0.0, 1.0])
    with pytest.raises(UsageError, match="threads is 0"):
        ops.cqt(clip[:100], threads=0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"n_bins": 0}, "n_bins is 0"),
        ({"hop": 2.5}, "hop is 2.5"),
        ({"hop": 100}, "cannot be halved 5 times"),
        ({"fmin": float("nan")}, "fmin is nan"),
        ({"n_bins": 240}, "reach beyond half the sample rate"),
        ({"output": "db"}, "give 'log' or 'magnitude'"),
        ({"fmin": 1e-9, "n_bins": 24}, "longer than a million samples"),
    ],
)
def test_impossible_plans_are_refused_in_one_sentence(arguments: dict, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        FeaturePlan(**arguments)


def test_hash_names_everything_that_changes_the_numbers() -> None:
    plans = [
        BTC,
        CREMA,
        CREMA_H1,
        CREMA_H2,
        FeaturePlan(output="magnitude"),
        FeaturePlan(hop=1024),
        FeaturePlan(fmin=32.7),
    ]
    assert len({plan.hash for plan in plans}) == len(plans)
    assert FeaturePlan().hash == BTC.hash
    assert len(BTC.hash) == 16


def test_reference_filters_match_the_published_ones() -> None:
    bank = truth.filter_bank(BTC.fmin * 2 ** (np.arange(120, 144) / 24), 11025.0, 24)
    assert bank.n_fft == 512
    assert np.count_nonzero(bank.spectrum) == 303
    assert bank.lengths[0] == pytest.approx(364.88, abs=0.01) or bank.lengths[-1] == pytest.approx(187.78, abs=0.01)
    taps = reference.cqt.decimation_taps()
    assert taps.sum() == pytest.approx(1.0)
    response = np.abs(np.exp(-2j * np.pi * np.outer([0.0, 0.2, 0.25, 0.3], np.arange(len(taps)))) @ taps)
    np.testing.assert_allclose(response[:2], 1.0, atol=1e-6)
    assert response[2] < 1e-5 and response[3] < 1e-6
