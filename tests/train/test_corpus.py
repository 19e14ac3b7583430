"""Corpora out of stores: parts, targets, filters, shifted songs, and everything that does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from train_toys import song, toy_corpus, toy_recipe, toy_store

from chordfast.errors import ChordfastError, LabelError, StoreError, UsageError
from chordfast.ops.feature_plan import BTC
from chordfast.store import SongRecord, Store, StoreIdentity, StoreWriter, base_and_shift, shifted_id
from chordfast.train import RECIPES, Corpus, Split, split_songs
from chordfast.train.frames import IGNORE
from chordfast.train.labels import find_label, label_files
from chordfast.train.reading import divided

PERIOD = BTC.frame_period


def labels(folder: Path, songs: int = 6, lines: str = "0 5 C:maj\n5 8 A:min\n8 10 X\n") -> Path:
    (folder / "a").mkdir(parents=True, exist_ok=True)
    for i in range(songs):
        (folder / "a" / f"s{i}.lab").write_text(lines)
    return folder


@pytest.mark.parametrize(("kind", "error"), [("topk", 2e-3), ("full", 1e-3), ("full8", 0.05)])
def test_pseudo_labels(kind: str, error: float, tmp_path: Path) -> None:
    store = toy_store(tmp_path / "store", posteriors=kind)
    corpus = Corpus.from_store(store, toy_recipe("stage1", "btc", "loss.kd=true"))
    parts = split_songs(6, 0.8, 0.1, 42, True, True)
    named = Split(*([f"a/s{i}.ogg" for i in part] for part in parts))
    assert corpus.split_ids == named
    assert [corpus.ids[i] for i in corpus.parts.train] == named.train
    assert [corpus.ids[i] for i in corpus.parts.val] == named.val
    assert corpus.frames.tolist() == [120 + 13 * int(name[3]) for name in corpus.ids]
    for i, name in enumerate(corpus.ids):
        features, target, posteriors = song(120 + 13 * int(name[3]), int(name[3]))
        rows = slice(int(corpus.first[i]), int(corpus.first[i] + corpus.frames[i]))
        np.testing.assert_array_equal(corpus.data.features[rows].numpy(), features.astype(np.float16))
        np.testing.assert_array_equal(corpus.data.target[rows].numpy(), target)
        at = torch.arange(rows.start, rows.stop)[None]
        found = corpus.data.teacher.logits(at, None)[0].softmax(-1).numpy()
        np.testing.assert_allclose(found, posteriors, atol=error)
    assert "features and posteriors 0.00 GB, in memory" in corpus.notes[0] and "kept for testing" in corpus.notes[0]
    assert (corpus.teacher, corpus.teacher_hash) == ("toy", "f00")
    values = np.concatenate([song(120 + 13 * int(corpus.ids[i][3]), int(corpus.ids[i][3]))[0].astype(np.float16).ravel()
                             for i in corpus.parts.train]).astype(np.float64)  # fmt: skip
    assert corpus.statistics(corpus.parts.train) == pytest.approx((values.mean(), values.std()), rel=1e-9)


def test_mapped_features_are_the_same(tmp_path: Path) -> None:
    store = toy_store(tmp_path / "store")
    resident, mapped = (
        Corpus.from_store(store, toy_recipe("stage1", "btc", "loss.kd=true", f"data.memory_gb={size}"))
        for size in (1, 0)
    )
    assert "read from the mapped store" in mapped.notes[0]
    first = torch.tensor([0, 5, int(mapped.first[1]), int(mapped.first[2]) + 9])
    length = torch.tensor([108, 50, 108, 108])
    one, two = (c.data.window(first, length, 108, -6.0, 2.0, partial=True) for c in (resident, mapped))
    assert one.mask is not None and two.mask is not None
    assert torch.equal(one.mask, two.mask) and torch.equal(one.target, two.target)
    assert torch.equal(one.features[one.mask], two.features[two.mask])
    assert one.teacher is not None and two.teacher is not None
    torch.testing.assert_close(one.teacher[one.mask], two.teacher[two.mask], rtol=1e-6, atol=1e-6)
    assert mapped.statistics(mapped.parts.train) == resident.statistics(resident.parts.train)


def test_ground_truth_at_the_frames_centre(tmp_path: Path) -> None:
    store = toy_store(tmp_path / "store")
    recipe = toy_recipe("stage2", "btc", "data.train=0.8")
    corpus = Corpus.from_store(store, recipe, labels(tmp_path / "labels"))
    target = corpus.data.target[: int(corpus.frames[0])].numpy()
    times = np.arange(len(target)) * PERIOD  # frame i of the CQT is centred at i periods
    wanted = np.select([times < 5, times < 8, times < 10], [1, 14 * 9, IGNORE], 169)
    np.testing.assert_array_equal(target, wanted)
    compat = Corpus.from_store(store, recipe.updated({"compat": ["labels"]}), tmp_path / "labels")
    assert set(compat.data.target.tolist()) == {1, 126, 168, 169}


def test_which_label_belongs_to_a_song(tmp_path: Path) -> None:
    for name in ("a/x.lab", "b/x.lab", "b/y.lab", "z.lab", "notes.txt.bak"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("0 1 C\n")
    files = label_files(tmp_path)
    wanted = {
        "a/x.ogg": "a/x.lab",
        "b/x": "b/x.lab",
        "c/z.flac": "z.lab",  # labels without folders
        "y.mp3": "b/y.lab",  # recordings without folders
        "x.mp3": None,  # of two, which one?
        "a/y.mp3": None,  # another folder's
    }
    for song_id, label in wanted.items():
        assert find_label(files, song_id) == (None if label is None else tmp_path / label), song_id


def test_shifted_songs_train_with_their_original(tmp_path: Path) -> None:
    assert base_and_shift("a/b.ogg#+3") == ("a/b.ogg", 3) and base_and_shift("c#-5") == ("c", -5)
    assert shifted_id("a/b.ogg", 3) == "a/b.ogg#+3" and shifted_id("c", -5) == "c#-5" and shifted_id("c", 0) == "c"
    assert base_and_shift("c#3") == ("c#3", 0) and base_and_shift("c#") == ("c#", 0)
    toy_store(tmp_path / "store")
    writer = StoreWriter(tmp_path / "store", StoreIdentity(teacher="toy", teacher_hash="f00"), "1")
    for i in range(6):
        features, _, posteriors = song(120, i)
        writer.add(SongRecord(f"a/s{i}.ogg#-2", "x", "ok", 120 * PERIOD, features, posteriors))
    writer.close()
    folder = labels(tmp_path / "labels")
    corpus = Corpus.from_store(tmp_path / "store", toy_recipe("stage2", "btc", "data.train=0.8"), folder)
    assert corpus.split_ids is not None
    assert {corpus.ids[i] for i in corpus.parts.train} == {
        f"{x}{s}" for x in corpus.split_ids.train for s in ("", "#-2")
    }
    assert [corpus.ids[i] for i in corpus.parts.val] == corpus.split_ids.val
    shifted = corpus.ids.index(f"{corpus.split_ids.train[0]}#-2")
    assert corpus.data.target[int(corpus.first[shifted])] == 14 * 10 + 1  # C moved down to A#
    off = toy_recipe("stage2", "btc", "data.train=0.8", "augment.shifted_songs=false")
    assert not any("#" in name for name in Corpus.from_store(tmp_path / "store", off, folder).ids)


def test_filters_and_weights_touch_training_only(tmp_path: Path) -> None:
    store = toy_store(tmp_path / "store", agreement=True)
    plain = Corpus.from_store(store, toy_recipe())
    train = np.zeros(len(plain.data.target), bool)
    for i in plain.parts.train:
        train[int(plain.first[i]) : int(plain.first[i] + plain.frames[i])] = True
    sure = Corpus.from_store(store, toy_recipe("stage1", "btc", "data.min_confidence=0.95")).data.target.numpy()
    assert (sure[train] == IGNORE).all() and (sure[~train] != IGNORE).all()
    agreed = Corpus.from_store(store, toy_recipe("stage1", "btc", "data.agreement_only=true")).data.target.numpy()
    odd = np.concatenate([np.arange(n) % 2 for n in plain.frames]) == 1
    assert ((agreed == IGNORE) == (train & ~odd)).all()
    weights = Corpus.from_store(store, toy_recipe("stage1", "btc", "data.weight_by=confidence")).data.weight
    assert weights is not None
    np.testing.assert_allclose(weights.numpy()[train], 0.9, atol=1e-3)
    assert (weights.numpy()[~train] == 1).all()
    weights = Corpus.from_store(store, toy_recipe("stage1", "btc", "data.weight_by=agreement")).data.weight
    assert weights is not None and np.array_equal(weights.numpy(), np.where(train, odd, 1).astype(np.float16))


def test_split_files_choose_songs(tmp_path: Path) -> None:
    store = toy_store(tmp_path / "store")
    path = tmp_path / "split.json"
    path.write_text('{"train": ["a/s4"], "val": ["a/s1.ogg"], "test": ["a/s0"]}')
    corpus = Corpus.from_store(store, toy_recipe(), split=path)
    assert corpus.split_ids == Split(["a/s4.ogg"], ["a/s1.ogg"], ["a/s0.ogg"])
    assert corpus.ids == ["a/s1.ogg", "a/s4.ogg"]
    with pytest.raises(UsageError, match="no song is left to val"):
        Corpus.from_store(store, toy_recipe(), split=Split(["a/s4"], [], []))
    with pytest.raises(UsageError, match="no song is left to train"):
        Corpus.from_store(toy_store(tmp_path / "one", 1), toy_recipe("stage2"), labels(tmp_path / "labels"))


def test_stores_that_do_not_fit(tmp_path: Path) -> None:
    store = toy_store(tmp_path / "store")
    with pytest.raises(StoreError, match="was made with teacher toy, not crema"):
        Corpus.from_store(store, toy_recipe(), teacher="crema")
    Corpus.from_store(store, toy_recipe(), teacher="f00")
    other = toy_store(tmp_path / "other", plan=replace(BTC, hop=1024))
    with pytest.raises(StoreError, match="features of another plan"):
        Corpus.from_store(other, toy_recipe())
    bare = toy_store(tmp_path / "bare", posteriors="none")
    Corpus.from_store(bare, toy_recipe())
    with pytest.raises(StoreError, match="was made without posteriors"):
        Corpus.from_store(bare, toy_recipe("stage1", "btc", "loss.kd=true"))
    with pytest.raises(ChordfastError, match=r"has no agreement for a/s\d\.ogg"):
        Corpus.from_store(store, toy_recipe("stage1", "btc", "data.agreement_only=true"))
    with pytest.raises(UsageError, match="data.targets is pseudo".replace(".", r"\.")):
        Corpus.from_store(store, toy_recipe(), tmp_path)
    with pytest.raises(UsageError, match="stage2 trains on labels; give their folder"):
        Corpus.from_store(store, toy_recipe("stage2"))
    with pytest.raises(UsageError, match="choose pseudo-labels"):
        Corpus.from_store(store, toy_recipe("stage2", "btc", "data.min_confidence=0.5"), labels(tmp_path / "labels"))
    with pytest.raises(StoreError):
        Corpus.from_store(tmp_path / "nothing", toy_recipe())


def test_damaged_store(tmp_path: Path) -> None:
    store = toy_store(tmp_path / "store")
    part = sorted(p for p in store.rglob("*.safetensors"))[0]
    data = bytearray(part.read_bytes())
    data[-30_000] ^= 0x40
    part.write_bytes(data)
    recipe = toy_recipe().updated({"data": {"train": 0.9, "val": 0.1}})
    with pytest.raises(StoreError, match=r"is damaged \(\w+ of a/s\d\.ogg\); run chordfast store verify"):
        everything = Split([row.id for row in Store(store).rows], [Store(store).rows[0].id], [])
        Corpus.from_store(store, recipe, split=everything)


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    store, recipe = toy_store(tmp_path / "store"), toy_recipe("stage2", "btc", "data.train=0.8")
    folder = labels(tmp_path / "labels", songs=5)
    with pytest.raises(LabelError, match=r"no label file for 1 of the songs \(say, 'a/s5\.ogg'\)"):
        Corpus.from_store(store, recipe, folder)
    warnings: list[str] = []
    corpus = Corpus.from_store(store, recipe, folder, skip=True, warn=warnings.append)
    assert "a/s5.ogg" not in corpus.ids and warnings == ["1 songs without labels were left out (say, 'a/s5.ogg')"]
    (folder / "a" / "s2.lab").write_text("0 99 C:maj\n")
    with pytest.raises(LabelError, match=r"s2\.lab: the labels run to 99\.00 s, but the recording has 13\.56 s"):
        Corpus.from_store(store, recipe, labels(folder, 0))
    (folder / "a" / "s5.lab").write_text("0 5 H:maj\n")
    (folder / "a" / "s2.lab").write_text("0 5 C\n")
    with pytest.raises(LabelError, match="H:maj"):
        Corpus.from_store(store, recipe, folder)
    corpus = Corpus.from_store(store, recipe, folder, skip=True, warn=warnings.append)
    assert "left out" in warnings[-1] and "H:maj" in warnings[-1]
    with pytest.raises(UsageError, match="is no folder"):
        Corpus.from_store(store, recipe, tmp_path / "none")


def test_songs_outside_train_and_val_of_a_split_need_no_labels(tmp_path: Path) -> None:
    store, recipe = toy_store(tmp_path / "store"), toy_recipe("stage2", "btc")
    folder = labels(tmp_path / "labels", songs=4)
    corpus = Corpus.from_store(store, recipe, folder, Split(["a/s0", "a/s2"], ["a/s3"], ["a/s5"]))
    assert corpus.ids == ["a/s0.ogg", "a/s2.ogg", "a/s3.ogg"] and corpus.parts == ([0, 1], [2], [])
    with pytest.raises(LabelError, match=r"no label file for 1 of the songs \(say, 'a/s4\.ogg'\)"):
        Corpus.from_store(store, recipe, folder, Split(["a/s0", "a/s4"], ["a/s3"], []))
    with pytest.raises(UsageError, match="no song is left to val"):
        Corpus.from_store(store, recipe, folder, Split(["a/s0"], ["a/s4"], []), skip=True)


def test_arrays_that_do_not_fit() -> None:
    features, target, posteriors = song(50, 0)
    with pytest.raises(UsageError, match="targets have other lengths"):
        Corpus.from_arrays([features], [target[:-1]])
    with pytest.raises(UsageError, match="a target is class 170, but there are 170 classes"):
        Corpus.from_arrays([features], [np.full(50, 170)])
    with pytest.raises(UsageError, match=r"teacher logits have shape \[50, 170\], the targets 25 classes"):
        Corpus.from_arrays([features], [np.zeros(50, int)], [posteriors], classes=25)
    assert toy_corpus().hours([0]) == pytest.approx(150 * PERIOD / 3600)
    assert RECIPES["stage1"].data.targets == "pseudo"


def add_shifted(
    folder: Path, *steps: int, songs: range = range(6), source: str = "hash{}", outcome: str = "ok"
) -> None:
    """Versions of the toy store's songs, of the same length, as another writer would add them."""
    with StoreWriter(folder, StoreIdentity(teacher="toy", teacher_hash="f00"), f"w{steps[0]}") as writer:
        for i in songs:
            features, _, posteriors = song(120 + 13 * i, i)
            arrays = (features, posteriors) if outcome == "ok" else (None, None)
            for step in steps:
                name = shifted_id(f"a/s{i}.ogg", step)
                writer.add(SongRecord(name, source.format(i), outcome, len(features) * PERIOD, *arrays))


