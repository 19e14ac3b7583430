"""Every checkpoint layout in, safetensors out, and every file that is refused – with its sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import safetensors
import torch
from models_golden import tensor

import chordfast.models
from chordfast.errors import ChordfastError, ModelError, UsageError
from chordfast.models import BTC, TwoE1D, convert, load_checkpoint, load_model, save_checkpoint
from chordfast.models.checkpoints import build, compare
from chordfast.vocabulary import class_labels

MEAN, STD = -4.4548, 2.6421
HEADS = (6, 8, 8)


def chordmini(state, epoch=7, best=True):
    """The layout of ChordMini's best_model.pth or checkpoint_epoch_N.pth, AdamW moments included."""
    parameters = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2, 2))]
    optimizer = torch.optim.AdamW(parameters)
    sum(p.sum() for p in parameters).backward()
    optimizer.step()
    content = {
        "epoch": epoch,
        "model_state_dict": state,
        "optimizer_state_dict": optimizer.state_dict(),
        "loss": np.float64(0.75),
        "normalization": {"mean": torch.tensor(MEAN), "std": torch.tensor(STD)},
        "best_val_acc": 0.5,
        "early_stop_counter": 2,
        "train_losses": [1.0, np.float32(0.5)],
        "val_losses": [],
        "batch_scheduler_state": {"step": 3, "lr": 1e-4},
    }
    if best:
        labels = [label.removesuffix(":maj") for label in class_labels(170)]
        content |= {"accuracy": 0.5, "idx_to_chord": dict(enumerate(labels))}
    return content


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("number", [float, np.float64, np.float32, torch.tensor])
def test_ismir19_layout(tmp_path, btc_golden, btc_state, number, zipped):
    path = tmp_path / "btc_model.pt"
    content = {"model": btc_state, "mean": number(MEAN), "std": number(STD)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    model = BTC.from_checkpoint(path)
    assert not model.training and type(model.mean) is float
    assert (model.mean, model.std) == pytest.approx((MEAN, STD), rel=1e-7)
    assert model.metadata["layout"] == "ismir19"
    logits = model.double()(tensor(btc_golden["x"]))
    torch.testing.assert_close(logits, tensor(btc_golden["logits64"]), rtol=0, atol=1e-9)


def test_numpy_scalars_of_both_numpy_generations(tmp_path, btc_state):
    path = tmp_path / "old.pt"
    torch.save({"model": btc_state, "mean": np.float64(MEAN), "std": STD}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    written = [name for name in (b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n") if name in data]
    assert len(written) == 1
    for name in (b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"):
        path.write_bytes(data.replace(written[0], name))
        assert load_checkpoint(path).mean == MEAN


@pytest.mark.parametrize("best", [True, False])
def test_chordmini_layout(tmp_path, twoe1d_golden, twoe1d_state, best):
    path = tmp_path / "best_model.pth"
    torch.save(chordmini(twoe1d_state, best=best), path)
    model = TwoE1D.from_checkpoint(path, heads=HEADS)
    assert model.mean == float(np.float32(MEAN)) and model.std == float(np.float32(STD))
    logits = model.double()(tensor(twoe1d_golden["x_T108"]))
    torch.testing.assert_close(logits, tensor(twoe1d_golden["logits64_T108"]), rtol=0, atol=1e-9)
    metadata = load_checkpoint(path).metadata
    assert metadata["layout"] == "chordmini" and metadata["epoch"] == 7 and metadata["loss"] == 0.75
    assert metadata["train_losses"] == [1.0, 0.5] and ("idx_to_chord" in metadata) == best
    json.dumps(load_checkpoint(path).summary())


def test_bare_state_dict_and_wrappers_prefixes(tmp_path, btc_state):
    for number, prefix in enumerate(["", "module.", "module._orig_mod."]):
        path = tmp_path / f"{number}.pt"
        torch.save({prefix + name: value for name, value in btc_state.items()}, path)
        with pytest.warns(UserWarning, match="holds no feature mean and std"):
            model = BTC.from_checkpoint(path)
        assert (model.mean, model.std) == (0.0, 1.0)
        assert all(torch.equal(value, btc_state[name]) for name, value in model.state_dict().items())
    torch.save({**btc_state, **{f"module.{name}": value for name, value in btc_state.items()}}, path)
    with pytest.raises(ModelError, match="twice, with and without a prefix"):
        load_checkpoint(path)


def test_statistics_at_top_level_and_std_floor(tmp_path, btc_state):
    path = tmp_path / "m.pt"
    torch.save({"model": btc_state, "mean": 1.0, "std": 5.0, "normalization": {"mean": 2.0, "std": 0.0}}, path)
    checkpoint = load_checkpoint(path)
    assert (checkpoint.mean, checkpoint.std) == (2.0, 1e-8)
    for bad in (float("nan"), torch.zeros(2), "none", -1.0):
        torch.save({"model": btc_state, "mean": 0.0, "std": bad}, path)
        with pytest.raises(ModelError, match="its feature std is not a usable number"):
            load_checkpoint(path)


@pytest.mark.parametrize("which", ["btc", "twoe1d"])
def test_safetensors_round_trip(tmp_path, which, request):
    model = request.getfixturevalue(which)
    model.set_statistics(-4.4548, 1 / 3)
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, model, feature_plan="abc123", provenance={"data": ["x"], "note": "né"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # heads and statistics are in the file: nothing to warn of
        again = load_model(path)
    assert type(again) is type(model) and again.config == model.config
    assert (again.mean, again.std) == (-4.4548, 1 / 3)
    assert again.metadata["feature_plan"] == "abc123"
    assert again.metadata["provenance"] == {"data": ["x"], "note": "né"}
    assert again.metadata["vocabulary"] == f"btc{model.num_classes}"
    x = torch.randn(1, 12, 144)
    assert torch.equal(again(x), model(x))
    assert os.listdir(tmp_path) == ["m.safetensors"]
    second = tmp_path / "again.safetensors"
    save_checkpoint(second, again)
    assert second.read_bytes() == path.read_bytes()
    with safetensors.safe_open(path, "pt") as other:  # the library itself agrees
        assert other.metadata()["mean"] == "-4.4548"
        assert all(torch.equal(other.get_tensor(name), value) for name, value in model.state_dict().items())


def test_safetensors_whose_header_length_looks_like_a_pickle(tmp_path, btc):
    """The first byte is the low byte of the header's length: 0x80 starts a pickle, and "PK" a zip file."""
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, btc, provenance={"note": ""})
    length = int.from_bytes(path.read_bytes()[:8], "little")
    for wanted in (0x80, 0x50):
        save_checkpoint(path, btc, provenance={"note": "x" * ((wanted - length) % 256)})
        assert path.read_bytes()[0] == wanted
        assert load_model(path).metadata["layout"] == "chordfast"
        renamed = tmp_path / "m.pt"
        renamed.write_bytes(path.read_bytes())
        assert load_checkpoint(renamed).metadata["layout"] == "chordfast"
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(ModelError, match="truncated or damaged as a safetensors file"):
            load_checkpoint(path)


def test_strided_and_shared_tensors_are_written_in_c_order(tmp_path, btc):
    weight = btc.output_layer.output_projection.weight.detach().clone()
    fortran = torch.from_numpy(np.asfortranarray(weight.numpy()))
    wide = torch.zeros(25, 256)
    wide[:, ::2] = weight
    for strided in (fortran, wide[:, ::2]):
        assert not strided.is_contiguous()
        btc.output_layer.output_projection.weight = torch.nn.Parameter(strided)
        gamma = btc.self_attn_layers.layer_norm.gamma
        btc.self_attn_layers.self_attn_layers[0].attn_block.layer_norm_mha.gamma = gamma
        path = tmp_path / "m.safetensors"
        save_checkpoint(path, btc)
        again = load_checkpoint(path).state
        assert torch.equal(again["output_layer.output_projection.weight"], weight)
        assert torch.equal(again["self_attn_layers.self_attn_layers.0.attn_block.layer_norm_mha.gamma"], gamma)
    # and from a torch file, whose tensors keep their strides
    torch.save({"model": {"w": fortran}, "mean": 0, "std": 1}, tmp_path / "f.pt")
    loaded = load_checkpoint(tmp_path / "f.pt").state["w"]
    assert loaded.is_contiguous() and torch.equal(loaded, weight)


def test_half_precision_files_load_as_float32(tmp_path, btc_state):
    path = tmp_path / "half.pt"
    torch.save({"model": {n: v.half() for n, v in btc_state.items()}, "mean": 0.0, "std": 1.0}, path)
    state = BTC.from_checkpoint(path).state_dict()
    assert all(torch.equal(state[name], value) for name, value in btc_state.items())  # float16-exact


def test_saving_refuses_what_cannot_be_used(tmp_path, btc):
    with pytest.raises(ModelError, match="'btc170' is no vocabulary of 25 classes"):
        save_checkpoint(tmp_path / "m.safetensors", btc, vocabulary="btc170")
    with pytest.raises(ModelError, match="cannot be written"):
        save_checkpoint(tmp_path / "nowhere" / "m.safetensors", btc)
    btc.self_attn_layers.layer_norm.gamma.data[3] = float("nan")
    with pytest.raises(ModelError, match=r"self_attn_layers\.layer_norm\.gamma holds NaN"):
        save_checkpoint(tmp_path / "m.safetensors", btc)
    assert not os.listdir(tmp_path)


def test_convert_btc(tmp_path, btc_golden, btc_state):
    source, target = tmp_path / "btc_model.pt", tmp_path / "btc.safetensors"
    torch.save({"model": btc_state, "mean": np.float64(MEAN), "std": np.float64(STD)}, source)
    written = convert(source, target, feature_plan="f00")
    assert (written.mean, written.std, written.architecture, written.num_classes) == (MEAN, STD, "btc", 25)
    assert written.metadata["feature_plan"] == "f00"
    assert written.metadata["provenance"]["source"] == "btc_model.pt"
    assert len(written.metadata["provenance"]["source_sha256"]) == 64
    model = BTC.from_checkpoint(target, compat="chordmini")
    assert model.compat == "chordmini" and model.config.num_layers == 2
    logits = model.double()(tensor(btc_golden["x"]))
    torch.testing.assert_close(logits, tensor(btc_golden["logits64"]), rtol=0, atol=1e-9)
    with pytest.raises(ModelError, match="give another name"):
        convert(target, target)
    with pytest.raises(UsageError, match="leave heads out"):
        convert(source, target, heads="cm_infer")


def test_convert_to_half_the_size_rounds_and_reads_back_as_float32(tmp_path, btc_state):
    source, target = tmp_path / "btc_model.pt", tmp_path / "btc.safetensors"
    torch.save({"model": btc_state, "mean": MEAN, "std": STD}, source)
    written = convert(source, target, half=True)
    full = convert(source, tmp_path / "full.safetensors")
    assert target.stat().st_size < 0.52 * (tmp_path / "full.safetensors").stat().st_size
    for name, tensor_ in written.state.items():
        assert tensor_.dtype == torch.float32
        torch.testing.assert_close(tensor_, full.state[name].half().float(), rtol=0, atol=0)
    name = next(iter(btc_state))
    large = btc_state | {name: torch.full_like(btc_state[name], 1e5)}
    torch.save({"model": large, "mean": MEAN, "std": STD}, source)
    with pytest.raises(ModelError, match="is too large for float16, leave half out"):
        convert(source, tmp_path / "large.safetensors", half=True)
    assert not (tmp_path / "large.safetensors").exists()


def test_convert_2e1d_needs_and_keeps_heads(tmp_path, twoe1d_state):
    source, target = tmp_path / "best_model.pth", tmp_path / "student.safetensors"
    torch.save(chordmini(twoe1d_state), source)
    with pytest.raises(ModelError, match="does not record its attention heads"):
        convert(source, target)
    assert not target.exists()
    convert(source, target, heads=(3, 4, 2))
    config = TwoE1D.from_checkpoint(target).config
    assert (config.f_head, config.t_head, config.d_head) == (3, 4, 2)
    assert load_checkpoint(target).metadata["provenance"]["source_layout"] == "chordmini"
    again = convert(target, tmp_path / "again.safetensors")
    assert again.config["f_head"] == 3 and again.metadata["provenance"]["source"] == "student.safetensors"


def test_heads_of_a_checkpoint(tmp_path, twoe1d_golden, twoe1d_state):
    path = tmp_path / "m.pth"
    torch.save(chordmini(twoe1d_state), path)

    def heads(**options):
        config = TwoE1D.from_checkpoint(path, **options).config
        return config.f_head, config.t_head, config.d_head

    assert heads(heads="cm_infer") == (6, 8, 4)
    assert heads(heads=(2, 4, 4)) == (2, 4, 4)
    with pytest.warns(UserWarning, match=r"does not say how many attention heads.*assuming \(6, 8, 4\)"):
        assert heads() == (6, 8, 4)
    for wrong in ((5, 8, 8), (6, 8), "guess"):
        with pytest.raises(UsageError, match="2E1D"):
            heads(heads=wrong)
    torch.save(chordmini(twoe1d_state) | {"config": {"f_head": 8, "t_head": 4, "d_head": 4, "n_group": 12}}, path)
    assert heads() == (6, 4, 4)  # ChordMini's class lowers 8 to a divisor of 12


def test_published_2e1d_warns_with_the_heads_it_was_trained_with(tmp_path):
    path = tmp_path / "m.pth"
    torch.save(chordmini(TwoE1D().state_dict()), path)
    with pytest.warns(UserWarning, match=r"assuming \(2, 4, 4\).*ChordMini evaluates with \(8, 8, 4\)"):
        model = TwoE1D.from_checkpoint(path)
    assert model.config == TwoE1D().config
    with pytest.warns(UserWarning) as caught:
        load_model(path)
    assert caught[0].filename == __file__


def test_report(btc, btc_state):
    assert compare(btc_state, btc).ok and str(compare(btc_state, btc)) == "all tensors fit"
    few = dict(list(btc_state.items())[5:]) | {
        "a": torch.zeros(1),
        "output_layer.output_projection.bias": torch.zeros(9),
    }
    report = compare(few, btc)
    assert report.missing == list(btc_state)[:5] and report.unexpected == ["a"] and not report.ok
    assert report.mismatched == [("output_layer.output_projection.bias", (9,), (25,))]
    assert str(report).startswith("5 missing (self_attn_layers.embedding_proj.weight, ")
    assert "1 of another shape (output_layer.output_projection.bias [9] instead of [25])" in str(report)


def test_built_networks_can_be_trained(tmp_path, btc_state):
    path = tmp_path / "m.pt"
    torch.save({"model": btc_state, "mean": 0.0, "std": 1.0}, path)
    checkpoint = load_checkpoint(path)
    model = build(checkpoint, BTC)
    assert not any(p.is_meta for p in model.parameters()) and model.self_attn_layers.timing.device.type == "cpu"
    model.train()(torch.randn(1, 8, 144)).sum().backward()
    assert model.output_layer.output_projection.weight.grad is not None
    with pytest.raises(UsageError, match="BTC has no option heads"):
        load_model(path, heads=(2, 4, 4))
    assert issubclass(ModelError, ChordfastError)


def test_the_package_does_not_load_torch():
    code = "import sys, chordfast.models; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'LSTM'"):
        getattr(chordfast.models, "LSTM")  # noqa: B009
