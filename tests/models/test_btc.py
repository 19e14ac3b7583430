"""BTC against the published code's vectors, and the properties the published code does not have."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from models_golden import check_gradients, state_of, tensor

from chordfast.errors import UsageError
from chordfast.models import BTC, BTCConfig
from chordfast.models.btc import BTCLayerNorm, timing_signal


def close(found, expected, tolerance):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance, check_dtype=False)


def test_names_shapes_and_sizes(btc_golden):
    expected = {name: tensor.shape for name, tensor in state_of(btc_golden).items()}
    assert {n: t.shape for n, t in BTC(num_classes=25, num_layers=2).state_dict().items()} == expected
    full = BTC()
    assert len(full.state_dict()) == 221
    assert sum(p.numel() for p in full.parameters()) == 3_036_842
    assert sum(p.numel() for p in full.output_layer.lstm.parameters()) == 99_328
    assert sum(p.numel() for p in BTC(num_classes=25).parameters()) == 3_018_137


def test_logits_float64(btc, btc_golden):
    close(btc.double()(tensor(btc_golden["x"])), tensor(btc_golden["logits64"]), 1e-9)


def test_logits_float32(btc, btc_golden):
    close(btc(tensor(btc_golden["x"], torch.float32)), tensor(btc_golden["logits64"]), 1e-4)


@pytest.mark.parametrize("frames", [1, 50])
@pytest.mark.parametrize("compat", [None, "btc"])
def test_short_windows_are_fed_directly(btc, btc_golden, frames, compat):
    btc.compat = compat
    logits = btc.double()(tensor(btc_golden["x"])[:, :frames])
    close(logits, tensor(btc_golden[f"logits_direct_T{frames}"]), 1e-6)  # stored as float32


def test_hidden_states(btc, btc_golden):
    seen = {}
    encoder = btc.self_attn_layers
    encoder.self_attn_layers[0].register_forward_pre_hook(lambda _, args: seen.update(embedded=args[0]))
    encoder.self_attn_layers[0].register_forward_hook(lambda _, args, out: seen.update(layer=out))
    encoder.register_forward_hook(lambda _, args, out: seen.update(final=out))
    btc.double()(tensor(btc_golden["x"]))
    close(seen["embedded"][0, ::4], tensor(btc_golden["embed_plus_timing_x0"]), 1e-5)
    close(seen["layer"][0, ::4], tensor(btc_golden["after_layer1_x0"]), 1e-5)
    close(seen["final"][1], tensor(btc_golden["hidden_final"]), 1e-5)


def test_attention_maps_only_when_asked(btc, btc_golden, monkeypatch):
    x = tensor(btc_golden["x"])
    logits, maps = btc.double()(x, return_attention=True)
    close(logits, tensor(btc_golden["logits64"]), 1e-9)
    assert [m.shape for pair in maps for m in pair] == [(2, 4, 108, 108)] * 4
    close(maps[0][0][0, :2], tensor(btc_golden["attn_layer1_forward_x0"]), 1e-6)
    close(maps[0][1][0, :2], tensor(btc_golden["attn_layer1_backward_x0"]), 1e-6)
    monkeypatch.setattr(torch.Tensor, "softmax", None)  # explicit maps are the only use of it
    btc(x)


@pytest.mark.parametrize("sizes", [{"timestep": 300}, {"hidden_size": 160, "num_heads": 2, "filter_size": 16}])
def test_windows_and_heads_beyond_the_kernels(sizes):
    """More than 256 frames, heads wider than 64: torch's attention steps in."""
    torch.manual_seed(0)
    model = BTC(num_layers=1, num_classes=25, **sizes).eval()
    x = torch.randn(1, sizes.get("timestep", 20), 144)
    with torch.no_grad():
        close(model(x).double(), model.double()(x.double()), 2e-5)


