"""crema's chord network (McFee and Bello, ISMIR 2017) in PyTorch, batched over songs of any lengths.

The network and its input are restated from the published weights and paper. Tag probabilities are within 2e-6 of the
same network in float64; the original Keras model's own float32 results are within 3e-6 of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..ops.feature_plan import CREMA, CREMA_H1, CREMA_H2, FeaturePlan
from ..ops.gru import gru
from ..vocabulary import class_labels
from .crema_weights import check
from .weights import weights_hash

N_BINS = CREMA_H1.n_bins
DYNAMIC_RANGE = 80.0  # dB
_AMPLITUDE_FLOOR = 1e-5
_BN_EPSILON = 1e-3
_BINS_AT_ONCE = 8
_GROUP_FRAMES = 32768  # of songs computed together: 50 min of audio, some 150 MB
_GROUP_SONGS = 64


def harmonic_db(magnitude: Any) -> Any:
    """crema's input from linear constant-Q magnitudes, an array or a tensor.

    float32 [T, 252] of plan CREMA -> float32 [T, 216, 2] in dB, harmonic 1 (from C1) then 2 (from C2), each relative
    to its own largest value in the song and floored at −80: 20·log10(max(1e-5, C)) − 20·log10(max(1e-5, max C)).
    UsageError for another shape.
    """
    if magnitude.ndim != 2 or magnitude.shape[1] != CREMA.n_bins:
        raise UsageError(
            f"crema: features have shape {list(magnitude.shape)}; give [frames, {CREMA.n_bins}] of feature plan CREMA"
        )
    octave = CREMA_H2.bins_per_octave
    if isinstance(magnitude, Tensor):
        if magnitude.device.type == "cpu":  # the same bits as an array's: torch rounds the logarithm differently
            return torch.from_numpy(harmonic_db(magnitude.numpy()))
        decibels = 20.0 * magnitude.clamp(min=_AMPLITUDE_FLOOR).log10()
        parts = [decibels[:, first : first + N_BINS] for first in (0, octave)]
        loudest = [part.amax() if len(part) else part.new_zeros(()) for part in parts]
        both = torch.stack([part - top for part, top in zip(parts, loudest, strict=True)], dim=2)
        return both.clamp(min=-DYNAMIC_RANGE)
    level = 20.0 * np.log10(np.maximum(magnitude, np.float32(_AMPLITUDE_FLOOR), dtype=np.float32))
    result = np.empty((len(level), N_BINS, 2), np.float32)
    for harmonic, first in enumerate((0, octave)):
        part = level[:, first : first + N_BINS]
        np.subtract(part, part.max(initial=-200.0), out=result[..., harmonic])
    return np.maximum(result, np.float32(-DYNAMIC_RANGE), out=result)


def _class_order() -> np.ndarray:
    """For each of BTC's 170 classes its place in crema's order, the plain string sort of the labels."""
    labels = class_labels(170)
    place = {label: index for index, label in enumerate(sorted(labels))}
    return np.array([place[label] for label in labels])


class CremaNetwork(nn.Module):
    """The layers, with every inference batch norm but the first folded into the product that follows it."""

    norm_scale: Tensor
    norm_shift: Tensor
    local_kernel: Tensor
    local_bias: Tensor
    frame_kernel: Tensor
    frame_bias: Tensor
    heads_kernel: Tensor
    heads_bias: Tensor
    tag_kernel: Tensor
    tag_bias: Tensor

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        """``tensors`` by Keras' names, see ``crema_weights.SHAPES``; tag columns are put into BTC's class order."""
        super().__init__()
        wide = {name: np.asarray(values, np.float64) for name, values in tensors.items()}

        def norm(layer: int) -> tuple[np.ndarray, np.ndarray]:
            prefix = f"batch_normalization_{layer}"
            scale = wide[f"{prefix}.gamma"] / np.sqrt(wide[f"{prefix}.moving_variance"] + _BN_EPSILON)
            return scale, wide[f"{prefix}.beta"] - scale * wide[f"{prefix}.moving_mean"]

        def keep(name: str, values: np.ndarray) -> None:
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values, np.float32)))

        def dense(name: str, kernel: np.ndarray, bias: np.ndarray) -> None:
            keep(f"{name}_kernel", kernel)
            keep(f"{name}_bias", bias)

        # Zero padding comes after the first norm, so that one cannot be folded.
        scale, shift = norm(1)
        keep("norm_scale", scale[:, None, None])
        keep("norm_shift", shift[:, None, None])
        # One output channel makes a slow convolution, so _BINS_AT_ONCE neighbouring bins are computed as channels.
        local = wide["conv2d_1.kernel"].transpose(3, 2, 0, 1)
        shifted = [np.pad(local, ((0, 0),) * 3 + ((i, _BINS_AT_ONCE - 1 - i),)) for i in range(_BINS_AT_ONCE)]
        dense("local", np.concatenate(shifted), wide["conv2d_1.bias"].repeat(_BINS_AT_ONCE))
        scale, shift = norm(2)
        kernel = wide["conv2d_2.kernel"][0, :, 0, :]
        dense("frame", scale * kernel, wide["conv2d_2.bias"] + (shift * kernel.sum(axis=0)))
        for layer in (1, 2):
            scale, shift = norm(layer + 2)
            names = [f"bidirectional_{layer}.{direction}_gru_{layer}" for direction in ("forward", "backward")]
            kernels = np.stack([wide[f"{name}.kernel"] for name in names])
            biases = np.stack([wide[f"{name}.bias"] for name in names])
            recurrent = np.stack([wide[f"{name}.recurrent_kernel"] for name in names])
            keep(f"gru{layer}_kernel", scale[:, None] * kernels)
            keep(f"gru{layer}_recurrent", recurrent)
            keep(f"gru{layer}_bias", biases + shift @ kernels)
        heads = ("chord_pitch", "chord_root", "chord_bass")
        dense(
            "heads",
            np.concatenate([wide[f"{head}.kernel"] for head in heads], axis=1),
            np.concatenate([wide[f"{head}.bias"] for head in heads]),
        )
        scale, shift = norm(5)
        kernel, order = wide["chord_tag.kernel"], _class_order()
        dense("tag", (scale[:, None] * kernel)[:, order], (wide["chord_tag.bias"] + shift @ kernel)[order])

    def _frames(self, decibels: Tensor) -> Tensor:
        """One song [T, 216, 2] in dB -> [T, 72]; per song, so that the zero padding falls on its own ends."""
        x = decibels.permute(2, 0, 1) * self.norm_scale + self.norm_shift
        x = F.conv2d(x[None], self.local_kernel, self.local_bias, stride=(1, _BINS_AT_ONCE), padding=2)
        x = F.relu(x[0].permute(1, 2, 0).reshape(-1, N_BINS))
        return F.relu(torch.addmm(self.frame_bias, x, self.frame_kernel))

    def forward(self, decibels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Songs [T_i, 216, 2] in dB -> the heads for all frames, laid end to end.

        tag [N, 170] (probabilities, BTC's class order), pitch [N, 12] (probability of each pitch class, C first),
        root and bass [N, 13] (probabilities, index 12: none).
        """
        lengths = [len(song) for song in decibels]
        x = torch.cat([self._frames(song) for song in decibels])
        for layer in (1, 2):
            weights = [self.get_buffer(f"gru{layer}_{part}") for part in ("kernel", "recurrent", "bias")]
            x = gru(x, weights[0], weights[1], weights[2], lengths, threads=torch.get_num_threads())
        songs = [self._heads(song) for song in x.split(lengths)]
        return {head: torch.cat([song[head] for song in songs]) for head in ("tag", "pitch", "root", "bass")}

    def _heads(self, x: Tensor) -> dict[str, Tensor]:
        """One song [T, 2H]; a matrix product rounds differently with the number of rows, so songs are not joined."""
        pitch, root, bass = torch.addmm(self.heads_bias, x, self.heads_kernel).split((12, 13, 13), dim=1)
        pitch, root, bass = pitch.sigmoid(), root.softmax(1), bass.softmax(1)
        tag = torch.addmm(self.tag_bias, torch.cat((x, pitch, root, bass), dim=1), self.tag_kernel).softmax(1)
        return {"tag": tag, "pitch": pitch, "root": root, "bass": bass}


