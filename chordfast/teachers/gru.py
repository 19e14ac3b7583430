"""A bidirectional GRU over songs of different lengths, in the form that Keras 2 had before ``reset_after``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

# Matrix products of fewer rows go through other BLAS kernels, which round differently: with at least four,
# a song's result has the same bits alone and beside others.
_LEAST_ROWS = 4
_BLOCK_ROWS = 8192  # frames whose input products are held at once: 25 MB a layer


class RaggedSteps:
    """The order in which a recurrent layer walks through songs laid end to end, without any padding.

    Songs are taken longest first, so the songs still running at step t are the first ``n_t`` of them. Both directions
    share the steps: at step t the forward one reads a song's frame t, the backward one frame length − 1 − t. Where
    fewer than four songs run, rows of an empty frame after the last, number N, fill up.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        sizes = np.asarray(lengths, dtype=np.int64)
        begins = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        order = np.argsort(-sizes, kind="stable")
        longest = int(sizes.max(initial=0))
        real = (sizes[None, :] > np.arange(longest)[:, None]).sum(axis=1)  # n_t
        self.active = np.maximum(real, _LEAST_ROWS)
        self.songs = int(self.active.max(initial=0))
        step = np.repeat(np.arange(longest), self.active)
        rank = np.arange(len(step)) - np.repeat(np.cumsum(self.active) - self.active, self.active)
        song = order[np.minimum(rank, len(order) - 1)]
        rows = np.stack([begins[song] + step, begins[song] + sizes[song] - 1 - step])
        rows[:, rank >= real[step]] = sizes.sum()
        self.rows = torch.from_numpy(rows)  # [2, ·]: frame read at each (step, song), per direction

    def blocks(self) -> Iterator[tuple[int, int, int]]:
        """(first row, steps, songs running) of stretches in which no song ends, each of bounded size."""
        edges = np.flatnonzero(np.diff(self.active)) + 1
        row = 0
        for begin, end in zip((0, *edges), (*edges, len(self.active)), strict=True):
            running = int(self.active[begin]) if end > begin else 0
            longest = max(1, _BLOCK_ROWS // max(running, 1))
            for first in range(int(begin), int(end), longest):
                steps = min(longest, int(end) - first)
                yield row, steps, running
                row += steps * running


class BidirectionalGRU(nn.Module):
    """a = x·K + b; z = σ̂(a_z + h·R_z); r = σ̂(a_r + h·R_r); c = tanh(a_h + (r∘h)·R_h); h ← z∘h + (1 − z)∘c.

    σ̂(v) = clip(0.2·v + 0.5, 0, 1). The gate order in the columns is z, r, h. The reset gate acts before the recurrent
    product, so ``torch.nn.GRU`` cannot stand in for it.
    """

    gates_kernel: Tensor
    gates_recurrent: Tensor
    gates_bias: Tensor
    candidate_kernel: Tensor
    candidate_recurrent: Tensor
    candidate_bias: Tensor

    def __init__(self, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> None:
        """``kernel`` [2, in, 3H], ``recurrent`` [2, H, 3H], ``bias`` [2, 3H], forward direction first."""
        super().__init__()
        self.size = recurrent.shape[1]
        # The hard sigmoid's slope and offset are folded into the gates, leaving a clamp.
        slope = np.repeat([0.2, 0.2, 1.0], self.size)
        offset = np.repeat([0.5, 0.5, 0.0], self.size)
        gates, candidate = slice(2 * self.size), slice(2 * self.size, None)
        for name, values in (
            ("kernel", kernel.astype(np.float64) * slope),
            ("recurrent", recurrent.astype(np.float64) * slope),
            ("bias", (bias.astype(np.float64) * slope + offset)[:, None, :]),
        ):
            # Gates and candidate apart, so that the products land in contiguous memory.
            for part, columns in (("gates", gates), ("candidate", candidate)):
                values32 = np.ascontiguousarray(values[..., columns], np.float32)
                self.register_buffer(f"{part}_{name}", torch.from_numpy(values32))

    def forward(self, x: Tensor, steps: RaggedSteps) -> Tensor:
        """Songs laid end to end [N, in] -> [N, 2H], forward direction in the first half."""
        size = self.size
        x = torch.cat((x, x.new_zeros(1, x.shape[1])))
        out = x.new_empty(x.shape[0], 2 * size)
        state = x.new_zeros(2, steps.songs, size)
        for row, count, running in steps.blocks():
            rows = steps.rows[:, row : row + count * running]
            inputs = x[rows]
            gates = torch.baddbmm(self.gates_bias, inputs, self.gates_kernel)
            candidate = torch.baddbmm(self.candidate_bias, inputs, self.candidate_kernel)
            hidden = self._run(
                gates.view(2, count, running, 2 * size),
                candidate.view(2, count, running, size),
                state[:, :running].contiguous(),
            )
            state = hidden[-1]
            flat = hidden.transpose(0, 1).reshape(2, count * running, size)
            out[rows[0], :size] = flat[0]
            out[rows[1], size:] = flat[1]
        return out[:-1]

    def _run(self, gates: Tensor, candidate: Tensor, state: Tensor) -> Tensor:
        """``gates`` [2, steps, songs, 2H] and ``candidate`` [2, steps, songs, H] hold x·K + b and are overwritten.

        ``state`` [2, songs, H] -> hidden states [steps, 2, songs, H]. Each step needs the one before, so a loop over
        steps there must be: six calls for both directions and all songs together, into memory allocated once.
        """
        hidden = state.new_empty(gates.shape[1], *state.shape)
        reset_state = torch.empty_like(state)
        update, reset = gates.chunk(2, -1)
        steps = (part.unbind(1) for part in (gates, candidate, update, reset))
        for gate, new_state, z, r, new in zip(*steps, hidden.unbind(0), strict=True):
            gate.baddbmm_(state, self.gates_recurrent).clamp_(0.0, 1.0)
            torch.mul(r, state, out=reset_state)
            new_state.baddbmm_(reset_state, self.candidate_recurrent).tanh_()
            state = torch.lerp(new_state, state, z, out=new)
        return hidden