@pytest.mark.parametrize("frames", [108, 41])
def test_single_precision_agrees_with_double(btc, frames):
    """float32 goes through ops.attention, float64 through torch's: valid frames and all gradients agree."""
    torch.manual_seed(0)
    x = torch.randn(3, frames, 144)
    mask = torch.arange(frames) < torch.tensor([frames, 1, frames // 2])[:, None]
    results = []
    for dtype in (torch.float32, torch.float64):
        model = btc.to(dtype)
        model.zero_grad()
        logits = model(x.to(dtype), mask)[mask]
        logits.square().mean().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append([logits.detach(), *gradients])
    for mine, true in zip(*results, strict=True):
        close(mine.double(), true, 2e-5 * max(1.0, float(true.abs().max())))


def test_gradients_of_cross_entropy(btc_golden):
    model = BTC(
        num_classes=25, num_layers=2, input_dropout=0, layer_dropout=0, attention_dropout=0, relu_dropout=0
    ).double()
    model.load_state_dict(state_of(btc_golden))
    model.train()
    x = tensor(btc_golden["x"]).requires_grad_()
    loss = F.cross_entropy(model(x).flatten(0, 1), torch.tensor(btc_golden["targets"]).flatten())
    assert loss.item() == pytest.approx(float(btc_golden["ce_loss64"]), abs=1e-10)
    loss.backward()
    check_gradients(model, btc_golden)
    close(x.grad[1], tensor(btc_golden["grad_x_ce"]), 1e-7 * float(x.grad.abs().max()))


@pytest.mark.parametrize("compat", [None, "chordmini"])
def test_padding_does_not_depend_on_what_stands_in_it(btc, compat):
    """Default: ragged rows of a batch equal each row alone. ChordMini: they equal the row padded with zeros."""
    btc = btc.double()
    lengths = [108, 1, 37, 0, 90]
    x = torch.randn(len(lengths), 108, 144, dtype=torch.float64)
    mask = torch.arange(108) < torch.tensor(lengths)[:, None]
    if compat is None:
        batch = btc(x.masked_fill(~mask[..., None], float("nan")), mask)
        assert batch.isfinite().all()
    else:
        btc.compat = compat
        batch = btc(x.masked_fill(~mask[..., None], 0.0))
    for row, length in enumerate(lengths):
        close(batch[row, :length], btc(x[row : row + 1, :length])[0], 1e-12)
    alone = BTC(btc.config, compat="btc").eval().double()
    alone.load_state_dict(btc.state_dict())
    difference = (batch[2, :37] - alone(x[2:3, :37])[0]).abs().max()
    assert difference < 1e-12 if compat is None else difference > 1e-3


def test_ragged_batch_in_float32(btc):
    x = torch.randn(3, 108, 144)
    mask = torch.arange(108) < torch.tensor([[108], [51], [7]])
    batch = btc(x, mask)
    for row, length in enumerate([108, 51, 7]):
        close(batch[row, :length], btc(x[row : row + 1, :length])[0], 1e-5)


def test_masked_gradients_equal_those_of_the_row_alone(btc):
    btc = btc.double()
    x = torch.randn(2, 40, 144, dtype=torch.float64)
    mask = torch.arange(40) < torch.tensor([[40], [23]])
    btc(x, mask)[mask].square().sum().backward()
    together = {n: p.grad.clone() for n, p in btc.named_parameters() if p.grad is not None}
    btc.zero_grad()
    (btc(x[:1]).square().sum() + btc(x[1:, :23]).square().sum()).backward()
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, btc.get_parameter(name).grad, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("frames", [109, 216, 250])
def test_long_inputs_are_cut_into_windows(btc, frames):
    btc = btc.double()
    x = torch.randn(2, frames, 144, dtype=torch.float64)
    expected = torch.cat([btc(x[:, start : start + 108]) for start in range(0, frames, 108)], dim=1)
    close(btc(x), expected, 1e-12)
    lengths = torch.tensor([frames, 105])
    ragged = btc(x, torch.arange(frames) < lengths[:, None])
    close(ragged[0], expected[0], 1e-12)
    close(ragged[1, :105], btc(x[1:, :105])[0], 1e-12)
    btc.compat = "chordmini"
    padded = F.pad(x, (0, 0, 0, -frames % 108))
    expected = torch.cat([btc(window) for window in padded.split(108, dim=1)], dim=1)[:, :frames]
    close(btc(x), expected, 1e-12)


@pytest.mark.parametrize("compat", [None, "chordmini", "btc"])
def test_no_frames_and_no_rows(btc, compat):
    btc.compat = compat
    assert btc(torch.zeros(2, 0, 144)).shape == (2, 0, 25)
    assert btc(torch.zeros(0, 30, 144)).shape == (0, 30, 25)
    logits, maps = btc(torch.zeros(1, 0, 144), return_attention=True)
    assert logits.shape == (1, 0, 25) and len(maps) == 2 and maps[0][0].shape == (1, 4, 0, 0)


def test_layer_norm_formula_and_constant_rows():
    norm = BTCLayerNorm(6).double()
    torch.nn.init.normal_(norm.gamma)
    torch.nn.init.normal_(norm.beta)
    x = torch.randn(4, 6, dtype=torch.float64)
    expected = norm.gamma * (x - x.mean(-1, True)) / (x.std(-1, keepdim=True) + 1e-6) + norm.beta
    close(norm(x), expected, 1e-14)
    constant = torch.full((2, 6), 3.0, dtype=torch.float64, requires_grad=True)
    norm(constant)[..., 0].sum().backward()
    assert constant.grad.isfinite().all()
    # second term of the gradient 0: (g − mean g)/ε with g = γ₀ in column 0
    expected = (norm.gamma[0] * torch.tensor([5 / 6] + [-1 / 6] * 5) / 1e-6).expand(2, 6)
    torch.testing.assert_close(constant.grad, expected.double(), rtol=1e-6, atol=0)


def test_timing_signal_values():
    signal = timing_signal(108, 128)
    assert signal.dtype == torch.float32 and signal.shape == (108, 128)
    assert signal[5, 0].item() == pytest.approx(-0.9589243, abs=1e-7)  # sin 5
    assert signal[5, 127].item() == pytest.approx(1 - 0.5 * (5e-4) ** 2, abs=1e-7)  # cos(5/10000)


def test_dropout_acts_in_training_only(btc):
    x = torch.randn(1, 20, 144)
    assert torch.equal(btc(x), btc(x))
    btc.train()
    assert not torch.allclose(btc(x), btc(x))


def test_statistics_and_normalise(btc):
    btc.set_statistics(-4.0, 2.0)
    assert (btc.mean, btc.std) == (-4.0, 2.0)
    assert torch.equal(btc.normalise(torch.tensor([-4.0, 0.0])), torch.tensor([0.0, 2.0]))
    btc.set_statistics(1.0, 0.0)
    assert btc.std == 1e-8
    assert not {"mean", "std"} & set(btc.state_dict())
    with pytest.raises(UsageError, match="both must be finite and std ≥ 0"):
        btc.set_statistics(float("nan"), 1.0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda m: m(torch.zeros(3, 144)), r"shape \[3, 144\], give \[batch, frames, 144\]"),
        (lambda m: m(torch.zeros(1, 3, 84)), r"shape \[1, 3, 84\]"),
        (lambda m: m(torch.zeros(1, 3, 144, dtype=torch.long)), "give normalised floating-point values"),
        (lambda m: m(torch.zeros(1, 3, 144), torch.ones(1, 3)), "give booleans"),
        (lambda m: m(torch.zeros(1, 3, 144), torch.ones(1, 4, dtype=torch.bool)), r"of shape \[1, 3\]"),
        (lambda m: m(torch.zeros(1, 109, 144), return_attention=True), "at most 108 frames instead of 109"),
    ],
)
def test_wrong_calls(btc, call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call(btc)


def test_wrong_calls_in_compat(btc):
    btc.compat = "btc"
    with pytest.raises(UsageError, match="takes one window, give at most 108 frames instead of 109"):
        btc(torch.zeros(1, 109, 144))
    with pytest.raises(UsageError, match="does not mask padding"):
        btc(torch.zeros(1, 3, 144), torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(UsageError, match="choose one of None, 'chordmini', 'btc'"):
        BTC(compat="cm")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"num_heads": 3}, "3 heads do not fit a hidden size of 128"),
        ({"num_layers": 0}, "num_layers is 0, give 1 to 65536"),
        ({"relu_dropout": 1.0}, "relu_dropout is 1.0"),
    ],
)
def test_wrong_configurations(fields, sentence):
    with pytest.raises(UsageError, match=sentence):
        BTCConfig(**fields)
    with pytest.raises(UsageError, match="not both"):
        BTC(BTCConfig(), num_classes=25)
