"""Reading checkpoint files of every published layout into one form, without executing a pickle."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import ModelError
from .common import STD_FLOOR
from .unpickle import read_torch_file

# architecture -> a tensor that gives it away, and the weight of its output projection
_SIGNATURES = {
    "btc": ("self_attn_layers.embedding_proj.weight", "output_layer.output_projection.weight"),
    "2e1d": ("transformer.encoder_f.0.fc.weight", "fc.weight"),
}
_TRAINING_KEYS = (
    *("epoch", "accuracy", "loss", "best_val_acc", "early_stop_counter"),
    *("train_losses", "val_losses", "idx_to_chord"),
)


@dataclass
class Checkpoint:
    """What a checkpoint file holds: weights (float32, contiguous, CPU), feature statistics, and what it says of itself.

    ``config`` holds what the file records about the architecture (head counts among it, where known);
    ``metadata`` the rest: ``layout``, ``vocabulary``, ``feature_plan``, ``provenance``, training history.
    """

    state: dict[str, Tensor]
    mean: float = 0.0
    std: float = 1.0
    config: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def architecture(self) -> str | None:
        """ "btc", "2e1d", or None when the tensor names belong to neither."""
        return next((name for name, (tensor, _) in _SIGNATURES.items() if tensor in self.state), None)

    @property
    def num_classes(self) -> int | None:
        """Rows of the output projection, None for an unknown architecture."""
        last = self.state.get(_SIGNATURES[self.architecture][1]) if self.architecture else None
        return last.shape[0] if last is not None and last.ndim == 2 else None

    def summary(self) -> dict[str, Any]:
        """Plain values for people and JSON: architecture, classes, tensors, parameters, statistics, metadata."""
        return {
            "architecture": self.architecture,
            "num_classes": self.num_classes,
            "tensors": len(self.state),
            "parameters": sum(tensor.numel() for tensor in self.state.values()),
            "mean": self.mean,
            "std": self.std,
            "config": dict(self.config),
            "metadata": {key: value for key, value in self.metadata.items() if key != "idx_to_chord"},
        }


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint of any layout, without executing a pickle.

    Weights are ``model_state_dict``, else ``model``, else the dict itself; mean and std stand at the top level,
    overridden by a ``normalization`` dict, 0 and 1 where absent (``metadata["statistics"]`` is then "absent");
    the std is floored at 1e-8. Optimiser states are not kept. Raises ModelError, one sentence naming the file,
    when it cannot be read, is damaged, asks for code to be run, holds no weights, or holds NaN or infinity.
    """
    source = Path(path)
    if source.is_dir():
        raise ModelError(f"{source} is a folder, give the checkpoint file in it")
    try:
        with open(source, "rb") as handle:
            head = handle.read(9)
            size = os.fstat(handle.fileno()).st_size
    except FileNotFoundError:
        raise ModelError(f"{source} does not exist, check the path") from None
    except OSError as error:
        raise ModelError(f"{source} cannot be read ({error.strerror}), check its permissions") from error
    length = int.from_bytes(head[:8], "little")
    if head[8:] == b"{" and length <= size - 8:
        return _from_safetensors(source)
    # A damaged file goes to the reader that can say so; the first bytes are of a zip, or of torch's older layout.
    renamed = not head or head.startswith((b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc"))
    return _from_torch(source) if renamed or source.suffix != ".safetensors" else _from_safetensors(source)


def _from_safetensors(path: Path) -> Checkpoint:
    data = path.read_bytes()
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__") or {}
        config = json.loads(header.get("config", "{}"))
        metadata: dict[str, Any] = {"layout": "chordfast" if "chordfast" in header else "state_dict"}
        metadata["provenance"] = dict(json.loads(header.get("provenance", "{}")))
    except (SafetensorError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelError(
            f"{path} is truncated or damaged as a safetensors file ({one_line(error)}), copy or download it again"
        ) from error
    metadata.update({key: header[key] for key in ("architecture", "vocabulary", "feature_plan") if key in header})
    checkpoint = Checkpoint(_clean(tensors, path), metadata=metadata, path=path)
    checkpoint.config = config if isinstance(config, dict) else {}
    _set_statistics(checkpoint, header, {})
    declared = header.get("num_classes")
    if declared is not None and declared != str(checkpoint.num_classes):
        raise ModelError(
            f"{path} says it has {one_line(declared)} classes but its output layer has {checkpoint.num_classes}, "
            "it was altered: convert it again from its source"
        )
    return checkpoint


def _from_torch(path: Path) -> Checkpoint:
    content = read_torch_file(path)
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__} instead of a checkpoint's dict, give another file")
    nested = [key for key in ("model_state_dict", "model") if isinstance(content.get(key), Mapping)]
    weights = content[nested[0]] if nested else content
    layout = {"model_state_dict": "chordmini", "model": "ismir19"}[nested[0]] if nested else "state_dict"
    tensors = {
        name: value
        for name, value in weights.items()
        if isinstance(name, str) and isinstance(value, Tensor) and (nested or name not in ("mean", "std"))
    }
    if not tensors:
        raise ModelError(f"{path} holds no weights (its keys: {some_names(content)}), give a model checkpoint")
    checkpoint = Checkpoint(_clean(tensors, path), metadata={"layout": layout}, path=path)
    config = content.get("config")
    checkpoint.config = {str(k): _plain(v) for k, v in config.items()} if isinstance(config, Mapping) else {}
    if nested:
        checkpoint.metadata.update({key: _plain(content[key]) for key in _TRAINING_KEYS if key in content})
    normalization = content.get("normalization")
    _set_statistics(checkpoint, content, normalization if isinstance(normalization, Mapping) else {})
    return checkpoint


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def one_line(text: object) -> str:
    """Text out of a file made fit for a message: short, printable, on one line."""
    words = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "?" for c in words[:120]) + ("..." if len(words) > 120 else "")


def some_names(names: Iterable[object]) -> str:
    """The first three of ``names`` for a message."""
    listed = [one_line(name) for name in names]
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "") or "none"


