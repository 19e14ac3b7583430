from __future__ import annotations

import numpy as np
import pytest
import torch
from models_golden import GOLDEN, meta_of, state_of

from chordfast.models import BTC, TwoE1D


@pytest.fixture(scope="session")
def btc_golden():
    with np.load(GOLDEN / "models_btc25.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def twoe1d_golden():
    with np.load(GOLDEN / "models_2e1d.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def btc(btc_golden) -> BTC:
    """The golden network of 25 classes and 2 layers, evaluation mode, float32."""
    model = BTC(num_classes=25, num_layers=2).eval()
    model.load_state_dict(state_of(btc_golden))
    return model


@pytest.fixture
def twoe1d(twoe1d_golden) -> TwoE1D:
    """The golden network of 12 groups and 2/1/1 layers, evaluation mode, float32."""
    model = TwoE1D(**meta_of(twoe1d_golden)).eval()
    model.load_state_dict(state_of(twoe1d_golden))
    return model


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def btc_state(btc_golden):
    return state_of(btc_golden)


@pytest.fixture
def twoe1d_state(twoe1d_golden):
    return state_of(twoe1d_golden)
