"""Several processes that train as one: ranks under torchrun, or a single process."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import UsageError


class Ranks:
    """This process among ``count``; with one, nothing is communicated."""

    def __init__(self, index: int = 0, count: int = 1) -> None:
        self.index, self.count = index, count

    @property
    def first(self) -> bool:
        return self.index == 0

    def share(self, count: int) -> slice:
        """Which of ``count`` windows of a global batch this rank computes: contiguous, sizes differ by at most one."""
        return slice(count * self.index // self.count, count * (self.index + 1) // self.count)

    def sum(self, tensor: Tensor) -> None:
        """Sum over ranks, in place."""
        if self.count > 1:
            dist.all_reduce(tensor)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether any rank says so."""
        if self.count == 1:
            return flag
        found = torch.tensor(float(flag), device=device)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return bool(found)

    def wait(self) -> None:
        if self.count > 1:
            dist.barrier()


def join(device: str) -> tuple[Ranks, torch.device]:
    """The ranks torchrun started (environment variables RANK, WORLD_SIZE, LOCAL_RANK), gloo on CPUs, NCCL on GPUs; or
    one rank. UsageError for a device that is not there."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    try:
        place = torch.device(device)
    except RuntimeError:
        raise UsageError(f"there is no device {device!r}; choose cpu, cuda or cuda:N") from None
    if place.type not in ("cpu", "cuda"):
        raise UsageError(f"there is no training on {device!r}; choose cpu, cuda or cuda:N")
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here; train with --device cpu")
    if place.type == "cuda" and place.index is None:
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if count == 1:
        return Ranks(), place
    if not dist.is_initialized():
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    return Ranks(dist.get_rank(), dist.get_world_size()), place