def _clean(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Names without wrappers' prefixes; float32, contiguous, owned memory; nothing that is not a finite number."""
    state: dict[str, Tensor] = {}
    for full_name, tensor in tensors.items():
        name = full_name
        for prefix in ("module.", "_orig_mod."):
            name = name.removeprefix(prefix)
        if name in state:
            raise ModelError(
                f"{path} holds the tensor {one_line(name)} twice, with and without a prefix: save it again"
            )
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise ModelError(f"{path}: the tensor {one_line(name)} is {tensor.dtype}, give weights in floating point")
        # A few bytes may claim, by strides of 0, to be a tensor larger than memory.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ModelError(
                f"{path}: the tensor {one_line(name)} is larger than the data behind it, get the file again"
            )
        clean = tensor.detach().to(torch.float32).clone(memory_format=torch.contiguous_format)
        if not bool(torch.isfinite(clean).all()):
            raise ModelError(
                f"{path}: the tensor {one_line(name)} holds NaN or infinity, give an earlier or undamaged file"
            )
        state[name] = clean
    return state


def _set_statistics(checkpoint: Checkpoint, content: Mapping[str, Any], override: Mapping[str, Any]) -> None:
    found = {}
    for key, default in (("mean", 0.0), ("std", 1.0)):
        value = override.get(key, content.get(key))
        if value is None:
            checkpoint.metadata["statistics"] = "absent"
        try:
            number = float(default if value is None else value)
        except (TypeError, ValueError, RuntimeError):
            number = math.nan
        if not math.isfinite(number) or (key == "std" and number < 0):
            raise ModelError(f"{checkpoint.path}: its feature {key} is not a usable number, get the file again")
        found[key] = number
    checkpoint.mean, checkpoint.std = found["mean"], max(found["std"], STD_FLOOR)