class Crema:
    """The recogniser: constant-Q magnitudes of plan CREMA in, BTC's 170 classes out.

    ``tensors`` as in ``crema_weights.SHAPES`` (ModelError naming ``where`` otherwise). It uses torch's number of
    threads; six songs in one call share the steps of the recurrent layers, which read their weights once for all.
    """

    name = "crema"
    plan: FeaturePlan = CREMA
    classes = 170
    boundary = 0.4  # frames a change is heard early, measured on rendered music with true labels (0.25 to 0.5 by set)

    def __init__(self, tensors: Mapping[str, np.ndarray], where: str = "crema") -> None:
        check(tensors, where)
        self.hash = weights_hash(tensors)
        self.network = CremaNetwork(tensors).eval()
        self.device = torch.device("cpu")

    def on(self, device: str | torch.device, precision: str = "fp32") -> Crema:
        """The same recogniser on another device; UsageError for a precision other than "fp32"."""
        if precision != "fp32":
            raise UsageError(f"{self.name}: precision is {precision!r}; crema is computed in fp32 only")
        other = copy.copy(self)
        other.device = torch.device(device)
        if other.device != self.device:
            other.network = copy.deepcopy(self.network).to(other.device)
        return other

    def posteriors(self, features: list[Any]) -> list[Any]:
        """float32 [T_i, 252] magnitudes, whole songs -> float32 [T_i, 170] probabilities in BTC's class order.

        Arrays, or tensors on this recogniser's device, which the results are on, too. The loudest bin of each song
        sets its scale, so a song must not be cut into pieces. As in the original, the frame centred at or beyond the
        last sample is not computed: the one before it is repeated. UsageError for other shapes.
        """
        return self.outputs(features)["tag"]

    def outputs(self, features: list[Any]) -> dict[str, list[Any]]:
        """As ``posteriors``, but every head: tag [T_i, 170], pitch [T_i, 12], root and bass [T_i, 13] (12: none)."""
        results: dict[str, list[Tensor]] = {
            head: [torch.empty(len(song), width, device=self.device) for song in features]
            for head, width in (("tag", self.classes), ("pitch", 12), ("root", 13), ("bass", 13))
        }
        with torch.inference_mode():
            for group in _groups([len(song) for song in features]):
                songs = [torch.as_tensor(harmonic_db(_without_last(features[i])), device=self.device) for i in group]
                for head, values in self.network(songs).items():
                    for index, part in zip(group, values.split([len(song) for song in songs]), strict=True):
                        results[head][index][: len(part)] = part
                        results[head][index][len(part) :] = part[-1]
        if features and isinstance(features[0], Tensor):
            return results
        return {head: [song.cpu().numpy() for song in songs] for head, songs in results.items()}


def _without_last(song: Any) -> Any:
    return song[:-1] if len(song) > 1 else song


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Song indices, longest first, in groups that are computed together; empty songs are left out."""
    group: list[int] = []
    frames = 0
    for index in np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist():
        if lengths[index] == 0:
            break
        if group and (frames + lengths[index] > _GROUP_FRAMES or len(group) == _GROUP_SONGS):
            yield group
            group, frames = [], 0
        group.append(index)
        frames += lengths[index]
    if group:
        yield group
