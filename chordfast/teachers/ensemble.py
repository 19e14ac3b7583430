"""Several recognisers as one: the mean of their posteriors, and how far they agree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UsageError
from ..ops.feature_plan import FeaturePlan
from .base import Recogniser, Recognition


class Ensemble:
    """The mean of the posteriors of ``members``, frame by frame, for recognisers of 170 classes on one frame grid.

    ``plans`` are the members' feature plans, each once. ``hash``: SHA-256 of the members' hashes in their order. Where
    the plans differ by a frame at the end, the first member's count holds and a missing last frame is repeated.
    UsageError for fewer than two members, other classes or another grid.
    """

    classes = 170

    def __init__(self, members: Sequence[Recogniser]) -> None:
        if len(members) < 2:
            raise UsageError("an ensemble needs at least two recognisers; give two or more")
        self.members = tuple(members)
        self.name = "+".join(member.name for member in members)
        self.plans: tuple[FeaturePlan, ...] = tuple(dict.fromkeys(plan for each in members for plan in plans_for(each)))
        self.plan = self.plans[0]
        for member in members:
            if member.classes != self.classes:
                raise UsageError(f"{self.name}: {member.name} has {member.classes} classes; only 170 can be combined")
            if member.plan.frame_period != members[0].plan.frame_period:
                raise UsageError(
                    f"{self.name}: a frame of {member.name} takes {member.plan.frame_period:.5g} s, of "
                    f"{members[0].name} {members[0].plan.frame_period:.5g} s; combine recognisers with the same frames"
                )
        self.hash = hashlib.sha256("".join(member.hash for member in members).encode()).hexdigest()
        self.boundary = float(np.mean([member.boundary for member in members]))

    def on(self, device: Any, precision: str = "fp32") -> Ensemble:
        """The same ensemble with every member on another device; UsageError when one has no way of getting there."""
        moved: list[Recogniser] = []
        for member in self.members:
            if not hasattr(member, "on"):
                raise UsageError(f"{self.name}: {member.name} is computed on the CPU in fp32 only; leave it out there")
            moved.append(member.on(device, precision))
        return Ensemble(moved)

    def posteriors(self, features: list[Any]) -> list[np.ndarray]:
        """Per song a tuple of arrays in the order of ``plans`` (of a single plan, the array) -> float32 [T_i, 170]."""
        return self.recognise(features).posteriors

    def recognise(self, features: list[Any]) -> Recognition:
        """As ``posteriors``, with the members' agreement."""
        found = [member.posteriors(self._part(member, features)) for member in self.members]
        posteriors, agreement = [], []
        for songs in zip(*found, strict=True):
            frames = len(songs[0])
            each = np.stack([_fitted(song, frames) for song in songs])
            mean = each.mean(axis=0)
            posteriors.append(mean)
            same = each.argmax(axis=2) == mean.argmax(axis=1)
            agreement.append((same.mean(axis=0) * 100).astype(np.uint8))
        return Recognition(posteriors, agreement)

    def _part(self, member: Recogniser, features: list[Any]) -> list[Any]:
        """What ``member`` gets of every song."""
        if len(self.plans) == 1:
            return list(features)
        places = [self.plans.index(plan) for plan in plans_for(member)]
        for song in features:
            if not isinstance(song, tuple | list) or len(song) != len(self.plans):
                raise UsageError(f"{self.name}: give the features of each song as {len(self.plans)} arrays, one a plan")
        return [song[places[0]] if len(places) == 1 else tuple(song[place] for place in places) for song in features]


def plans_for(recogniser: Recogniser) -> tuple[FeaturePlan, ...]:
    """The feature plans a recogniser wants, in the order in which it wants them."""
    return tuple(getattr(recogniser, "plans", (recogniser.plan,)))


def _fitted(song: np.ndarray, frames: int) -> np.ndarray:
    if len(song) >= frames or not len(song):
        return song[:frames] if len(song) else np.full((frames, song.shape[1]), 1 / song.shape[1], song.dtype)
    return np.concatenate([song, np.repeat(song[-1:], frames - len(song), axis=0)])
