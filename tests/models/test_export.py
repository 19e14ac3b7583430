"""ONNX files give the network's own logits in another runtime, and say what they need."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from chordfast.cli import cli
from chordfast.errors import UsageError
from chordfast.models import BTC, TwoE1D, save_checkpoint
from chordfast.models.btc import MultiHeadAttention
from chordfast.models.export import export_onnx
from chordfast.ops.feature_plan import BTC as PLAN
from chordfast.vocabulary import class_labels

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def compare(path: Path, model: torch.nn.Module) -> float:
    """Largest difference of the logits of valid frames, over several shapes."""
    session = onnxruntime.InferenceSession(path)
    worst = 0.0
    for batch, frames in ((2, 108), (1, 50), (3, 7)):
        features = torch.randn(batch, frames, 144) * 3 - 5
        valid = torch.ones(batch, frames, dtype=torch.bool)
        valid[-1, frames // 2 :] = False
        (found,) = session.run(None, {"features": features.numpy(), "valid": valid.numpy()})
        with torch.inference_mode():
            wanted = model(model.normalise(features), valid).numpy()
        worst = max(worst, float(np.abs(found - wanted)[valid.numpy()].max()))
    return worst


def test_btc(btc: BTC, tmp_path: Path) -> None:
    btc.set_statistics(-4.5, 2.6)
    export_onnx(btc, tmp_path / "btc.onnx")
    assert compare(tmp_path / "btc.onnx", btc) < 1e-4
    meta = onnxruntime.InferenceSession(tmp_path / "btc.onnx").get_modelmeta().custom_metadata_map
    assert meta["architecture"] == "btc"
    assert json.loads(meta["classes"]) == list(class_labels(25))
    assert json.loads(meta["feature_plan"])["hash"] == PLAN.hash
    assert (json.loads(meta["mean"]), json.loads(meta["std"])) == (-4.5, 2.6)
    blocks = [module for module in btc.modules() if isinstance(module, MultiHeadAttention)]
    assert len(blocks) == 4
    assert not any(block.portable for block in blocks)  # the network itself is as before


def test_2e1d_by_the_command(twoe1d: TwoE1D, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "student.safetensors", twoe1d)
    arguments = ["models", "export", str(tmp_path / "student.safetensors"), str(tmp_path / "student.onnx"), "--onnx"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert compare(tmp_path / "student.onnx", twoe1d) < 1e-4
    again = CliRunner().invoke(cli, arguments)
    assert again.exit_code == 2
    assert "exists" in again.output


def test_a_compat_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not mask padding"):
        export_onnx(BTC(num_layers=1, compat="chordmini"), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
