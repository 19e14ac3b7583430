"""BTC and 2E1D as recognisers: windows of 108 frames with overlap, averaged into one posterior a frame."""

from __future__ import annotations

import copy
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..decoding import average, tent, windows
from ..errors import ModelError, UsageError
from ..models import ChordModel
from ..ops.feature_plan import BTC, FeaturePlan
from .weights import weights_hash

WINDOW = 108  # frames, what the networks were trained on
OVERLAP = 1 / 3
_BATCH = 32  # windows at most computed at once on a CPU: of more, layers leave the cache
_GPU_BATCH = 1024  # windows in every batch on a GPU, 1.4 h of audio
_Array = TypeVar("_Array", np.ndarray, Tensor)


class Windowed:
    """A chord network that sees 10-s windows; each frame's posterior is the mean over the windows that cover it.

    ``overlap`` is the fraction two neighbouring windows share. The mean is over softmax outputs, so rows sum to 1, and
    weighted: with ``weights`` [108], by default ``decoding.tent``, a window counts most for the frames in its middle.
    So a third is as good as the equally weighted half of ChordMini's decoder (arXiv 2602.19778) and computes a quarter
    less (docs/results.md). Short songs are padded and masked. A matrix product rounds
    differently with its number of rows, so that a song's result could depend on its neighbours by an ulp: on a CPU
    every song has batches of its own, on a GPU windows of all songs share batches that are all of one size.
    """

    plan: FeaturePlan = BTC
    boundary = 0.0  # BTC's training labels a frame from its start, so a change is where it is heard

    def __init__(self, model: ChordModel, name: str, overlap: float = OVERLAP) -> None:
        if model.n_bins != self.plan.n_bins:
            raise UsageError(f"{name}: the network wants {model.n_bins} bins, feature plan BTC has {self.plan.n_bins}")
        made_with = model.metadata.get("feature_plan")
        if made_with and made_with != self.plan.hash:
            raise ModelError(
                f"{name}: the weights were made for feature plan {made_with}, this version computes {self.plan.hash}; "
                "use the chordfast version the weights came with"
            )
        self.model = model.eval()
        self.name = name
        self.overlap = overlap
        self.weights = tent(WINDOW)
        self.device = torch.device("cpu")
        self.precision = "fp32"
        self.classes = model.num_classes
        # What the trainer wrote: its targets may put changes elsewhere than BTC's.
        found = (model.metadata.get("provenance") or {}).get("boundary")
        if isinstance(found, int | float) and -1 < found < 1:
            self.boundary = float(found)
        self.hash = weights_hash(
            {key: tensor.cpu().numpy() for key, tensor in model.state_dict().items()}
            | {"mean": np.array(model.mean), "std": np.array(model.std)}
        )

    def with_overlap(self, overlap: float) -> Windowed:
        """The same recogniser with another overlap, 0 to 0.9, which its name then says; UsageError beyond."""
        if not 0 <= overlap <= 0.9:
            raise UsageError(f"{self.name}: an overlap of {overlap:g} of a window; give 0 to 0.9")
        other = copy.copy(self)
        other.overlap, other.name = overlap, f"{self.name}@{overlap:g}"
        return other

    def on(self, device: str | torch.device, precision: str = "fp32") -> Windowed:
        """The same recogniser on another device; precision "fp32", or "bf16" for the network's matrix products.

        In bf16 the name says so, because the labels may differ. UsageError for another precision.
        """
        if precision not in ("fp32", "bf16"):
            raise UsageError(f"precision is {precision!r}; use 'fp32' or 'bf16'")
        other = copy.copy(self)
        other.device, other.precision = torch.device(device), precision
        other.name = self.name.removesuffix(" (bf16)") + (" (bf16)" if precision == "bf16" else "")
        if other.device != self.device:
            other.model = copy.deepcopy(self.model).to(other.device)
        return other

    def posteriors(self, features: list[_Array]) -> list[_Array]:
        """float32 [T_i, 144] log-magnitudes of plan BTC -> float32 [T_i, K] probabilities; UsageError otherwise.

        Arrays, or tensors on this recogniser's device, which the results are on, too.
        """
        for song in features:
            if song.ndim != 2 or song.shape[1] != self.plan.n_bins:
                raise UsageError(
                    f"{self.name}: features have shape {list(song.shape)}; give [frames, {self.plan.n_bins}] "
                    "of the feature plan BTC"
                )
        if not features:
            return []
        tensors = [torch.as_tensor(song, device=self.device) for song in features]
        with torch.inference_mode():
            found = self._together(tensors) if self.device.type == "cuda" else [self._alone(song) for song in tensors]
        return found if isinstance(features[0], Tensor) else [song.cpu().numpy() for song in found]

    def _alone(self, song: Tensor) -> Tensor:
        """One song in batches of its own."""
        starts = windows(len(song), WINDOW, self.overlap)
        scores = np.empty((len(starts), WINDOW, self.classes), np.float32)
        rows, inside = _rows([len(song)], [starts], len(song))
        table = self._table([song])
        # Batches of one size: in a small last one a window would cost twice as much.
        count = -(-len(starts) // _BATCH)
        for i in range(count):
            batch = slice(len(starts) * i // count, len(starts) * (i + 1) // count)
            scores[batch] = self._probabilities(table, rows[batch], inside[batch]).numpy()
        return torch.from_numpy(average(scores, starts, len(song), self.weights))

    def _together(self, songs: list[Tensor]) -> list[Tensor]:
        """Windows of all songs in batches of one size, padded with silence; on the device from beginning to end."""
        lengths = [len(song) for song in songs]
        starts = [windows(length, WINDOW, self.overlap) for length in lengths]
        rows, inside = _rows(lengths, starts, sum(lengths))
        table = self._table(songs)
        whole = inside.all(axis=1)
        order = np.concatenate([np.flatnonzero(whole), np.flatnonzero(~whole)])  # masked ones have batches of their own
        scores = torch.zeros(len(rows) * WINDOW + 1, self.classes, device=self.device)
        first = 0
        for group in (order[: whole.sum()], order[whole.sum() :]):
            for begin in range(0, len(group), _GPU_BATCH):
                chosen = np.resize(group[begin : begin + _GPU_BATCH], _GPU_BATCH)
                count = min(_GPU_BATCH, len(group) - begin)
                found = self._probabilities(table, rows[chosen], inside[chosen])[:count]
                scores[first * WINDOW : (first + count) * WINDOW] = found.reshape(-1, self.classes)
                first += count
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        mean = torch.zeros(sum(lengths), self.classes, device=self.device)
        for rows_of, share in zip(*_cover(lengths, starts, places, self.weights), strict=True):
            part = scores[torch.from_numpy(rows_of).to(self.device)]
            mean.addcmul_(part, torch.from_numpy(share).to(self.device)[:, None])
        return list(mean.split(lengths))

    def _table(self, songs: list[Tensor]) -> Tensor:
        """Normalised frames of all songs, and a row of zeros for what lies beyond a song's end."""
        normal = [self.model.normalise(song) for song in songs]
        return torch.cat([*normal, normal[0].new_zeros(1, self.plan.n_bins)])

    def _probabilities(self, table: Tensor, rows: np.ndarray, inside: np.ndarray) -> Tensor:
        """Windows given by their rows of the table [B, 108] -> [B, 108, K]; what is not inside has no meaning."""
        x = table[torch.from_numpy(rows).to(self.device)]
        mask = None
        if not inside.all() and self.model.compat is None:
            mask = torch.from_numpy(inside).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.model(x, mask).float().softmax(-1)


def _rows(lengths: list[int], starts: list[np.ndarray], beyond: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [W, 108] of songs laid end to end that each window sees, ``beyond`` where ``inside`` says no."""
    offsets = np.cumsum([0, *lengths])
    within = np.concatenate([*starts, np.zeros(0, np.int64)])[:, None] + np.arange(WINDOW)
    counts = [len(each) for each in starts]
    inside = within < np.repeat(np.array(lengths), counts)[:, None]
    return np.where(inside, within + np.repeat(offsets[:-1], counts)[:, None], beyond), inside


def _cover(
    lengths: list[int], starts: list[np.ndarray], places: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For every frame of songs laid end to end the rows of the windows' scores that are of it, and what they count.

    int64 [M, N] and float32 [M, N], which sums to 1 over M; window w has the 108 rows from ``places[w]`` · 108 on, and
    the row after all of them, which is zero, fills up.
    """
    empty, window = len(places) * WINDOW, 0
    weights = np.append(weights, np.float32(0))
    found, shares = [], []
    for length, first in zip(lengths, starts, strict=True):
        # Windows over frame t are neighbours: those that start in (t - 108, t].
        t = np.arange(length)
        low, high = np.searchsorted(first, t - WINDOW, side="right"), np.searchsorted(first, t, side="right")
        which = low[:, None] + np.arange(max(1, int((high - low).max(initial=1))))
        valid = which < high[:, None]
        safe = np.minimum(which, len(first) - 1) if len(first) else which
        within = np.where(valid, t[:, None] - first[safe], WINDOW) if length else np.zeros((0, 1), np.int64)
        found.append(np.where(within < WINDOW, places[window + safe] * WINDOW + within, empty) if length else within)
        shares.append(weights[within] / weights[within].sum(1, keepdims=True))
        window += len(first)
    widest = max(part.shape[1] for part in found)
    cover, share = (
        np.concatenate([np.pad(p, ((0, 0), (0, widest - p.shape[1])), constant_values=fill) for p in parts]).T
        for parts, fill in ((found, empty), (shares, 0))
    )
    return np.ascontiguousarray(cover), np.ascontiguousarray(share, np.float32)
