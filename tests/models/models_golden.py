"""Golden vectors of the networks: the published code's weights-in, logits- and gradients-out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).parent.parent / "golden"


def state_of(golden: Any) -> dict[str, Tensor]:
    """Weights as float32 tensors under their published names (stored as float16, exactly)."""
    return {name[6:]: torch.tensor(golden[name].astype(np.float32)) for name in golden if name.startswith("model.")}


def meta_of(golden: Any) -> dict[str, int]:
    return {name[5:]: int(golden[name]) for name in golden if name.startswith("meta.")}


def tensor(array: Any, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(np.asarray(array)).to(dtype)


def digest(gradient: Tensor) -> np.ndarray:
    """L2 norm, sum, and 16 samples at flat positions (997·i + 13) mod size, as the golden digests are made."""
    flat = gradient.detach().double().numpy().ravel()
    return np.concatenate([[np.linalg.norm(flat), flat.sum()], flat[(997 * np.arange(16) + 13) % flat.size]])


def check_gradients(model: nn.Module, golden: Any) -> None:
    """Every parameter's gradient against its digest; parameters the published code never uses have none."""
    parameters = dict(model.named_parameters())
    names, digests = list(golden["grad_names"]), golden["grad_digest"]
    assert {n for n, p in parameters.items() if p.grad is None} == set(golden["params_without_grad"])
    assert set(names) == {n for n, p in parameters.items() if p.grad is not None}
    for name, expected in zip(names, digests, strict=True):
        found = digest(parameters[name].grad)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11 * max(1.0, expected[0]), err_msg=name)
