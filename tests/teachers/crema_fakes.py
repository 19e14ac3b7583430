"""Weights of crema's shapes with random values, the files they come in, and a plain float64 network to compare with."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import zipfile
from pathlib import Path

import h5py
import numpy as np

from chordfast.teachers import REGISTRY, Teacher, weights_hash
from chordfast.teachers.crema_weights import SHAPES

(MEMBER,) = REGISTRY["crema"].members
WHEEL_NAME = "crema-0.2.0-py3-none-any.whl"


@functools.cache
def random_tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """Every tensor of crema, scaled so that all units are alive and the classes well apart."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in SHAPES.items():
        kind = name.rsplit(".", 1)[1]
        if kind == "moving_variance":
            values = rng.uniform(0.5, 2.0, shape)
        elif kind == "gamma":
            values = rng.uniform(0.5, 1.5, shape)
        elif kind in ("beta", "moving_mean", "bias"):
            values = 0.3 * rng.standard_normal(shape)
        else:
            values = rng.standard_normal(shape) * (1.5 / np.sqrt(np.prod(shape[:-1])))
        tensors[name] = values.astype(np.float32)
    # The first norm turns decibels into numbers around 0.
    tensors["batch_normalization_1.moving_mean"] = np.array([-50, -45], np.float32)
    tensors["batch_normalization_1.moving_variance"] = np.array([300, 250], np.float32)
    return tensors


def hdf5_bytes(tensors: dict[str, np.ndarray]) -> bytes:
    """The file as Keras lays it out."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, values in tensors.items():
            layer, rest = name.split(".", 1)
            file[f"model_weights/{layer}/{layer}/{rest.replace('.', '/')}:0"] = values
    return buffer.getvalue()


def wheel_bytes(member: bytes, extra: dict[str, bytes] | None = None) -> bytes:
    """A wheel pip accepts, holding ``member`` where crema's holds its weights."""
    info = "crema-0.2.0.dist-info"
    files = {
        MEMBER: member,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: crema\nVersion: 0.2.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **(extra or {}),
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in files).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            # A fixed date, so that every process makes the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


@functools.cache
def fake_files() -> tuple[bytes, bytes]:
    """(HDF5, wheel) of ``random_tensors()``."""
    member = hdf5_bytes(random_tensors())
    return member, wheel_bytes(member)


def fake_entry(wheel: bytes | None = None, member: bytes | None = None) -> Teacher:
    """The registry's crema with the hashes of the random weights."""
    fake_member, fake_wheel = fake_files()
    return dataclasses.replace(
        REGISTRY["crema"],
        wheel_sha256=hashlib.sha256(wheel or fake_wheel).hexdigest(),
        members={MEMBER: hashlib.sha256(member or fake_member).hexdigest()},
        weights_sha256=weights_hash(random_tensors()),
    )


def write_wheel(folder: Path, data: bytes | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WHEEL_NAME
    path.write_bytes(fake_files()[1] if data is None else data)
    return path


def reference(tensors: dict[str, np.ndarray], decibels: np.ndarray) -> dict[str, np.ndarray]:
    """The network in float64, one song [T, 216, 2], one frame after another, in Keras' class order."""
    w = {name: values.astype(np.float64) for name, values in tensors.items()}

    def norm(x: np.ndarray, layer: int) -> np.ndarray:
        gamma, beta, mean, variance = (
            w[f"batch_normalization_{layer}.{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def gru(x: np.ndarray, name: str) -> np.ndarray:
        kernel, recurrent, bias = (w[f"{name}.{part}"] for part in ("kernel", "recurrent_kernel", "bias"))
        h, states = np.zeros(128), []
        for a in x @ kernel + bias:
            z = np.clip(0.2 * (a[:128] + h @ recurrent[:, :128]) + 0.5, 0, 1)
            r = np.clip(0.2 * (a[128:256] + h @ recurrent[:, 128:256]) + 0.5, 0, 1)
            h = z * h + (1 - z) * np.tanh(a[256:] + (r * h) @ recurrent[:, 256:])
            states.append(h)
        return np.array(states)

    def dense(name: str, x: np.ndarray) -> np.ndarray:
        return x @ w[f"{name}.kernel"] + w[f"{name}.bias"]

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    frames = len(decibels)
    padded = np.pad(norm(decibels.astype(np.float64), 1), ((2, 2), (2, 2), (0, 0)))
    local = sum(
        padded[a : a + frames, b : b + 216] @ w["conv2d_1.kernel"][a, b, :, 0] for a in range(5) for b in range(5)
    )
    local = np.maximum(local + w["conv2d_1.bias"], 0)
    x = np.maximum(norm(local[..., None], 2)[..., 0] @ w["conv2d_2.kernel"][0, :, 0] + w["conv2d_2.bias"], 0)
    for layer in (1, 2):
        x = norm(x, layer + 2)
        ahead = gru(x, f"bidirectional_{layer}.forward_gru_{layer}")
        back = gru(x[::-1], f"bidirectional_{layer}.backward_gru_{layer}")[::-1]
        x = np.concatenate([ahead, back], axis=1)
    pitch = 1 / (1 + np.exp(-dense("chord_pitch", x)))
    root, bass = softmax(dense("chord_root", x)), softmax(dense("chord_bass", x))
    tag = softmax(dense("chord_tag", norm(np.concatenate([x, pitch, root, bass], axis=1), 5)))
    return {"tag": tag, "pitch": pitch, "root": root, "bass": bass}
