"""Which devices a run has: threads of this process, or a process for each GPU; and whether a model can go there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._native import native
from ..errors import UsageError
from ..ops.feature_plan import FeaturePlan

if TYPE_CHECKING:
    from ..teachers import Recogniser
    from .devices import Device

PRECISIONS = ("fp32", "bf16")


def check_device(recogniser: Recogniser, device: str, precision: str) -> None:
    """UsageError when this recogniser cannot compute on a torch device in ``precision``."""
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; choose fp32 or bf16")
    if hasattr(recogniser, "on"):
        return
    if precision != "fp32":
        raise UsageError(f"model {recogniser.name} is computed in fp32 only; leave out --precision")
    if device.startswith("cuda"):
        raise UsageError(
            f"model {recogniser.name} has no way of computing on a GPU yet; leave out --gpus and --device, or give a "
            "BTC or 2E1D checkpoint with --model"
        )


def recogniser_on(recogniser: Recogniser, device: str, precision: str) -> Recogniser:
    """The recogniser on a torch device, computing in ``precision``; UsageError when it cannot."""
    check_device(recogniser, device, precision)
    if not hasattr(recogniser, "on"):
        return recogniser
    moved: Recogniser = recogniser.on(device, precision)
    return moved


def device_names(device: str | None, gpus: int | None) -> list[str]:
    """The devices that --device and --gpus ask for: ["cpu"], or names torch knows, or "cpu-process" so many times.

    UsageError for a device that does not exist here.
    """
    kind = device or ("cpu" if gpus is None else "cuda")
    if gpus is not None and gpus < 1:
        raise UsageError(f"gpus is {gpus}; give a positive number")
    if kind == "cpu":
        if gpus is not None:
            raise UsageError("--gpus does not go with --device cpu; leave one of them out")
        return ["cpu"]
    if kind == "cpu-process":
        return [kind] * (gpus or 1)
    name, _, number = kind.partition(":")
    if name != "cuda" or (number and not number.isdigit()) or (number and gpus is not None):
        raise UsageError(f"unknown device {kind!r}; choose cpu, cuda or cuda:N, and --gpus only with cuda")
    return _gpus(int(number) if number else None, gpus or 1)


def _gpus(number: int | None, count: int) -> list[str]:
    import torch

    there = torch.cuda.device_count()
    if not there:
        raise UsageError("torch finds no GPU here; leave out --gpus and --device to compute on the CPU")
    if not hasattr(native(), "cqt_forward_cuda"):
        raise UsageError(
            "chordfast._C was built without CUDA; put nvcc on PATH and build it again with 'pip install -e .', or "
            "leave out --gpus and --device"
        )
    wanted = range(count) if number is None else [number]
    if max(wanted) >= there:
        raise UsageError(f"there are {there} GPUs here, cuda:0 to cuda:{there - 1}; ask for fewer")
    return [f"cuda:{index}" for index in wanted]


def from_samples(plans: Sequence[FeaturePlan]) -> bool:
    """Whether a device can compute these features itself; the workers do it otherwise."""
    return all(type(plan) is FeaturePlan for plan in plans)


def make_devices(
    wanted: Sequence[str | Device], recogniser: Recogniser, precision: str, *, plans: Sequence[FeaturePlan],
    keep: int | None, quality: str, threads: int, batch_frames: int,
) -> list[Device]:  # fmt: skip
    """The devices of a run, not yet started; UsageError when the model cannot be computed there."""
    given = [device for device in wanted if not isinstance(device, str)]
    if given:
        return given
    names = [name for name in wanted if isinstance(name, str)]
    from .cpu_device import CpuDevice

    if names == ["cpu"]:
        return [CpuDevice(recogniser, threads, batch_frames, keep)]
    check_device(recogniser, names[0], precision)
    labels = [f"{name}#{index}" if name == "cpu-process" else name for index, name in enumerate(names)]
    if not from_samples(plans):
        places = ["cpu" if name == "cpu-process" else name for name in names]
        return [
            CpuDevice(recogniser_on(recogniser, place, precision), 1, batch_frames, keep, label)
            for place, label in zip(places, labels, strict=True)
        ]
    from .device_process import DeviceProcess

    shared: dict[str, Any] = {
        "plans": plans, "keep": keep, "quality": quality, "batch_seconds": batch_frames * recogniser.plan.frame_period,
    }  # fmt: skip
    return [DeviceProcess(label, recogniser, precision, **shared) for label in labels]
