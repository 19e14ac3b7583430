"""All trained parameters of a network as one tensor, and their gradients as another."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Tensors every published checkpoint has, but that nothing is computed with.
UNUSED = ("output_layer.lstm.", "transformer.decoder.fc.")
_ALIGNED = 64  # elements; vectorised code likes rows that begin on a cache line
STATS = 16  # numbers of a step that travel with the gradient


class FlatParameters:
    """Makes the parameters of ``model`` views of one float32 tensor, ``values`` [n], and their gradients views of
    ``gradient`` [n]: clipping, the optimiser's update and a sum over ranks are then a few operations in all.

    ``stats`` [STATS] lies behind the gradient in ``shared``, so that one reduction carries both. Gaps between tensors
    are zeros and stay so. Moving the model afterwards breaks the tie.
    """

    def __init__(self, model: nn.Module) -> None:
        chosen = [(name, p) for name, p in model.named_parameters() if not name.startswith(UNUSED)]
        self.layout: dict[str, tuple[int, int]] = {}
        end = 0
        for name, parameter in chosen:
            self.layout[name] = (end, parameter.numel())
            end += -(-parameter.numel() // _ALIGNED) * _ALIGNED
        device = chosen[0][1].device
        self.values = torch.zeros(end, device=device)
        self.shared = torch.zeros(end + STATS, device=device)
        self.gradient, self.stats = self.shared[:end], self.shared[end:]
        for name, parameter in chosen:
            start, count = self.layout[name]
            place = slice(start, start + count)
            self.values[place] = parameter.detach().flatten()
            parameter.data = self.values[place].view_as(parameter)
            parameter.grad = self.gradient[place].view_as(parameter)
        self.leaf = nn.Parameter(self.values, requires_grad=True)
        self.leaf.grad = self.gradient
        for name, parameter in model.named_parameters():
            if name not in self.layout:
                parameter.requires_grad_(False)

    def load(self, values: Tensor) -> None:
        """Copy saved ``values`` in."""
        with torch.no_grad():
            self.values.copy_(values)
