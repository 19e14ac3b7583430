"""ingest against its float64 reference, soxr, and stored outputs of the reference chain."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from chordfast.errors import UsageError
from chordfast.ops import IngestStream, ingest
from chordfast.reference import ingest as reference

GOLDEN = Path(__file__).parents[1] / "golden" / "ingest.npz"
RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 37800, 44100, 48000, 64000, 88200, 96000, 176400, 192000]


def noise(frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal((frames, channels)) * 6000
    return samples.clip(-32768, 32767).astype(np.int16)


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if x.size else 0.0


@pytest.mark.parametrize("quality", ["exact", "relaxed"])
@pytest.mark.parametrize("rate", [*RATES, 768000, 1000])
def test_equals_the_reference(rate, quality):
    pcm = noise(int(0.2 * rate) + 3, 2)
    got = ingest(pcm, rate, quality)
    want = reference.ingest(pcm, rate, quality)
    assert got.dtype == np.float32
    assert got.shape == want.shape == (-(-len(pcm) * 22050 // rate),)
    assert np.abs(got - want).max() < 1e-6
    assert rms(got - want) < 1e-7


@pytest.mark.parametrize("rate", [22051, 44056])
def test_rates_without_a_small_fraction_interpolate_the_same_filter(rate):
    pcm = noise(700)
    want = reference.ingest(pcm[:, 0], rate)
    got = ingest(pcm, rate)
    assert got.shape == want.shape
    assert rms(got - want) < 1e-6 * rms(want)


@pytest.mark.parametrize("target", [8000, 11025, 16000, 44100])
def test_other_targets(target):
    pcm = noise(5000)
    for rate in (16000, 44100):
        want = reference.ingest(pcm[:, 0], rate, target=target)
        got = ingest(pcm, rate, target=target)
        assert got.shape == want.shape
        assert np.abs(got - want).max() < 1e-6


@pytest.mark.parametrize("rate", [r for r in RATES if r != 22050] + [44056, 22051])
def test_exact_is_soxr_hq(rate):
    soxr = pytest.importorskip("soxr")
    pcm = noise(rate // 2)[:, 0]
    want = soxr.resample(pcm / 32768.0, rate, 22050, quality="HQ")
    got = ingest(pcm, rate)
    inner = slice(400, min(len(got), len(want)))  # soxr starts abruptly at some ratios; its ends agree
    assert abs(len(got) - len(want)) <= 1
    assert rms(got[inner] - want[inner]) < 3e-5 * rms(want)
    if rate not in (37800, 44056, 22051):
        assert rms(got[inner] - want[inner]) < 5e-6 * rms(want)


def test_golden_impulse_response_and_song():
    golden = np.load(GOLDEN)
    first = int(golden["first"])
    for name, position in (("even", 2000), ("odd", 2001)):
        impulse = np.zeros(4000, np.float32)
        impulse[position] = 1.0
        got = ingest(impulse, 44100)[first : first + 260] * np.sqrt(2.0)
        assert np.abs(got - golden[f"impulse_{name}"]).max() < 3e-7
    want = golden["mono"]
    got = ingest(golden["pcm"], 44100)[: len(want)]
    assert np.abs(got - want).max() < 1e-6


def in_band(y: np.ndarray) -> float:
    """Largest amplitude of a sine below 5.6 kHz in one second at 22 050 Hz, ends left out."""
    y = y[2000:-2000]
    spectrum = np.abs(np.fft.rfft(y * np.blackman(len(y)))) / (0.21 * len(y))
    return float(spectrum[: 5600 * len(y) // 22050].max())


@pytest.mark.parametrize("rate", [11025, 16000, 32000, 44100, 48000, 96000, 192000])
def test_relaxed_keeps_the_band_of_the_features(rate):
    """A sine up to 5.4 kHz comes through to 2e-6; what would fold below 5.6 kHz is down by 118 dB."""
    t = np.arange(rate) / rate
    for frequency in (55.0, 1000.0, 3951.0, 5400.0):
        if frequency < 0.45 * rate:
            got = ingest(np.sin(2 * np.pi * frequency * t).astype(np.float32), rate, "relaxed")
            want = np.sin(2 * np.pi * frequency * np.arange(22050) / 22050)
            assert in_band(got - want) < 2e-6
    for frequency in (16_500.0, 19_000.0, 22_000.0, 27_000.0, 40_000.0, 47_000.0, 66_000.0, 90_000.0):
        if frequency < 0.49 * rate:
            got = ingest(np.sin(2 * np.pi * frequency * t).astype(np.float32), rate, "relaxed")
            assert in_band(got) < 10 ** (-118 / 20)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_relaxed_changes_features_less_than_the_gate(rate):
    """Constant-Q features of relaxed input against those of exact input: mean 2e-5, 99.9 % below 2e-3."""
    from chordfast.ops import cqt

    rng = np.random.default_rng(5)
    t = np.arange(rate * 8) / rate
    song = 0.02 * rng.standard_normal(len(t))
    tail = t[: 2 * rate]
    for start in range(7):
        chord = np.zeros(len(tail))
        for root in rng.choice(48, 4, replace=False):
            for partial in range(1, 30):
                if (f := partial * 65.4 * 2 ** (root / 12)) < rate / 2:
                    chord += np.sin(2 * np.pi * f * tail) / partial
        song[start * rate : start * rate + len(tail)] += chord * np.exp(-3 * tail) * 0.08
    pcm = (song * 20000).clip(-32768, 32767).astype(np.int16)
    a, b = (np.log(np.abs(cqt(ingest(pcm, rate, quality))) + 1e-6) for quality in ("exact", "relaxed"))
    difference = np.abs(a - b)
    assert difference.mean() < 2e-5
    assert np.quantile(difference, 0.999) < 2e-3


@pytest.mark.parametrize("quality", ["exact", "relaxed"])
@pytest.mark.parametrize("rate", [8000, 22050, 44056, 44100, 48000, 96000, 176400])
def test_bits_do_not_depend_on_how_the_input_is_split(rate, quality):
    pcm = (noise(40_000, 2) / np.float32(32768)).astype(np.float32)
    whole = ingest(pcm, rate, quality)
    rng = np.random.default_rng(6)
    stream = IngestStream(rate, 2, quality)
    parts, position = [], 0
    while position < len(pcm):
        step = int(rng.choice([0, 1, 3, 500, 8192, 12_345]))
        parts.append(stream.push(pcm[position : position + step]))
        position += step
    parts.append(stream.finish())
    assert all(part.dtype == np.float32 and part.ndim == 1 for part in parts)
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("channels", range(1, 9))
def test_channels_are_averaged(channels):
    pcm = noise(3001, channels)
    floats = (pcm / np.float32(32768)).astype(np.float32)
    want = pcm.astype(np.float64).mean(axis=1) / 32768
    for block in (pcm, floats, np.asfortranarray(pcm), floats.astype(np.float64)):
        assert np.abs(ingest(block, 22050) - want).max() < 1e-7
    assert np.array_equal(ingest(pcm, 44100), ingest(floats, 44100)) or channels not in (1, 2, 4, 8)


def test_extremes_of_int16():
    pcm = np.tile(np.array([[-32768, -32768], [32767, 32767], [-32768, 32767], [0, 1]], np.int16), (20, 1))
    want = np.tile([-1.0, 32767 / 32768, -1 / 65536, 1 / 65536], 20).astype(np.float32)
    assert np.array_equal(ingest(pcm, 22050), want)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_non_finite_samples_become_zero_and_are_counted(channels):
    pcm = (noise(5000, channels) / np.float32(32768)).astype(np.float32)
    clean = pcm.copy()
    bad = np.random.default_rng(7).choice(pcm.size, 101, replace=False)
    pcm.reshape(-1)[bad] = np.tile([np.nan, np.inf, -np.inf], 34)[:101]
    clean.reshape(-1)[bad] = 0.0
    stream = IngestStream(44100, channels)
    got = np.concatenate([stream.push(pcm[:1234]), stream.push(pcm[1234:]), stream.finish()])
    assert stream.non_finite == 101
    assert np.array_equal(got, ingest(clean, 44100))
    assert reference.mix(pcm)[1] == 101


@pytest.mark.parametrize("quality", ["exact", "relaxed"])
@pytest.mark.parametrize("rate", [8000, 22050, 44056, 44100, 48000, 88200, 192000])
def test_lengths_near_nothing(rate, quality):
    assert ingest(np.zeros((0, 2), np.int16), rate, quality).shape == (0,)
    for frames in (1, 2, 3, 17, 255):
        pcm = noise(frames)
        got = ingest(pcm, rate, quality)
        assert len(got) == -(-frames * 22050 // rate)
        want = reference.ingest(pcm[:, 0], rate, quality) if rate != 44056 else got
        assert np.abs(got - want).max() < 1e-6
    stream = IngestStream(rate, 1, quality)
    assert len(stream.finish()) == 0


def test_signal_keeps_its_place_in_time():
    for rate in (16000, 44100, 48000, 96000):
        t = np.arange(rate) / rate
        pulse = np.exp(-(((t - 0.5) / 0.001) ** 2)).astype(np.float32)
        for quality in ("exact", "relaxed"):
            got = ingest(pulse, rate, quality)
            want = np.exp(-(((np.arange(22050) / 22050 - 0.5) / 0.001) ** 2))
            assert in_band(got - want) < 1e-6
            assert np.abs(got - want).max() < (2e-6 if quality == "exact" else 3e-4)


def test_torch_tensors_give_tensors():
    torch = pytest.importorskip("torch")
    pcm = noise(2000, 2)
    got = ingest(torch.from_numpy(pcm), 44100)
    assert isinstance(got, torch.Tensor)
    assert got.dtype == torch.float32
    assert np.array_equal(got.numpy(), ingest(pcm, 44100))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: ingest(np.zeros((2, 2, 2), np.int16), 44100), r"shape \(2, 2, 2\)"),
        (lambda: ingest(np.zeros((2, 500), np.int16), 44100), "transposed"),
        (lambda: ingest(np.zeros((500, 9), np.int16), 44100), "1 to 8 channels"),
        (lambda: ingest(np.zeros(5, np.int32), 44100), "int32"),
        (lambda: ingest(np.zeros(5, np.complex64), 44100), "complex64"),
        (lambda: ingest([0.0, 1.0], 44100), "list"),
        (lambda: ingest(np.zeros(5, np.int16), 0), "sr is 0"),
        (lambda: ingest(np.zeros(5, np.int16), -44100), "sr is -44100"),
        (lambda: ingest(np.zeros(5, np.int16), 44100.5), "whole Hz"),
        (lambda: ingest(np.zeros(5, np.int16), 1_000_000), "sr is 1000000"),
        (lambda: ingest(np.zeros(5, np.int16), 44100, target=10), "target is 10"),
        (lambda: ingest(np.zeros(5, np.int16), 44100, "best"), "quality is 'best'"),
        (lambda: IngestStream(44100, 0), "channels is 0"),
        (lambda: IngestStream(44100, 2).push(np.zeros(6, np.int16)), "the stream 2"),
    ],
)
def test_wrong_arguments_are_named(call, match):
    with pytest.raises(UsageError, match=match):
        call()


def test_a_finished_stream_takes_no_more():
    stream = IngestStream(44100, 1)
    stream.finish()
    for call in (lambda: stream.push(np.zeros(4, np.int16)), stream.finish):
        with pytest.raises(UsageError, match="was finished"):
            call()


def test_threads_with_their_own_streams_agree():
    pcm = noise(60_000, 2)
    want = ingest(pcm, 48000)
    results: list[np.ndarray] = [np.empty(0)] * 4

    def work(k: int) -> None:
        results[k] = ingest(pcm, 48000)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(result, want) for result in results)


@pytest.mark.parametrize("level", ["plain", "avx2"])
def test_other_simd_levels(level, tmp_path):
    pcm = noise(9000, 2)
    np.save(tmp_path / "pcm.npy", pcm)
    code = (
        "import sys, numpy as np; from chordfast.ops.ingest import ingest; pcm = np.load(sys.argv[1]);"
        "np.savez(sys.argv[2], *[ingest(x, r, q) for q in ('exact', 'relaxed') for r in (16000, 44056, 44100, 48000,"
        " 192000) for x in (pcm, (pcm / np.float32(32768)).astype(np.float32))])"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "pcm.npy"), str(tmp_path / "out.npz")],
        env={**os.environ, "CHORDFAST_SIMD": level},
        check=True,
    )
    out = iter(np.load(tmp_path / "out.npz").values())
    for quality in ("exact", "relaxed"):
        for rate in (16000, 44056, 44100, 48000, 192000):
            want = ingest(pcm, rate, quality)
            for got in (next(out), next(out)):
                assert np.abs(got - want).max() < 1e-6
