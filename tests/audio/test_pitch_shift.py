"""Pitch shifting: what moves and what stays, whatever the blocks; and what semitones may be."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from chordfast.audio.pitch_shift import PitchShift, check_semitones, parse_semitones, shift, shifter_name
from chordfast.errors import UsageError

RATE = 22050


@pytest.fixture
def stretch() -> None:
    pytest.importorskip("python_stretch")


def tone(frequency: float, seconds: float = 4.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(RATE * seconds)) / RATE)).astype(np.float32)


def pitch(x: np.ndarray) -> float:
    """Hz of the strongest partial within the middle of ``x``."""
    middle = x[RATE:-RATE] * np.hanning(len(x) - 2 * RATE)
    spectrum = np.abs(np.fft.rfft(middle, 1 << 19))
    k = int(spectrum.argmax())
    a, b, c = np.log(spectrum[k - 1 : k + 2])
    return float((k + (a - c) / (2 * (a - 2 * b + c))) * RATE / (1 << 19))


@pytest.mark.parametrize("semitones", [-5, 3, 6, 12])
@pytest.mark.parametrize(("frequency", "cents"), [(41.2, 15), (110.0, 12), (440.0, 4), (1500.0, 1)])
def test_a_tone_moves_by_semitones(stretch: None, frequency: float, cents: float, semitones: int) -> None:
    moved = shift(tone(frequency), semitones)
    assert abs(1200 * np.log2(pitch(moved) / (frequency * 2 ** (semitones / 12)))) < cents
    assert np.std(moved[RATE:-RATE]) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("semitones", [-5, -1, 6])
def test_a_click_stays_in_its_place(stretch: None, semitones: int) -> None:
    x = np.zeros(3 * RATE, np.float32)
    x[RATE] = x[2 * RATE] = 1
    power = shift(x, semitones).astype(float) ** 2
    for half, place in ((power[: len(x) // 2], RATE), (power[len(x) // 2 :], 2 * RATE - len(x) // 2)):
        off = (np.arange(len(half)) - place) / RATE
        assert abs(float(half @ off / half.sum())) < 1e-3
        assert np.sqrt(float(half @ off**2 / half.sum())) < 5e-3
        assert abs(off[half.argmax()]) < 1e-3


@pytest.mark.parametrize("n", [0, 1, 2, 700, 4096, 8193, 30001])
def test_the_length_stays(stretch: None, n: int) -> None:
    moved = shift(tone(440.0)[:n], 3)
    assert (moved.shape, moved.dtype) == ((n,), np.float32)
    assert np.isfinite(moved).all()


def test_silence_stays_silent(stretch: None) -> None:
    assert not shift(np.zeros(RATE, np.float32), -3).any()


def test_blocks_do_not_matter(stretch: None) -> None:
    x = np.random.default_rng(0).normal(0, 0.1, 9 * RATE).astype(np.float32)
    for piece in (300.0, 1.5):
        results = []
        for blocks in (1, 7, 400):
            flow = PitchShift(-4, piece=piece)
            results.append(np.concatenate([*map(flow.push, np.array_split(x, blocks)), flow.finish()]))
        assert len(results[0]) == len(x)
        np.testing.assert_array_equal(results[1], results[0])
        np.testing.assert_array_equal(results[2], results[0])
    np.testing.assert_array_equal(shift(x[: 3 * RATE], -4), shift(x[: 3 * RATE], -4))


def test_pieces_join(stretch: None) -> None:
    """Between the joints a recording in pieces is a tone of the right pitch; at them its power does not break off."""
    flow = PitchShift(3, piece=3.0)
    x = tone(440.0, 10.0)
    moved = np.concatenate([flow.push(x[: 4 * RATE]), flow.push(x[4 * RATE :]), flow.finish()])
    assert len(moved) == len(x)
    assert abs(1200 * np.log2(pitch(moved[: 3 * RATE]) / pitch(moved[7 * RATE :]))) < 1
    power = np.sqrt((moved[RATE : 9 * RATE].reshape(-1, RATE // 10) ** 2).mean(1))
    assert power.min() > 0.15 and power.max() < 0.55


def test_little_is_held(stretch: None) -> None:
    flow = PitchShift(3, piece=1.0)
    given = sum(len(flow.push(np.zeros(RATE, np.float32))) for _ in range(20))
    assert given == 17 * RATE  # two seconds and a bit must be heard beyond a piece


@pytest.mark.parametrize(
    ("text", "semitones"),
    [
        ("-5..6", (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6)),
        ("-2,1,3", (-2, 1, 3)),
        ("3, +1, 0, 3", (1, 3)),
        ("-12..-11,12", (-12, -11, 12)),
        (" 4 .. 4 ", (4,)),
    ],
)
def test_what_semitones_are(text: str, semitones: tuple[int, ...]) -> None:
    assert parse_semitones(text) == semitones
    assert check_semitones(reversed(semitones)) == semitones


@pytest.mark.parametrize("text", ["", "0", "0..0", "13", "-13..2", "6..-5", "1..", "a", "1;2", "1.5", "1,,2"])
def test_what_they_are_not(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no pitch shift; give semitones from -12 to 12, not 0 alone"):
        parse_semitones(text)


def test_numbers_are_checked_too(stretch: None) -> None:
    for wrong in ([], [0], [13], [1.5]):
        with pytest.raises(UsageError, match="is no pitch shift"):
            check_semitones(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'0' is no pitch shift"):
        PitchShift(0)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_stretch.Signalsmith", None)
    with pytest.raises(UsageError, match=r"needs python-stretch: pip install 'chordfast\[pitch\]'"):
        PitchShift(3)


def test_who_shifts_is_named(stretch: None) -> None:
    assert shifter_name().startswith("python-stretch 0.")
