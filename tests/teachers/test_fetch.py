"""Fetching by hash: from files, through pip, concurrently; altered, missing and malformed files."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from crema_fakes import MEMBER, fake_entry, fake_files, hdf5_bytes, random_tensors, wheel_bytes, write_wheel

from chordfast.errors import ModelError, UsageError
from chordfast.teachers import REGISTRY, fetch, load, weights_hash
from chordfast.teachers.fetch import read_source
from chordfast.teachers.weights import read_header, read_weights, write_weights


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, the random weights in the registry, and no package index but ``tmp_path/index``."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CHORDFAST_CACHE", str(folder))
    monkeypatch.setitem(REGISTRY, "crema", fake_entry())
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    (tmp_path / "index").mkdir()
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(tmp_path / "index")), ("CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


def test_fetch_through_pip(cache: Path, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "index")
    path = fetch("crema")
    assert path == cache / "models" / "crema-0.2.0.safetensors"
    assert load("crema").hash == weights_hash(random_tensors())
    header = read_header(path)
    assert header is not None and header["architecture"] == "crema" and header["vocabulary"] == "btc170"
    provenance = json.loads(header["provenance"])
    assert provenance["source"] == wheel.name and provenance["distribution"] == "crema==0.2.0"
    assert "BSD-2-Clause" in provenance["licence"] and list(provenance["members"]) == [MEMBER]
    # Once there, neither the wheel nor pip is needed, and the file is left alone.
    before = path.stat().st_mtime_ns
    wheel.unlink()
    assert fetch("crema") == fetch("crema", offline=True) == path and path.stat().st_mtime_ns == before
    assert os.listdir(path.parent) == [path.name]


def test_pip_failure_is_one_sentence(cache: Path) -> None:
    with pytest.raises(
        ModelError, match=r"pip could not download crema==0.2.0 \(No matching .*\); get the wheel by other"
    ):
        fetch("crema")
    assert not cache.exists()


@pytest.mark.parametrize("kind", ["wheel", "member", "converted"])
def test_fetch_from_file(cache: Path, tmp_path: Path, kind: str) -> None:
    source = tmp_path / "strange name é.bin"
    if kind == "converted":
        write_weights(REGISTRY["crema"], random_tensors(), source, "elsewhere")
    else:
        source.write_bytes(fake_files()[kind == "wheel"])
    path = fetch("crema", offline=True, from_file=source)
    tensors = read_weights(path)
    assert tensors.keys() == random_tensors().keys()
    for name, values in random_tensors().items():
        np.testing.assert_array_equal(tensors[name], values)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: flipped(fake_files()[1]), "is not the wheel crema==0.2.0 .SHA-256"),
        (lambda: fake_files()[1][:-100], "is not the wheel crema==0.2.0"),
        (lambda: flipped(fake_files()[0]), "does not hold the weights of 'crema' .SHA-256"),
        (lambda: b"", "does not hold the weights of 'crema'"),
        (lambda: b"<html>404</html>" * 100, "does not hold the weights of 'crema'"),
    ],
)
def test_altered_files_are_refused(cache: Path, tmp_path: Path, data, message: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(data())
    with pytest.raises(ModelError, match=message):
        fetch("crema", from_file=source)
    assert not cache.exists()


def test_unreadable_sources(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"No such file.*give the wheel crema==0.2.0 or its member"):
        fetch("crema", from_file=tmp_path / "absent.whl")
    with pytest.raises(ModelError, match=r"cannot be read .Is a directory"):
        fetch("crema", from_file=tmp_path)


def test_a_wheel_with_the_right_hash_and_a_wrong_inside(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("other", b"")
    wheel = write_wheel(tmp_path, buffer.getvalue())
    with pytest.raises(ModelError, match=f"has no readable member {MEMBER}"):
        read_source(fake_entry(wheel=buffer.getvalue()), wheel)
    # The wheel's hash fits, its member's does not.
    other = wheel_bytes(b"\x89HDF nonsense")
    with pytest.raises(ModelError, match="does not hold the weights"):
        read_source(fake_entry(wheel=other), write_wheel(tmp_path, other))
    # Both fit, and yet it is not a network.
    with pytest.raises(ModelError, match="the HDF5 file does not hold crema's weights"):
        read_source(fake_entry(wheel=other, member=b"\x89HDF nonsense"), tmp_path / wheel.name)
    tensors = random_tensors() | {"chord_root.bias": np.zeros(12, np.float32)}
    member = hdf5_bytes(tensors)
    path = tmp_path / "model.h5"
    path.write_bytes(member)
    with pytest.raises(ModelError, match=r"'chord_root.bias' has shape \[12\]"):
        read_source(fake_entry(member=member), path)
    tensors = random_tensors() | {"chord_root.bias": np.zeros(13, np.float32)}
    path.write_bytes(member := hdf5_bytes(tensors))
    with pytest.raises(ModelError, match="was read wrongly"):
        read_source(fake_entry(member=member), path)


def test_only_the_named_member_is_unpacked(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = wheel_bytes(fake_files()[0], {"../../evil": b"x", "/abs": b"x", "crema/__init__.py": b"raise SystemExit"})
    monkeypatch.setitem(REGISTRY, "crema", fake_entry(wheel=wheel))
    fetch("crema", from_file=write_wheel(tmp_path / "in" / "deep", wheel))
    files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["crema-0.2.0-py3-none-any.whl", "crema-0.2.0.safetensors"]


def test_missing_weights_say_how_to_get_them(cache: Path) -> None:
    advice = f"the weights of 'crema' are not in {cache / 'models'}; run 'chordfast models fetch crema"
    for call in (load, lambda name: load(name, offline=True), lambda name: fetch(name, offline=True)):
        with pytest.raises(ModelError) as caught:
            call("crema")
        assert str(caught.value).startswith(advice) and "--from FILE" in str(caught.value)
    assert not cache.exists()


def test_altered_cache_is_noticed_and_repaired(cache: Path, tmp_path: Path) -> None:
    path = fetch("crema", from_file=write_wheel(tmp_path / "index"))
    good = path.read_bytes()
    path.write_bytes(flipped(good))
    for call in (load, lambda name: fetch(name, offline=True)):
        with pytest.raises(ModelError, match="was altered: its weights do not have the expected hash"):
            call("crema")
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(ModelError, match="is damaged as a safetensors file"):
        load("crema")
    assert fetch("crema") == path and load("crema").hash == weights_hash(random_tensors())
    # Weights that agree with their own recorded hash, but are not the published ones.
    write_weights(REGISTRY["crema"], random_tensors(seed=1), path, "elsewhere")
    with pytest.raises(ModelError, match="was altered"):
        load("crema")
    assert load(path).hash == weights_hash(random_tensors(seed=1))


def _fetch_in_child(_: int) -> str:
    REGISTRY["crema"] = fake_entry()
    return str(fetch("crema"))


def test_two_processes_fetch_at_once(cache: Path, tmp_path: Path) -> None:
    write_wheel(tmp_path / "index")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        paths = pool.map(_fetch_in_child, range(2), chunksize=1)
    assert len(set(paths)) == 1 and os.listdir(cache / "models") == [Path(paths[0]).name]
    load("crema")


def test_cache_that_cannot_be_made(cache: Path, tmp_path: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(ModelError, match=r"cannot be made .*; set CHORDFAST_CACHE to another place"):
        fetch("crema", from_file=write_wheel(tmp_path / "index"))


def test_unknown_names(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no teacher called 'creme' to fetch; choose one of: crema"):
        fetch("creme")
    with pytest.raises(
        ModelError, match="neither a checkpoint file nor a model's name; give a path or one of: btc, 2e1d, crema"
    ):
        load(tmp_path / "creme")


def test_weights_hash_depends_on_names_shapes_and_values_only() -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    base = weights_hash({"x": a, "y": a})
    assert base == weights_hash({"y": np.asfortranarray(a), "x": a.astype(np.float64)})
    others = [{"x": a, "z": a}, {"x": a.T, "y": a}, {"x": a, "y": a + 1}, {"x": a}]
    assert base not in {weights_hash(other) for other in others}


def test_importing_teachers_does_not_import_torch() -> None:
    code = "import sys, chordfast.teachers; assert 'torch' not in sys.modules and 'h5py' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
