"""A recogniser and an extractor without weights and without audio; workers import this module by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chordfast.errors import AudioError
from chordfast.features import Song
from chordfast.ops.feature_plan import BTC

SECONDS = 6.0


class TemplateRecogniser:
    """Major and minor triads by their templates on BTC's log-magnitude features; silence is N."""

    name = "templates"
    plan = BTC
    hash = "0" * 64
    classes = 170

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        chroma = np.zeros((12, 170), np.float32)
        for root in range(12):
            for quality, third in ((0, 3), (1, 4)):
                chroma[[root, (root + third) % 12, (root + 7) % 12], 14 * root + quality] = 1 / 3
        self.templates = chroma

    def posteriors(self, features: list[np.ndarray]) -> list[np.ndarray]:
        self.batches.append([len(song) for song in features])
        return [self._one(song) for song in features]

    def _one(self, song: np.ndarray) -> np.ndarray:
        assert song.dtype == np.float32
        assert song.shape[1] == 144
        magnitude = np.exp(song)[:, ::2] + np.exp(song)[:, 1::2]
        chroma = magnitude.reshape(len(song), 6, 12).sum(1)
        chroma /= chroma.sum(1, keepdims=True)
        scores = chroma @ self.templates
        scores[:, 169] = 0.12
        shares = np.exp(40 * scores)
        return (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def song(root: int = 0, seconds: float = SECONDS, outcome: str = "ok", note: str = "") -> Song:
    """Features of a major triad on ``root`` that lasts ``seconds``."""
    n_samples = int(seconds * 22050)
    features = np.full((BTC.n_frames(n_samples), 144), np.log(1e-6), np.float32)
    for step in (0, 4, 7):
        features[:, 48 + 2 * ((root + step) % 12)] = 0.0
    cpu = {"decode": 0.001, "ingest": 0.001, "cqt": 0.001}
    return Song(features, n_samples, seconds, outcome, note, cpu, 0.5, "fake")


def _hang(_: str, mark: str) -> None:
    Path(mark).write_text(str(os.getpid()))
    time.sleep(60)


def _raise(error: Exception) -> None:
    raise error


TROUBLE: dict[str, Callable[[str, str], object]] = {
    "kill": lambda *_: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda *_: os.kill(os.getpid(), signal.SIGSEGV),
    "grumble": lambda *_: os.write(2, b"something is odd\n" * 200),
    "exit": lambda *_: os._exit(7),
    "hang": _hang,
    "slow": lambda _, seconds: time.sleep(float(seconds)),
    "memory": lambda _, gib: np.ones(int(gib) << 27),
    "bug": lambda *_: _raise(RuntimeError("a bug")),
    "unreadable": lambda path, _: _raise(AudioError(f"{path}: not audio")),
}
SONGS: dict[str, Callable[[str], Song]] = {
    "silent": lambda _: song(outcome="silent", note="as asked"),
    "truncated": lambda _: song(outcome="truncated", note="as asked"),
    "short": lambda _: song(0, 0.01, "too_short"),
    "nothing": lambda _: song(0, 0.0, "too_short"),
    "modules": lambda _: song(note=" ".join(sorted({name.split(".")[0] for name in sys.modules}))),
    "long": lambda seconds: song(2, float(seconds)),
}


def extract(path: str, plan: object, quality: str, semitones: int = 0) -> Song:
    """Does what the file says: "C" ... "B" is a chord on that root; other words are kinds of trouble."""
    if not Path(path).exists():
        raise AudioError(f"{path}: no such file")
    word, _, rest = Path(path).read_text().partition(" ")
    if word in TROUBLE:
        TROUBLE[word](path, rest)
    if word in SONGS:
        return SONGS[word](rest)
    names = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
    return song(((names.index(word) if word in names else 0) + semitones) % 12)


def write_songs(folder: Path, **words: str) -> Path:
    """``write_songs(folder, a="C", b__c="hang")`` makes a.wav and b/c.wav with these words in them."""
    for name, word in words.items():
        path = folder / (name.replace("__", "/") + ".wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(word)
    return folder
