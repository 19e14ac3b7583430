"""The mean of checkpoints: values, what is kept, what cannot be averaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from chordfast.cli import cli
from chordfast.errors import ModelError, UsageError
from chordfast.files import sha256_file
from chordfast.models import BTC, ChordModel, TwoE1D, average, load_checkpoint, load_model, save_checkpoint

BOUNDARY = {"boundary": -0.5, "epoch": 3}


def saved(path: Path, model: ChordModel, mean: float = -2.5, **provenance: object) -> Path:
    model.mean, model.std = mean, 2.0
    save_checkpoint(path, model, provenance=BOUNDARY | provenance)
    return path


def small(seed: int, **options: int) -> BTC:
    torch.manual_seed(seed)
    return BTC(**{"num_layers": 1, "hidden_size": 16, "filter_size": 16, "num_classes": 25, **options})


def test_weights_are_the_mean(tmp_path: Path) -> None:
    paths = [saved(tmp_path / f"{seed}.safetensors", small(seed), epoch=seed) for seed in range(3)]
    written = average(paths, tmp_path / "mean.safetensors")
    states = [load_checkpoint(path).state for path in paths]
    for name, tensor in written.state.items():
        true = sum(state[name].double() for state in states) / 3
        assert torch.equal(tensor, true.float())
    provenance = written.metadata["provenance"]
    assert (written.mean, written.std) == (-2.5, 2.0)
    names = [f"{tmp_path.name}/{path.name} {sha256_file(path)}" for path in paths]
    assert provenance == {"boundary": -0.5, "average_of": names}  # the epochs differ
    assert load_model(tmp_path / "mean.safetensors").mean == -2.5
    halved = average(paths, tmp_path / "half.safetensors", half=True)
    assert all(torch.equal(halved.state[name], tensor.half().float()) for name, tensor in written.state.items())


def test_what_differs_is_named(tmp_path: Path) -> None:
    first = saved(tmp_path / "a.safetensors", small(0))
    torch.manual_seed(0)
    light = TwoE1D(f_layer=1, t_layer=1, d_layer=1)
    for name, model, mean, more, text in (
        ("net", light, -2.5, {}, "architecture"),
        ("size", small(1, num_layers=2), -2.5, {}, "their tensors"),
        ("heads", small(1, num_heads=2), -2.5, {}, "configuration"),
        ("mean", small(1), -2.0, {}, "mean and std"),
        ("boundary", small(1), -2.5, {"boundary": 0.0}, "label boundary"),
    ):
        other = saved(tmp_path / f"{name}.safetensors", model, mean, **more)
        with pytest.raises(ModelError, match=f"{name}.safetensors and .*a.safetensors differ in {text}; give"):
            average([first, other], tmp_path / "out.safetensors")
    with pytest.raises(UsageError, match="two checkpoints or more"):
        average([first], tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_command(tmp_path: Path) -> None:
    paths = [str(saved(tmp_path / f"{seed}.safetensors", small(seed))) for seed in range(2)]
    target = str(tmp_path / "mean.safetensors")
    result = CliRunner().invoke(cli, ["models", "average", *paths, "-o", target])
    assert result.exit_code == 0 and f"file: {target}" in result.stdout and "average_of" in result.stdout
    result = CliRunner().invoke(cli, ["models", "average", *paths, "-o", target])
    assert result.exit_code == 2 and "exists; give another name, or --force" in result.stderr
    assert CliRunner().invoke(cli, ["models", "average", *paths, "-o", target, "--force", "--half"]).exit_code == 0
    result = CliRunner().invoke(cli, ["models", "average", paths[0], "-o", target, "--force"])
    assert result.exit_code == 2 and "give more files" in result.stderr