def test_a_recipe_with_a_pitch_shift_takes_just_these_versions(tmp_path: Path) -> None:
    store, folder = toy_store(tmp_path / "store"), labels(tmp_path / "labels")
    recipe = toy_recipe("stage2", "btc", "data.train=0.7", "augment.pitch_shift=[-2, 1]")
    plain = Corpus.from_store(store, toy_recipe("stage2", "btc", "data.train=0.7"), folder)
    assert plain.split_ids == divided(Store(store), recipe, folder)
    train = plain.split_ids.train
    with pytest.raises(StoreError, match=r"lacks 12 shifted versions of the 4 training songs \(say, a/s\d\.ogg#-2\); "
                       r"make them with chordfast label --pitch-shift -2\.\.1"):  # fmt: skip
        Corpus.from_store(store, recipe, folder)
    add_shifted(store, -2, -1, 1, 4)
    corpus = Corpus.from_store(store, recipe, folder)
    assert corpus.split_ids == plain.split_ids
    assert {corpus.ids[i] for i in corpus.parts.train} == {shifted_id(x, s) for x in train for s in (-2, -1, 0, 1)}
    assert [corpus.ids[i] for i in corpus.parts.val] == plain.split_ids.val
    everything = Corpus.from_store(store, toy_recipe("stage2", "btc", "data.train=0.7"), folder)
    assert len(everything.parts.train) == 5 * len(train)  # without the setting: whatever is there
    for step in (-2, -1, 0, 1):
        at = int(corpus.first[corpus.ids.index(shifted_id(train[0], step))])
        assert corpus.data.target[at] == 14 * (step % 12) + 1  # C major, moved along


