"""Chord networks as ONNX files: raw features in, logits out, with everything a runtime elsewhere has to know."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError, UsageError
from ..files import atomic_write
from ..ops.feature_plan import BTC as BTC_PLAN
from ..vocabulary import class_labels
from .common import ChordModel

OPSET = 20
LONGEST = 108  # frames a window, what the networks are trained on


class _FromRawFeatures(nn.Module):
    """A network with its feature statistics applied, so that nobody has to remember them."""

    def __init__(self, model: ChordModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        return self.model(self.model.normalise(features), valid)


def export_onnx(model: ChordModel, path: str | os.PathLike[str]) -> None:
    """Write a BTC or 2E1D as one ONNX file (opset 20), whole or not at all.

    Inputs: ``features`` float32 [batch, frames, n_bins], natural-log CQT magnitudes as they are (normalisation is part
    of the graph), and ``valid`` bool [batch, frames], False where a window is padded; batch ≥ 1, 2 ≤ frames ≤ 108.
    Output: ``logits`` float32 [batch, frames, K]; rows of frames that are not valid have no meaning. The file's
    metadata holds the class labels in order, the feature plan with its hash, the window, mean and std, the
    architecture, its configuration and the weights' provenance, as JSON.

    Raises UsageError without the packages of ``chordfast[onnx]`` or for a network in a compat mode, which has no
    masks, ModelError when the file cannot be written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it and would say so less clearly
    except ImportError as error:
        raise UsageError(f"export needs the package {error.name}: pip install 'chordfast[onnx]'") from error
    if model.compat is not None:
        raise UsageError(
            f"a network with compat={model.compat!r} does not mask padding; load it without and export that"
        )
    target = Path(path)
    features = torch.zeros(2, LONGEST, model.n_bins)
    valid = torch.ones(2, LONGEST, dtype=torch.bool)
    batch, frames = torch.export.Dim("batch", min=1, max=1 << 16), torch.export.Dim("frames", min=2, max=LONGEST)
    with _quiet():
        program = torch.onnx.export(
            _FromRawFeatures(_portable(model)),
            (features, valid),
            dynamo=True,
            opset_version=OPSET,
            input_names=["features", "valid"],
            output_names=["logits"],
            dynamic_shapes={"features": {0: batch, 1: frames}, "valid": {0: batch, 1: frames}},
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    onnx.helper.set_model_props(graph, _describe(model))
    onnx.checker.check_model(graph)
    try:
        atomic_write(target, graph.SerializeToString())
    except OSError as error:
        raise ModelError(f"{target} cannot be written ({error.strerror}), choose another place") from error


def _describe(model: ChordModel) -> dict[str, str]:
    plan: dict[str, Any] = {**asdict(BTC_PLAN), "hash": BTC_PLAN.hash}
    values = {
        "architecture": model.architecture,
        "config": model.config_dict(),
        "classes": list(class_labels(model.num_classes)),
        "feature_plan": plan,
        "frame_period": BTC_PLAN.frame_period,
        "window": LONGEST,
        "mean": model.mean,
        "std": model.std,
        "provenance": model.metadata.get("provenance") or {},
    }
    return {name: value if isinstance(value, str) else json.dumps(value, default=str) for name, value in values.items()}


def _portable(model: ChordModel) -> ChordModel:
    """A copy in float32 on the CPU that uses torch's own operators only: no other runtime knows chordfast's."""
    twin = copy.deepcopy(model).eval().float().cpu()
    for module in twin.modules():
        if hasattr(module, "portable"):
            module.portable = True  # type: ignore[assignment]
    return twin


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress and its remarks on packages that are not installed."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
