"""Checkpoint files that are refused in one sentence: hostile, damaged, foreign, not fitting."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from chordfast.errors import ModelError
from chordfast.models import BTC, TwoE1D, load_checkpoint, load_model, save_checkpoint
from chordfast.vocabulary import class_labels


class _Hostile:
    """A pickle that, executed, creates a folder."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"mkdir '{self.proof}'",)


@pytest.mark.parametrize("layout", ["zip", "legacy", "pickle2", "pickle4", "inside"])
def test_hostile_pickles_are_refused_and_do_not_run(tmp_path, btc_state, layout):
    path, proof = tmp_path / "model.pt", tmp_path / "proof"
    content = {"model": btc_state, "mean": 0.0, "std": 1.0, "epoch": _Hostile(proof)}
    if layout.startswith("pickle"):
        path.write_bytes(pickle.dumps({"model": _Hostile(proof)}, protocol=int(layout[-1])))
    elif layout == "inside":
        torch.save({"model": {**btc_state, "x": _Hostile(proof)}}, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=layout == "zip")
    for read in (load_checkpoint, load_model, BTC.from_checkpoint):
        with pytest.raises(ModelError, match="was refused and nothing in it was run") as caught:
            read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    assert layout == "pickle4" or f"{os.system.__module__}.system" in message
    assert not proof.exists()
    # the payload is a real one: where pickles are executed it does run
    pickle.loads(pickle.dumps(_Hostile(proof)))
    assert proof.is_dir()


def test_numpy_scalars_open_no_door(tmp_path):
    """Only numbers pass: no arrays, no scalars of other kinds, none whose bytes do not fit."""
    path = tmp_path / "m.pt"
    for value in (np.ones(3), np.datetime64("2020-01-01"), np.str_("x"), np.complex128(1)):
        torch.save({"model": {"w": torch.zeros(1)}, "mean": value}, path)
        with pytest.raises(ModelError, match="nothing in it was run"):
            load_checkpoint(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_files(tmp_path, btc_state, zipped):
    path = tmp_path / "m.pt"
    torch.save({"model": btc_state, "mean": 0.0, "std": 1.0}, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    for keep in (len(data) - 1, len(data) // 2, 40):
        path.write_bytes(data[:keep])
        with pytest.raises(ModelError) as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value) and "truncated, damaged" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_truncated_and_altered_safetensors(tmp_path, btc):
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, btc)
    data = path.read_bytes()
    for damaged in (data[:-1], data[: len(data) // 2], data[:60], b"x" * 200):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="truncated or damaged as a safetensors file"):
            load_checkpoint(path)
    path.write_bytes(data.replace(b'"num_classes":"25"', b'"num_classes":"26"'))
    with pytest.raises(ModelError, match="says it has 26 classes but its output layer has 25"):
        load_checkpoint(path)
    path.write_bytes(data.replace(b'"vocabulary":"btc25"', b'"vocabulary":"abc25"'))
    with pytest.raises(ModelError, match="is not its vocabulary 'abc25'"):
        load_model(path)
    path.write_bytes(data.replace(rb"\"num_heads\": 4", rb"\"num_heads\": 3"))
    with pytest.raises(ModelError, match="3 heads do not fit a hidden size of 128"):
        load_model(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"just some text, long enough to be looked at", "is not a checkpoint, give a torch checkpoint"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90), "is an HDF5 file"),
        (bytes(range(256)) * 4, "is not a checkpoint"),
        (b"PK\x03\x04" + bytes(200), "is truncated, damaged, or not a checkpoint"),
        (b"\x80\x02" + bytes(50), "nothing in it was run"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, content, sentence):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=sentence) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_zip_files_of_others(tmp_path):
    np.savez(tmp_path / "m.npz", w=np.zeros(3))
    with pytest.raises(ModelError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "m.npz")


def test_missing_folder_and_unreadable(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="does not exist, check the path"):
        load_checkpoint(tmp_path / "no.pt")
    with pytest.raises(ModelError, match="is a folder"):
        load_checkpoint(tmp_path)
    path = tmp_path / "locked.pt"
    path.write_bytes(b"x")

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ModelError, match=r"cannot be read \(Permission denied\)"):
        load_checkpoint(path)