def test_only_training_songs_need_versions_and_of_the_same_recording(tmp_path: Path) -> None:
    store = toy_store(tmp_path / "store")
    recipe = toy_recipe("stage1", "btc", "augment.pitch_shift=[3, 3]")
    split = Split(["a/s0", "a/s2"], ["a/s1"], ["a/s3"])
    add_shifted(store, 3, songs=range(0, 1))
    add_shifted(store, 3, songs=range(2, 3), source="another")
    with pytest.raises(StoreError, match=r"lacks 1 shifted versions of the 2 training songs \(say, a/s2\.ogg#\+3\)"):
        Corpus.from_store(store, recipe, split=split)
    add_shifted(store, 3, songs=range(2, 3), source="", outcome="timeout")  # it could not be made
    assert Corpus.from_store(store, recipe, split=split).ids == ["a/s0.ogg", "a/s0.ogg#+3", "a/s1.ogg", "a/s2.ogg"]


def test_pseudo_labels_of_versions_are_taken_as_they_are(tmp_path: Path) -> None:
    """The teacher heard the shifted audio: its classes are in the new key already."""
    store = toy_store(tmp_path / "store")
    add_shifted(store, 5)
    corpus = Corpus.from_store(store, toy_recipe("stage1", "btc", "loss.kd=true", "augment.pitch_shift=[5, 5]"))
    for i in (i for i in corpus.parts.train if "#" in corpus.ids[i]):
        number = int(corpus.ids[i][3])
        rows = slice(int(corpus.first[i]), int(corpus.first[i] + corpus.frames[i]))
        np.testing.assert_array_equal(corpus.data.target[rows].numpy(), song(120 + 13 * number, number)[1])
        found = corpus.data.teacher.logits(torch.arange(rows.start, rows.stop)[None], None)[0].argmax(-1)
        np.testing.assert_array_equal(found.numpy(), corpus.data.target[rows].numpy())
