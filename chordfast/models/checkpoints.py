"""Checkpoints of the chord networks: any published layout in, safetensors out, networks built from either.

Layouts read: the ISMIR 2019 release of BTC, ChordMini's best_model.pth and checkpoint_epoch_N.pth, a bare
state dict (also from DataParallel or torch.compile), and chordfast's own safetensors. No pickle is executed.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ..errors import ModelError, UsageError
from ..files import atomic_write, sha256_file
from ..vocabulary import class_labels
from .btc import BTC
from .common import ChordModel
from .reading import Checkpoint, load_checkpoint, one_line, some_names
from .twoe1d import HEADS, TwoE1D

MODELS: dict[str, type[ChordModel]] = {cls.architecture: cls for cls in (BTC, TwoE1D)}
# class order -> number of classes
VOCABULARIES = {"btc25": 25, "btc170": 170}


@dataclass
class LoadReport:
    """How a state dict differs from what a network expects: names, and for shapes (name, found, expected)."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True when every tensor fits and none is missing or left over."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        wrong = [f"{name} {list(found)} instead of {list(want)}" for name, found, want in self.mismatched]
        parts = []
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", wrong)):
            if names:
                parts.append(f"{len(names)} {what} ({some_names(names)})")
        return "; ".join(parts) or "all tensors fit"


def compare(state: Mapping[str, Tensor], model: torch.nn.Module) -> LoadReport:
    """What is missing from ``state``, left over, or of another shape than ``model`` expects; nothing is loaded."""
    expected = model.state_dict()
    return LoadReport(
        missing=[name for name in expected if name not in state],
        unexpected=[name for name in state if name not in expected],
        mismatched=[
            (name, tuple(state[name].shape), tuple(tensor.shape))
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ],
    )


def build(
    checkpoint: Checkpoint, expected: type[ChordModel] | None = None, classes: int | None = None, **options: Any
) -> ChordModel:
    """A network in evaluation mode holding the checkpoint's weights and statistics, loaded strictly.

    ``expected`` and ``classes`` demand an architecture and a number of classes; ``options`` go to the
    architecture (``compat``, ``heads``). Raises ModelError where the file does not fit, UsageError for options.
    """
    path, architecture = checkpoint.path, checkpoint.architecture
    if architecture is None:
        raise ModelError(
            f"{path} holds neither BTC nor 2E1D weights (its tensors: {some_names(checkpoint.state)}), "
            "give a checkpoint of one of them"
        )
    cls = MODELS[architecture]
    if expected is not None and not issubclass(cls, expected):
        raise ModelError(
            f"{path} holds {architecture} weights, not {expected.architecture}: "
            f"use {cls.__name__}.from_checkpoint or load_model"
        )
    _check_classes(checkpoint, classes)
    if checkpoint.metadata.get("statistics") == "absent":
        warnings.warn(
            f"{path} holds no feature mean and std, so none will be applied: call set_statistics if they are known",
            UserWarning,
            stacklevel=3,
        )
    stored = {
        key: value
        for key, value in checkpoint.config.items()
        if isinstance(value, int | float) and math.isfinite(value) and not isinstance(value, bool)
    }
    try:
        with torch.device("meta"):  # no memory, no initialisation: sizes are checked before either is spent
            model = cls.from_state(checkpoint.state, stored, **options)
    except UsageError:
        raise  # the caller's options, not the file
    except (KeyError, ValueError, IndexError, ArithmeticError, RuntimeError) as error:
        raise ModelError(
            f"{path}: its {architecture} weights are incomplete or malformed ({one_line(error)}), get the file again"
        ) from error
    report = compare(checkpoint.state, model)
    if not report.ok:
        raise ModelError(
            f"{path} does not fit {cls.__name__} with {model.num_classes} classes: {report}; get the file again"
        )
    model.load_state_dict(checkpoint.state, strict=True, assign=True)
    model.set_statistics(checkpoint.mean, checkpoint.std)
    model.metadata = dict(checkpoint.metadata)
    return model.eval()


def _check_classes(checkpoint: Checkpoint, classes: int | None) -> None:
    path, found = checkpoint.path, checkpoint.num_classes or 0
    vocabulary = checkpoint.metadata.get("vocabulary")
    if classes is not None and found != classes:
        raise ModelError(f"{path} has {found} classes instead of {classes}, give a checkpoint of the other vocabulary")
    if found not in VOCABULARIES.values():
        raise ModelError(f"{path} has {found} classes, give a checkpoint with 25 or 170")
    if vocabulary is not None and VOCABULARIES.get(vocabulary) != found:
        raise ModelError(f"{path} has {found} classes, which is not its vocabulary {vocabulary!r}: convert it again")
    labels = checkpoint.metadata.get("idx_to_chord")
    if isinstance(labels, dict) and labels:
        wanted = [_spelt(label) for label in class_labels(found)]
        given = [_spelt(str(labels.get(index, ""))) for index in range(found)]
        wrong = next((i for i in range(found) if given[i] != wanted[i]), None)
        if wrong is not None or len(labels) != found:
            detail = (
                f"{len(labels)} labels"
                if wrong is None
                else f"class {wrong} is {given[wrong]!r}, not {wanted[wrong]!r}"
            )
            raise ModelError(
                f"{path} orders its {found} classes differently ({detail}), convert it to BTC's order first"
            )


