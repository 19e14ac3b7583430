"""open_audio on whole files: every format, sample type, rate and channel count."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from audio_files import strip_frame_count, tones, write_av, write_sound

from chordfast.audio import open_audio
from chordfast.audio.reading import BLOCK_FRAMES
from chordfast.errors import AudioError

needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="needs chordfast[av]")


def read(path: Path):
    with open_audio(path) as reader:
        blocks = list(reader)
    samples = np.concatenate(blocks) if blocks else np.empty((0, reader.info.channels), np.float32)
    return reader, samples


def as_float(samples: np.ndarray) -> np.ndarray:
    return samples / 32768.0 if samples.dtype == np.int16 else samples.astype(np.float64)


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [
        ("a.u8.wav", np.int16, 1 / 128),
        ("a.16.wav", np.int16, 1 / 32768),
        ("a.24.wav", np.float32, 1e-6),
        ("a.32.wav", np.float32, 1e-6),
        ("a.f32.wav", np.float32, 1e-6),
        ("a.f64.wav", np.float32, 1e-6),
        ("a.flac", np.int16, 1 / 32768),
        ("a.aiff", np.int16, 1 / 32768),
        ("a.au", np.int16, 1 / 32768),
        ("a.caf", np.int16, 1 / 32768),
        ("a.w64", np.int16, 1 / 32768),
    ],
)
def test_lossless_formats_give_the_samples_back(tmp_path, name, dtype, tolerance):
    samples = tones(30_001, 2, 44100)
    reader, got = read(write_sound(tmp_path / name, samples, 44100))
    assert got.dtype == dtype
    assert np.abs(as_float(got) - samples).max() <= tolerance
    info = reader.info
    assert (info.sample_rate, info.channels, info.frames) == (44100, 2, 30_001)
    assert info.duration == pytest.approx(30_001 / 44100)
    assert info.decoder.startswith("libsndfile ")
    assert (reader.frames_read, reader.outcome_hint, reader.note) == (30_001, "ok", "")


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.opus"])
def test_lossy_formats_are_close_and_aligned(tmp_path, name):
    samples = tones(48_000 * 2, 2, 48_000)
    reader, got = read(write_sound(tmp_path / name, samples, 48_000))
    assert got.dtype == np.float32
    assert len(got) == len(samples)
    assert reader.outcome_hint == "ok"
    inner = slice(4800, -4800)
    error = got[inner] - samples[inner]
    assert np.sqrt((error**2).mean()) < 0.05 * np.sqrt((samples**2).mean())


@needs_av
@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [("a.m4a", "aac", "mp4"), ("a.webm", "libopus", "webm"), ("a.mka", "aac", "matroska"), ("a.aac", "aac", "adts")],
)
def test_other_containers_go_through_ffmpeg(tmp_path, name, codec, container):
    samples = tones(48_000 * 2, 2, 48_000)
    try:
        path = write_av(tmp_path / name, samples, 48_000, codec, container)
    except ValueError:
        pytest.skip(f"this FFmpeg does not encode {codec}")
    reader, got = read(path)
    assert reader.info.decoder.startswith("PyAV ")
    assert reader.outcome_hint == "ok"
    assert abs(len(got) - len(samples)) <= 3072
    spectrum = np.abs(np.fft.rfft(as_float(got)[4800 : 4800 + 48_000], axis=0))
    assert spectrum.argmax(axis=0).tolist() == [220, 440]


@needs_av
def test_mp4_without_pyav_says_what_to_install(tmp_path, monkeypatch):
    path = write_av(tmp_path / "a.m4a", tones(9600, 1, 48_000), 48_000, "aac", "mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"a\.m4a \(MP4 audio\) needs FFmpeg to be read; install chordfast\[av\]"):
        open_audio(path)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 48000, 88200, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rates_and_channels(tmp_path, rate, channels):
    samples = tones(1000, channels, rate)
    reader, got = read(write_sound(tmp_path / "a.flac", samples, rate))
    assert (reader.info.sample_rate, reader.info.channels) == (rate, channels)
    assert np.abs(as_float(got) - samples).max() <= 1 / 32768


def test_blocks_are_bounded_and_in_order(tmp_path):
    samples = tones(2 * BLOCK_FRAMES + 77, 1, 8000)
    with open_audio(write_sound(tmp_path / "a.16.wav", samples, 8000)) as reader:
        lengths = []
        position = 0
        for block in reader:
            assert block.shape[1] == 1
            assert np.abs(as_float(block) - samples[position : position + len(block)]).max() <= 1 / 32768
            lengths.append(len(block))
            position += len(block)
    assert lengths == [BLOCK_FRAMES, BLOCK_FRAMES, 77]


def test_non_finite_samples_pass_through(tmp_path):
    samples = tones(100, 1, 8000)
    samples[[3, 50, 70]] = [[np.nan], [np.inf], [-np.inf]]
    _, got = read(write_sound(tmp_path / "a.f32.wav", samples, 8000))
    assert np.isnan(got[3]).all()
    assert got[50, 0] == np.inf
    assert got[70, 0] == -np.inf


@pytest.mark.parametrize("frames", [0, 1])
@pytest.mark.parametrize("name", ["a.16.wav", "a.flac", "a.ogg", "a.mp3"])
def test_no_and_one_sample(tmp_path, name, frames):
    path = write_sound(tmp_path / name, tones(frames, 2, 44100), 44100)
    if path.stat().st_size == 0:  # an encoder that writes nothing at all
        with pytest.raises(AudioError, match="is empty"):
            open_audio(path)
        return
    reader, got = read(path)
    assert len(got) == reader.frames_read == frames
    assert got.shape[1] == 2


@pytest.mark.parametrize("name", ["Ψ 歌曲 – naïve.wav", "x" * 246 + ".wav", "new\nline.wav", b"latin\xe9.wav"])
def test_odd_names(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    write_sound(tmp_path / "plain.wav", tones(500, 1, 8000), 8000).rename(path)
    assert len(read(path)[1]) == 500


def test_mp3_without_frame_count_is_read_to_its_end(tmp_path, monkeypatch):
    # Loud, then silent, with a variable bit rate: the file size suggests a third of the true length.
    import soundfile

    samples = tones(44100 * 16, 2, 44100) + np.random.default_rng(1).standard_normal((44100 * 16, 2)) * 0.2
    samples[44100:] *= 1e-5
    whole = tmp_path / "whole.mp3"
    soundfile.write(whole, samples, 44100, bitrate_mode="VARIABLE", compression_level=0.5)
    assert read(whole)[0].info.frames == len(samples)
    path = tmp_path / "bare.mp3"
    path.write_bytes(strip_frame_count(whole.read_bytes()))
    if importlib.util.find_spec("av"):
        reader, got = read(path)
        assert abs(len(got) - len(samples)) <= 2 * 1152
        assert (reader.outcome_hint, reader.info.frames) == ("ok", 0)
    monkeypatch.setitem(sys.modules, "av", None)
    reader, got = read(path)
    assert len(got) < len(samples) // 2
    assert reader.outcome_hint == "truncated"
    assert "install chordfast[av]" in reader.note


def test_mp3_behind_a_tag_or_junk(tmp_path):
    samples = tones(44100, 1, 44100)
    data = write_sound(tmp_path / "a.mp3", samples, 44100).read_bytes()
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 0]) + bytes(256)
    for name, content in (("tag.mp3", tag + data), ("zeros.mp3", bytes(3000) + data)):
        (tmp_path / name).write_bytes(content)
        reader, got = read(tmp_path / name)
        assert abs(len(got) - 44100) <= 1152
        assert reader.outcome_hint == "ok"