def test_torch_files_without_weights(tmp_path):
    path = tmp_path / "m.pt"
    torch.save({"mean": torch.tensor(1.0), "std": torch.tensor(2.0)}, path)  # BTC's separate statistics file
    with pytest.raises(ModelError, match=r"holds no weights \(its keys: mean, std\)"):
        load_checkpoint(path)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(ModelError, match="holds a list instead of a checkpoint's dict"):
        load_checkpoint(path)
    torch.save({"model": {"w": torch.zeros(2, dtype=torch.long)}}, path)
    with pytest.raises(ModelError, match="give weights in floating point"):
        load_checkpoint(path)
    torch.save({"model": {"w": torch.zeros(1).expand(10**12)}}, path)
    with pytest.raises(ModelError, match="larger than the data behind it"):
        load_checkpoint(path)


def test_weights_that_do_not_fit(tmp_path, btc_state, twoe1d_state):
    path = tmp_path / "m.pt"

    def refused(state, sentence, read=load_model, **extra):
        torch.save({"model": state, "mean": 0.0, "std": 1.0, **extra}, path)
        with pytest.raises(ModelError, match=sentence) as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    refused({"conv.weight": torch.zeros(3)}, r"neither BTC nor 2E1D weights \(its tensors: conv.weight\)")
    refused(btc_state, "holds btc weights, not 2e1d: use BTC.from_checkpoint", TwoE1D.from_checkpoint)
    refused(twoe1d_state, "holds 2e1d weights, not btc: use TwoE1D.from_checkpoint", BTC.from_checkpoint)
    refused(btc_state, "has 25 classes instead of 170", lambda p: load_model(p, classes=170))
    name = "self_attn_layers.layer_norm.gamma"
    refused({n: v for n, v in btc_state.items() if n != name}, rf"1 missing \({name}\)")
    refused({**btc_state, "extra": torch.zeros(1)}, r"1 unexpected \(extra\)")
    refused({**btc_state, "e\n\x1b[1m" + "x" * 500: torch.zeros(1)}, r"1 unexpected \(e \?\[1mx{114}\.\.\.\)")
    refused({**btc_state, name: torch.zeros(64)}, rf"1 of another shape \({name} \[64\] instead of \[128\]\)")
    refused({**btc_state, name: torch.full((128,), float("nan"))}, f"{name} holds NaN or infinity")

    def cm_infer(file):
        return load_model(file, heads="cm_infer")

    output = {k: torch.zeros((26, 128) if k.endswith("weight") else 26) for k in btc_state if "output_projection" in k}
    refused({**btc_state, **output}, "has 26 classes, give a checkpoint with 25 or 170")
    refused({**btc_state, "self_attn_layers.embedding_proj.weight": torch.zeros(7)}, "incomplete or malformed")
    refused({**twoe1d_state, "fc.weight": torch.zeros(170, 0)}, "2e1d weights are incomplete or malformed", cm_infer)
    refused({**twoe1d_state, "transformer.encoder_f.0.attn_layer.0.out_proj.weight": torch.zeros(0, 0)}, "malformed")
    labels = dict(enumerate(class_labels(25)))
    refused(btc_state, "orders its 25 classes differently", idx_to_chord=labels | {0: "C:min", 1: "C"})
    refused(btc_state, r"differently \(26 labels\)", idx_to_chord=labels | {25: "X"})


def test_a_small_file_cannot_ask_for_a_large_network(tmp_path, btc_state):
    path = tmp_path / "m.pt"
    grown = {**btc_state, "self_attn_layers.embedding_proj.weight": torch.zeros(60_000, 1)}
    torch.save({"model": grown, "mean": 0.0, "std": 1.0}, path)
    with pytest.raises(ModelError, match="of another shape"):
        load_model(path)
