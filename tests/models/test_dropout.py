"""The cheap dropout, and BTC's layer norm in closed form."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from chordfast.models.btc import BTCLayerNorm
from chordfast.nn.dropout import dropout


@pytest.mark.parametrize("rate", [0.2, 0.3, 0.5])
def test_share_scale_and_gradient(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 101, 31).requires_grad_()
    y = dropout(x, rate)
    y.sum().backward()
    exact = round(rate * 256) / 256
    factor = x.grad
    assert factor is not None
    assert torch.equal(y, x * factor)
    assert factor.unique().tolist() == pytest.approx([0.0, 1 / (1 - exact)], rel=1e-6)
    assert (factor == 0).double().mean().item() == pytest.approx(exact, abs=4e-3)
    for axis in range(3):  # no pattern along an axis
        other = tuple({0, 1, 2} - {axis})
        assert (factor == 0).double().mean(other).std().item() < 4 * (exact / (x.numel() / x.shape[axis])) ** 0.5


def test_seeded_and_off() -> None:
    x = torch.randn(100, 100)
    torch.manual_seed(3)
    first = dropout(x, 0.2)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(x, 0.2))
    assert not torch.equal(first, dropout(x, 0.2))
    assert dropout(x, 0.2, training=False) is x or torch.equal(dropout(x, 0.2, training=False), x)
    assert torch.equal(dropout(x, 0.0), x)
    assert dropout(x.bfloat16(), 0.2).dtype == torch.bfloat16


def reference(x: torch.Tensor, norm: BTCLayerNorm) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    sigma = (centred.square().sum(-1, keepdim=True) / (x.shape[-1] - 1)).sqrt()
    return norm.gamma * centred / (sigma + 1e-6) + norm.beta


def test_layer_norm_gradient() -> None:
    torch.manual_seed(1)
    norm = BTCLayerNorm(16).double()
    with torch.no_grad():
        norm.gamma.normal_()
        norm.beta.normal_()
    x = torch.randn(3, 5, 16, dtype=torch.float64) * torch.tensor([1.0, 1e-6, 30.0], dtype=torch.float64)[:, None, None]
    x.requires_grad_()
    weight = torch.randn_like(x)
    leaves = (x, norm.gamma, norm.beta)
    wanted = torch.autograd.grad((reference(x, norm) * weight).sum(), leaves)
    found = torch.autograd.grad((norm(x) * weight).sum(), leaves)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        torch.testing.assert_close(norm(x), reference(x, norm), rtol=1e-12, atol=1e-12)


def test_layer_norm_of_constant_rows_has_finite_gradients() -> None:
    norm = BTCLayerNorm(8)
    x = torch.full((2, 8), 3.0, requires_grad=True)
    y = norm(x)
    F.mse_loss(y, torch.ones_like(y)).backward()
    assert torch.equal(y, torch.zeros_like(y)) and x.grad is not None and bool(torch.isfinite(x.grad).all())
