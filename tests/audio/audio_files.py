"""Recordings for the tests, written on the fly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

WAV_SUBTYPES = {"u8": "PCM_U8", "16": "PCM_16", "24": "PCM_24", "32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE"}


def tones(frames: int, channels: int, rate: int) -> np.ndarray:
    """[frames, channels] float64 sines of different pitch, a little noise, peak below 0.7."""
    t = np.arange(frames)[:, None] / rate
    noise = np.random.default_rng(0).standard_normal((frames, channels)) * 0.01
    return 0.5 * np.sin(2 * np.pi * 220.0 * (1 + np.arange(channels)) * t) + noise


def write_sound(path: Path, samples: np.ndarray, rate: int) -> Path:
    """Write with libsndfile, by suffix; a WAV stem names its sample type (``x.24.wav``)."""
    kind = path.suffixes[-2][1:] if len(path.suffixes) > 1 else "16"
    if path.suffix == ".opus":
        soundfile.write(path, samples, rate, format="OGG", subtype="OPUS")
    elif path.suffix == ".wav":
        soundfile.write(path, samples, rate, subtype=WAV_SUBTYPES[kind])
    else:
        soundfile.write(path, samples, rate)
    return path


def write_av(path: Path, samples: np.ndarray, rate: int, codec: str, container: str, **options: str) -> Path:
    """Write with FFmpeg through PyAV."""
    import av

    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(str(path), "w", format=container, options=options) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T, dtype=np.float32), "fltp", layout)
        frame.sample_rate = rate
        fifo = av.AudioFifo()
        fifo.write(frame)
        while (part := fifo.read(stream.codec_context.frame_size or 1024, partial=True)) is not None:
            for packet in stream.encode(part):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path


def strip_frame_count(data: bytes) -> bytes:
    """An MPEG-1 layer III file without its first frame, the one that carries the Xing or Info header."""
    bitrate = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320][data[2] >> 4] * 1000
    rate = [44100, 48000, 32000][data[2] >> 2 & 3]
    return data[144 * bitrate // rate + (data[2] >> 1 & 1) :]
