"""2E1D against the published code's vectors, its sizes, head counts and padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from models_golden import check_gradients, meta_of, state_of, tensor

from chordfast.errors import UsageError
from chordfast.models import TwoE1D, TwoE1DConfig
from chordfast.models.common import next_divisor
from chordfast.models.twoe1d import PRESETS, position_code


def close(found, expected, tolerance):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance, check_dtype=False)


@pytest.mark.parametrize(("preset", "count"), [("class", 3_031_249), ("stage1", 2_105_581), ("published", 2_290_441)])
def test_sizes(preset, count):
    assert sum(p.numel() for p in TwoE1D(PRESETS[preset]).parameters()) == count
    assert TwoE1D().config == PRESETS["published"]


def test_names_and_shapes(twoe1d_golden):
    expected = {name: tensor.shape for name, tensor in state_of(twoe1d_golden).items()}
    found = TwoE1D(**meta_of(twoe1d_golden)).state_dict()
    assert {name: tensor.shape for name, tensor in found.items()} == expected


def test_logits_float64(twoe1d, twoe1d_golden):
    logits, features = twoe1d.double()(tensor(twoe1d_golden["x_T108"]), return_features=True)
    close(logits, tensor(twoe1d_golden["logits64_T108"]), 1e-9)
    close(features[1], tensor(twoe1d_golden["features_T108"]), 1e-6)  # stored as float32


def test_logits_float32(twoe1d, twoe1d_golden):
    close(twoe1d(tensor(twoe1d_golden["x_T108"], torch.float32)), tensor(twoe1d_golden["logits64_T108"]), 1e-4)


@pytest.mark.parametrize("frames", [1, 60, 150])
def test_other_lengths(twoe1d, twoe1d_golden, frames):
    logits = twoe1d.double()(tensor(twoe1d_golden[f"x_T{frames}"]))
    close(logits, tensor(twoe1d_golden[f"logits64_T{frames}"]), 1e-6)  # stored as float32


def test_encoder_outputs(twoe1d, twoe1d_golden):
    seen = {}
    for name in ("encoder_f", "encoder_t"):
        module = getattr(twoe1d.transformer, name)[0]
        module.register_forward_hook(lambda _, args, out, name=name: seen.update({name: out}))
    twoe1d.double()(tensor(twoe1d_golden["x_T108"]))
    for name, found in seen.items():
        close(found[0, ::4], tensor(twoe1d_golden[f"{name}_T108_x0"]), 1e-6)
    assert len(seen) == 2


def test_gradients_of_cross_entropy(twoe1d_golden):
    model = TwoE1D(**meta_of(twoe1d_golden), dropout=0.0).double().train()
    model.load_state_dict(state_of(twoe1d_golden))
    x = tensor(twoe1d_golden["x_T108"]).requires_grad_()
    loss = F.cross_entropy(model(x).flatten(0, 1), torch.tensor(twoe1d_golden["targets"]).flatten())
    assert loss.item() == pytest.approx(float(twoe1d_golden["ce_loss64"]), abs=1e-10)
    loss.backward()
    check_gradients(model, twoe1d_golden)
    close(x.grad[1], tensor(twoe1d_golden["grad_x_ce"]), 1e-7 * float(x.grad.abs().max()))


def test_ragged_rows_equal_each_row_alone(twoe1d):
    lengths = [75, 1, 33, 0]
    x = torch.randn(len(lengths), 75, 144)
    mask = torch.arange(75) < torch.tensor(lengths)[:, None]
    batch = twoe1d(x.masked_fill(~mask[..., None], float("nan")), mask)
    assert batch.isfinite().all()
    for row, length in enumerate(lengths):
        close(batch[row, :length], twoe1d(x[row : row + 1, :length])[0], 1e-5)
    unmasked = twoe1d(x.masked_fill(~mask[..., None], 0.0))
    assert (unmasked[2, :33] - batch[2, :33]).abs().max() > 1e-3


def test_compat_does_not_mask(twoe1d):
    x = torch.randn(1, 9, 144)
    expected = twoe1d(x)
    twoe1d.compat = "chordmini"
    assert torch.equal(twoe1d(x), expected)
    with pytest.raises(UsageError, match="does not mask padding"):
        twoe1d(x, torch.ones(1, 9, dtype=torch.bool))
    with pytest.raises(UsageError, match="choose one of None, 'chordmini'"):
        TwoE1D(compat="btc")


def test_input_forms(twoe1d):
    x = torch.randn(2, 5, 144)
    expected = twoe1d(x)
    assert torch.equal(twoe1d(x[:, None]), expected)
    assert torch.equal(twoe1d(x[:, 0]), twoe1d(x[:, :1]))
    assert twoe1d(torch.zeros(2, 0, 144)).shape == (2, 0, 170)
    assert twoe1d(torch.zeros(0, 4, 144)).shape == (0, 4, 170)
    with pytest.raises(UsageError, match=r"give \[batch, frames, 144\]"):
        twoe1d(torch.zeros(1, 2, 5, 144))


def test_nan_counts_as_zero_in_training(twoe1d_golden):
    model = TwoE1D(**meta_of(twoe1d_golden), dropout=0.0).train()
    x = torch.randn(1, 6, 144)
    holed = x.clone()
    holed[0, 2, 7], x[0, 2, 7] = float("nan"), 0.0
    assert torch.equal(model(holed), model(x))
    assert model.eval()(holed).isnan().any()


def test_head_counts_change_the_result(twoe1d, twoe1d_golden):
    x = torch.randn(1, 30, 144)
    other = TwoE1D(**{**meta_of(twoe1d_golden), "t_head": 4}).eval()
    other.load_state_dict(twoe1d.state_dict())
    assert (other(x) - twoe1d(x)).abs().max() > 1e-3


def test_initial_values():
    model = TwoE1D(f_layer=1, t_layer=1, d_layer=1)
    state = model.state_dict()
    for name, value in state.items():
        if "alpha" in name or name.endswith(("in_proj_bias", "out_proj.bias")):
            assert not value.any(), name
    bound = (6 / (4 * 144)) ** 0.5  # Xavier uniform of a 432 × 144 matrix
    weight = state["transformer.encoder_t.0.attn_layer.0.in_proj_weight"]
    assert 0.95 * bound < weight.abs().max() <= bound


def test_position_code():
    code = position_code(200, 144, torch.device("cpu")).double().numpy()
    frames, columns = np.arange(200)[:, None], np.arange(144)
    angles = frames / 10000.0 ** (2 * columns / 144)
    np.testing.assert_allclose(code, np.where(columns % 2 == 0, np.sin(angles), np.cos(angles)), atol=2e-4)
    assert code[1, 0] == pytest.approx(np.sin(1.0), abs=1e-7)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_group": 12, "f_head": 8}, "f_head is 8, give a divisor of the width 12"),
        ({"n_group": 7}, "7 groups do not divide 144 bins"),
        ({"d_layer": 0}, "d_layer is 0, give at least 1"),
        ({"dropout": -0.1}, "dropout is -0.1"),
    ],
)
def test_wrong_configurations(fields, sentence):
    with pytest.raises(UsageError, match=sentence):
        TwoE1DConfig(**fields)
    with pytest.raises(UsageError, match="not both"):
        TwoE1D(TwoE1DConfig(), n_group=2)


def test_heads_are_lowered_to_a_divisor():
    assert [next_divisor(8, 12), next_divisor(8, 72), next_divisor(5, 144), next_divisor(9, 1)] == [6, 8, 4, 1]
