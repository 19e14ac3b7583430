"""open_audio on what is not, or no longer, a whole recording."""

from __future__ import annotations

import importlib.util
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import tones, write_av, write_sound

from chordfast.audio import open_audio
from chordfast.errors import AudioError
from chordfast.features import extract_song


def drain(path: Path):
    with open_audio(path) as reader:
        return reader, sum(len(block) for block in reader)


def refuse(path: Path, match: str) -> None:
    with pytest.raises(AudioError, match=match) as caught:
        drain(path)
    assert caught.value.outcome == "unreadable"
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.flac", "a.ogg", "a.m4a", "a"])
def test_empty_text_and_noise(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    refuse(path, "is empty")
    path.write_text("These are the lyrics, not the song.\n" * 300)
    refuse(path, "not audio of a known format|cannot be decoded")
    path.write_bytes(b"\x01" + np.random.default_rng(2).bytes(60_000))
    refuse(path, "not audio of a known format|cannot be decoded")


@pytest.mark.parametrize(
    "magic", [b"RIFF\x10\0\0\0WAVE", b"fLaC", b"OggS", b"\xff\xfb\x90\x64", b"....ftypM4A ", b"FORM....AIFF"]
)
def test_noise_behind_a_right_beginning(tmp_path, magic):
    path = tmp_path / "noise.bin"
    path.write_bytes(magic + np.random.default_rng(3).bytes(30_000))
    refuse(path, "cannot be decoded|needs FFmpeg|not decoded|no audio")


def test_missing_folder_fifo_permission(tmp_path, monkeypatch):
    refuse(tmp_path / "gone.mp3", "cannot be opened: no such file or directory")
    (tmp_path / "x.mp3").mkdir()
    refuse(tmp_path / "x.mp3", "is a folder")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.wav")
        refuse(tmp_path / "pipe.wav", "not a regular file")
    with pytest.raises(AudioError, match="not a file name"):
        open_audio("nul\0l.wav")
    path = write_sound(tmp_path / "locked.wav", tones(100, 1, 8000), 8000)
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything: let the system call fail instead
        monkeypatch.setattr("builtins.open", _denied)
    refuse(path, "cannot be opened: permission denied")


def _denied(path, *args, **kwargs):
    raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize("name", ["a.16.wav", "a.24.wav", "a.aiff", "a.flac", "a.ogg", "a.opus", "a.mp3"])
@pytest.mark.parametrize("kept", [0.35, 0.6, 0.97])
def test_cut_files_are_truncated_and_keep_what_is_there(tmp_path, name, kept):
    frames = 48_000 * 5
    data = write_sound(tmp_path / name, tones(frames, 2, 48_000), 48_000).read_bytes()
    path = tmp_path / f"cut-{name}"
    path.write_bytes(data[: int(len(data) * kept)])
    reader, count = drain(path)
    assert reader.outcome_hint == "truncated"
    assert reader.note
    assert reader.frames_read == count
    assert (kept - 0.25) * frames < count < min(1.0, kept + 0.1) * frames


def test_damage_inside_a_flac_keeps_the_part_before(tmp_path):
    samples = tones(48_000 * 10, 1, 48_000)
    data = bytearray(write_sound(tmp_path / "a.flac", samples, 48_000).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60_000] = np.random.default_rng(4).bytes(60_000)
    path = tmp_path / "b.flac"
    path.write_bytes(data)
    with open_audio(path) as reader:
        got = np.concatenate(list(reader))[:, 0] / 32768.0
    assert reader.outcome_hint == "truncated"
    assert "decoding failed after" in reader.note
    assert 0.4 * len(samples) < len(got) < 0.6 * len(samples)
    assert np.abs(got - samples[: len(got), 0]).max() <= 1 / 32768


@pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="needs chordfast[av]")
def test_cut_m4a(tmp_path):
    samples = tones(48_000 * 10, 2, 48_000)
    plain = write_av(tmp_path / "a.m4a", samples, 48_000, "aac", "mp4").read_bytes()
    path = tmp_path / "cut.m4a"
    path.write_bytes(plain[: len(plain) * 6 // 10])  # its index was at the end
    refuse(path, "cannot be decoded")
    fast = write_av(tmp_path / "b.m4a", samples, 48_000, "aac", "mp4", movflags="+faststart").read_bytes()
    path.write_bytes(fast[: len(fast) * 6 // 10])
    reader, count = drain(path)
    assert reader.outcome_hint == "truncated"
    assert 0.3 * len(samples) < count < 0.7 * len(samples)


def wave(tag: int, channels: int, rate: int, data: bytes, length: int | None = None) -> bytes:
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * channels * 2, channels * 2, 16)
    size = len(data) if length is None else length
    return b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", size) + data


@pytest.mark.parametrize(
    ("tag", "name"), [(0x11, "IMA ADPCM"), (0x02, "Microsoft ADPCM"), (0x31, "GSM 6.10"), (0x99, "0x0099")]
)
def test_exotic_codecs_are_refused_before_any_decoder_sees_them(tmp_path, tag, name):
    path = tmp_path / "a.wav"
    path.write_bytes(wave(tag, 1, 8000, bytes(1000)))
    refuse(path, f"{name}, which is not decoded; convert it")


def test_header_caps(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wave(1, 9, 8000, bytes(1800)))
    refuse(path, "9 channels")
    path.write_bytes(wave(1, 1, 999, bytes(100)))
    refuse(path, "999 Hz")
    path.write_bytes(wave(1, 1, 1_000_000, bytes(100)))
    refuse(path, "1000000 Hz")
    path.write_bytes(wave(1, 8, 768_000, bytes(160)))
    assert drain(path)[1] == 10


def test_streamed_wave_without_a_length_is_whole(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wave(1, 1, 8000, bytes(2000), length=0xFFFFFFFF))
    reader, count = drain(path)
    assert (count, reader.outcome_hint) == (1000, "ok")


def test_close_twice_and_after_an_error(tmp_path):
    reader = open_audio(write_sound(tmp_path / "a.wav", tones(10, 1, 8000), 8000))
    reader.close()
    reader.close()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    path = tmp_path / "noise.flac"
    path.write_bytes(b"fLaC" + bytes(1000))
    for _ in range(5):
        refuse(path, "cannot be decoded")
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("value", [2.0**34, -3e38, np.inf])
def test_samples_that_cannot_be_audio(tmp_path, value):
    samples = tones(5000, 2, 22050).astype(np.float32)
    samples[1000, 1] = value
    samples[2000] = 2.0**32  # loud, but possible: 32-bit integers as floats
    soundfile.write(tmp_path / "a.wav", samples, 22050, subtype="FLOAT")
    with open_audio(tmp_path / "a.wav") as reader:
        (block,) = reader
    assert np.flatnonzero(~np.isfinite(block)).tolist() == [2001]
    samples[1000, 1] = block[1000, 1]
    np.testing.assert_array_equal(block, samples)
    assert extract_song(tmp_path / "a.wav").note == "1 non-finite samples replaced by 0"
