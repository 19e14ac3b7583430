"""The Hugging Face classes keep everything a checkpoint holds; only local folders are touched here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chordfast.errors import ModelError
from chordfast.models import load_model

pytest.importorskip("huggingface_hub")
hub = pytest.importorskip("chordfast.models.hub")


def test_round_trip_through_a_folder(tmp_path: Path) -> None:
    model = hub.HubTwoE1D(f_layer=1, t_layer=1, d_layer=1).eval()
    model.set_statistics(-4.5, 2.6)
    model.save_pretrained(tmp_path / "repository")
    x = torch.randn(1, 20, 144)
    for read in (
        hub.HubTwoE1D.from_pretrained(tmp_path / "repository"),
        load_model(tmp_path / "repository" / "model.safetensors"),
    ):
        assert (read.mean, read.std) == (-4.5, 2.6)
        assert read.config == model.config
        assert torch.equal(read(x), model(x))


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    hub.HubBTC(num_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="holds btc weights, not 2e1d"):
        hub.HubTwoE1D.from_pretrained(tmp_path)


def test_a_missing_repository_is_one_sentence() -> None:
    with pytest.raises(ModelError, match="no/such-model could not be fetched"):
        hub.HubBTC.from_pretrained("no/such-model", local_files_only=True)
