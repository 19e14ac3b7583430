"""Labelling on a local Ray cluster of two nodes: the same bytes as without, killed actors, hopeless files."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from chordfast import label_folder
from chordfast.errors import ChordfastError, UsageError
from chordfast.models import BTC, save_checkpoint

ray = pytest.importorskip("ray")
pytest.importorskip("pyarrow")
from ray.cluster_utils import Cluster  # noqa: E402

from chordfast.integrations.ray import label_on_ray  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    small = {"object_store_memory": 100 << 20}
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False, **small})
    found.add_node(num_cpus=1, **small)
    ray.init(address=found.address, log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight recordings of 4 ... 11 s, a silent and a broken one, and a network of one random layer."""
    folder = tmp_path_factory.mktemp("music")
    for i in range(8):
        time = np.arange((4 + i) * 22050) / 22050
        soundfile.write(folder / f"s{i}.flac", 0.3 * np.sin(2 * np.pi * 110 * 2 ** (i / 12) * time), 22050)
    soundfile.write(folder / "silent.flac", np.zeros(5 * 22050), 22050)
    (folder / "broken.mp3").write_bytes(b"no music" * 100)
    torch.manual_seed(0)
    model = BTC(num_layers=1)
    model.set_statistics(-5.0, 3.0)
    save_checkpoint(folder / "model.safetensors", model)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Labels and store without what depends on the moment."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {name: data for name, data in found.items() if name.endswith((".lab", ".safetensors", ".parquet"))}


def test_same_bytes_as_on_one_machine(cluster: Cluster, music: Path, tmp_path: Path) -> None:
    model = str(music / "model.safetensors")
    wanted: dict[str, Any] = {"pitch_shift": [2], "shift_only": ["s3", "s5"]} if find_spec("python_stretch") else {}
    label_folder(music, tmp_path / "alone", model, jobs=1, store=tmp_path / "alone" / "store", **wanted)
    summary = label_on_ray(
        music, tmp_path / "ray", model, decoders=2, batch_frames=150, store=tmp_path / "ray" / "store", **wanted
    )
    assert dict(summary.outcomes) == {"ok": 10 if wanted else 8, "silent": 1, "unreadable": 1}
    assert summary.exit_code == 1
    wanted = files(tmp_path / "alone")
    assert len([name for name in wanted if name.endswith(".lab")]) == 9
    assert files(tmp_path / "ray") == wanted
    again = label_on_ray(music, tmp_path / "ray", model, decoders=2, store=tmp_path / "ray" / "store")
    assert (again.labelled, again.skipped) == (0, 10)  # without the shifted versions


class _Slow:
    """Reads slowly, says which process does, and dies of one file."""

    def __init__(self, pids: str) -> None:
        self.pids = pids

    def __call__(self, path: str, plans: object, quality: str) -> object:
        from chordfast.features import extract_song

        with open(self.pids, "a") as log:
            log.write(f"{os.getpid()}\n")
        time.sleep(0.4)
        if Path(path).name == "s3.flac":
            os.kill(os.getpid(), signal.SIGKILL)
        return extract_song(path, plans, quality)


def test_killed_actors(cluster: Cluster, music: Path, tmp_path: Path) -> None:
    """An actor that is killed costs nothing; a recording that kills every actor is booked as crashed."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the actors cannot import this file
    pids = tmp_path / "pids"
    pids.touch()
    victim = threading.Thread(target=_kill_one, args=(pids,))
    victim.start()
    summary = label_on_ray(
        music, tmp_path / "out", str(music / "model.safetensors"), decoders=2, extract=_Slow(str(pids))
    )
    victim.join()
    assert dict(summary.outcomes) == {"ok": 7, "silent": 1, "crashed": 1, "unreadable": 1}
    assert {row.path for row in summary.failures if row.outcome == "crashed"} == {"s3.flac"}


def _kill_one(pids: Path) -> None:
    for _ in range(600):
        if lines := pids.read_text().split():
            os.kill(int(lines[0]), signal.SIGKILL)
            return
        time.sleep(0.02)


def test_an_actor_that_cannot_start_is_one_error(cluster: Cluster, music: Path, tmp_path: Path) -> None:
    with pytest.raises(ChordfastError, match="an actor could not start on the Ray cluster"):
        label_on_ray(music, tmp_path / "out", str(music / "model.safetensors"), decoders=1, extract=_Unreadable())
    assert not list((tmp_path / "out").rglob("*.lab"))


class _Unreadable:
    """What no other process can load."""

    def __reduce__(self) -> tuple[object, ...]:
        return __import__, ("no_such_module",)


def test_what_the_cluster_does_not_have(cluster: Cluster, music: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="100 decoders and 1 models want 101 CPU, the Ray cluster has 3"):
        label_on_ray(music, tmp_path / "out", str(music / "model.safetensors"), decoders=100)
    with pytest.raises(UsageError, match="2 GPU"):
        label_on_ray(music, tmp_path / "out", str(music / "model.safetensors"), models=2, gpus_per_model=1)