def _spelt(label: str) -> str:
    return label if ":" in label or label in ("N", "X", "") else f"{label}:maj"


def load_model(
    path: str | os.PathLike[str], *, compat: str | None = None, classes: int | None = None, **options: Any
) -> ChordModel:
    """The network a checkpoint file holds, BTC or 2E1D by its tensor names, in evaluation mode on the CPU.

    ``classes`` demands 25 or 170; ``heads`` is for 2E1D. Raises ModelError as ``load_checkpoint`` and ``build`` do.
    """
    return build(load_checkpoint(path), classes=classes, compat=compat, **options)


def save_checkpoint(
    path: str | os.PathLike[str],
    model: ChordModel,
    *,
    vocabulary: str | None = None,
    feature_plan: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write a network to a safetensors file, whole or not at all; ``half``: as float16, half the size.

    Everything needed to use it goes with it: architecture, configuration (head counts included), number of classes,
    mean, std, ``vocabulary`` ("btc25" or "btc170", by default from the number of classes), ``feature_plan`` (the
    hash of the features it was trained on) and ``provenance`` (anything JSON can hold); what is not given comes
    from ``model.metadata``. Raises ModelError for weights that are not finite or a file that cannot be written.
    """
    target = Path(path)
    names = {count: name for name, count in VOCABULARIES.items()}
    metadata = model.metadata
    header = {
        "format": "pt",
        "chordfast": "1",
        "architecture": model.architecture,
        "config": json.dumps(model.config_dict()),
        "num_classes": str(model.num_classes),
        "mean": repr(model.mean),
        "std": repr(model.std),
        "vocabulary": vocabulary or metadata.get("vocabulary") or names.get(model.num_classes, ""),
        "feature_plan": feature_plan or metadata.get("feature_plan") or "",
        "provenance": json.dumps(dict(provenance or metadata.get("provenance") or {}), default=str),
    }
    if VOCABULARIES.get(header["vocabulary"]) != model.num_classes:
        raise ModelError(
            f"{target} was not written: {header['vocabulary']!r} is no vocabulary of {model.num_classes} classes, "
            f"give one of {', '.join(VOCABULARIES)}"
        )
    # The format stores bytes in C order and some writers do not check: copy whatever is strided or shared.
    state = {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    broken = _not_finite(state)
    if broken is not None:
        raise ModelError(f"{target} was not written: the tensor {broken} holds NaN or infinity, save an earlier state")
    if half:
        state = {name: tensor.half() for name, tensor in state.items()}
        if (broken := _not_finite(state)) is not None:
            raise ModelError(f"{target} was not written: the tensor {broken} is too large for float16, leave half out")
    try:
        atomic_write(target, _serialise(state, header))
    except OSError as error:
        raise ModelError(f"{target} cannot be written ({error.strerror}), choose another place") from error


def _not_finite(state: Mapping[str, Tensor]) -> str | None:
    return next((name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())), None)


def _serialise(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The safetensors bytes of ``state``; equal inputs give equal bytes (the library's writer shuffles its header)."""
    data = safetensors.torch.save(dict(state))
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps({"__metadata__": dict(metadata), **json.loads(data[8:end])}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the format aligns the tensors
    return len(header).to_bytes(8, "little") + header + data[end:]


def convert(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    heads: str | tuple[int, int, int] | None = None,
    feature_plan: str | None = None,
    half: bool = False,
) -> Checkpoint:
    """Convert a checkpoint of any layout to safetensors and return what was written, read back and compared.

    ``half`` rounds the weights to float16; they are float32 again when read.

    ``heads`` gives a 2E1D checkpoint's head counts (frequency, temporal, decoder) or "cm_infer"; it is required where
    the file does not record them, because the result would record a guess for good. Raises ModelError, or
    UsageError for ``heads`` that do not fit.
    """
    source, target = Path(src), Path(dst)
    checkpoint = load_checkpoint(source)
    if target.exists() and target.samefile(source):
        raise ModelError(f"{target} is the file to convert, give another name to write")
    options: dict[str, Any] = {}
    if checkpoint.architecture == "2e1d":
        if heads is None and not all(name in checkpoint.config for name in HEADS):
            raise ModelError(
                f"{source} does not record its attention heads: give them as frequency, temporal, decoder "
                "(2, 4, 4 is how ChordMini trains, 'cm_infer' what it evaluates with)"
            )
        options["heads"] = heads
    elif heads is not None:
        raise UsageError(f"{source} is not a 2E1D checkpoint, leave heads out")
    model = build(checkpoint, **options)
    provenance = {
        **(checkpoint.metadata.get("provenance") or {}),
        "source": source.name,
        "source_sha256": sha256_file(source),
        "source_layout": checkpoint.metadata["layout"],
    }
    save_checkpoint(target, model, feature_plan=feature_plan, provenance=provenance, half=half)
    written = load_checkpoint(target)
    same = written.state.keys() == checkpoint.state.keys() and all(
        torch.equal(tensor.half().float() if half else tensor, written.state[name])
        for name, tensor in checkpoint.state.items()
    )
    if not same or (written.mean, written.std) != (checkpoint.mean, checkpoint.std):
        raise ModelError(f"{target} does not read back as written, check the disk and convert again")
    return written
