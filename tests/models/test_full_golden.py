"""The whole set of golden vectors, which is too large for the repository: CHORDFAST_GOLDEN names its folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from models_golden import check_gradients, meta_of, state_of, tensor

from chordfast.models import BTC, TwoE1D

ROOT = Path(os.environ.get("CHORDFAST_GOLDEN") or "unset")
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="CHORDFAST_GOLDEN does not name the golden vectors' folder")


def network(name: str, dropout: float | None = None):
    with np.load(ROOT / f"{name}_ckpt.npz") as golden:
        meta, state = meta_of(golden), state_of(golden)
    if name.startswith("btc"):
        fields = {"num_classes": meta["num_chords"], "num_layers": meta["num_layers"], "num_heads": meta["num_heads"]}
        rates = ("input_dropout", "layer_dropout", "attention_dropout", "relu_dropout")
        model = BTC(**fields, **({} if dropout is None else dict.fromkeys(rates, dropout)))
    else:
        model = TwoE1D(**meta, **({} if dropout is None else {"dropout": dropout}))
    model.load_state_dict(state)
    return model.eval()


@pytest.mark.parametrize("name", ["btc25", "btc170", "chordnet_a", "chordnet_b"])
def test_logits_and_gradients(name):
    with np.load(ROOT / f"{name}_io.npz") as arrays:
        golden = dict(arrays)
    suffix = "" if name.startswith("btc") else "_T108"
    x, expected = tensor(golden[f"x{suffix}"]), tensor(golden[f"logits64{suffix}"])
    assert (network(name)(x.float()) - expected).abs().max() < 1e-4
    model = network(name, dropout=0.0).double()
    assert (model(x) - expected).abs().max() < 1e-9
    model.train()
    x.requires_grad_()
    loss = F.cross_entropy(model(x).flatten(0, 1), torch.tensor(golden["targets"]).flatten())
    assert loss.item() == pytest.approx(float(golden["ce_loss64"]), abs=1e-10)
    loss.backward()
    check_gradients(model, golden)
    torch.testing.assert_close(x.grad.float(), tensor(golden["grad_x_ce"], torch.float32), rtol=1e-5, atol=1e-9)
    arrays = ROOT / f"{name}_grads_ce.npz"
    if arrays.exists():
        with np.load(arrays) as gradients:
            for parameter, value in model.named_parameters():
                if value.grad is None:
                    continue
                wanted = gradients[f"grad.{parameter}"].astype(np.float64) * gradients[f"scale.{parameter}"]
                np.testing.assert_allclose(
                    value.grad, wanted, rtol=0, atol=5e-4 * np.abs(wanted).max(), err_msg=parameter
                )


def test_chordminis_windows():
    model = network("btc170")
    model.compat = "chordmini"
    with np.load(ROOT / "btc170_chunked_forward.npz") as golden:
        for frames in (50, 108, 250):
            found = model.double()(tensor(golden[f"x_T{frames}"])).detach().numpy()
            np.testing.assert_allclose(found, golden[f"logits_T{frames}"], rtol=0, atol=5e-5)  # made in float32
