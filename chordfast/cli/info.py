"""``chordfast info``: what this installation is made of, for bug reports and for scripts."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import click

PACKAGES = ("torch", "numpy", "soundfile", "mir_eval", "safetensors", "h5py", "av")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(as_json: bool) -> None:
    """Show versions, processor, CUDA, threads and the cache folder."""
    found = collect()
    if as_json:
        import json

        click.echo(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        click.echo(f"{key.replace('_', ' '):14s} {_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(shown)}" for name, shown in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def collect() -> dict[str, Any]:
    """Plain values for JSON; what is missing is None or an empty list, and a broken part is described in its place."""
    from chordfast import __version__
    from chordfast._native import default_threads, native
    from chordfast.errors import ChordfastError
    from chordfast.files import cache_dir

    found: dict[str, Any] = {
        "chordfast": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cpu": _cpu(),
        "simd": None,
        "threads": None,
        "compiler": None,
        "cuda_built": False,
        "cuda_version": None,
        "cuda_archs": [],
        "cuda_devices": [],
        "torch_cuda": None,
        "cache": str(cache_dir()),
        "models": sorted(path.stem for path in (cache_dir() / "models").glob("*.safetensors")),
        "problems": [],
    }
    try:
        found["threads"] = default_threads()
        build = native().build_info()
        found["simd"] = build["simd"]
        found["compiler"] = build["compiler"]
        found["cuda_built"] = build["with_cuda"]
        found["cuda_version"] = build["cuda_version"] or None
        found["cuda_archs"] = [arch for arch in str(build["cuda_archs"]).replace(",", ";").split(";") if arch]
        found["cuda_devices"] = [f"{name} ({major}.{minor})" for name, major, minor in native().cuda_devices()]
    except ChordfastError as error:
        found["problems"].append(str(error))
    try:
        import torch

        found["torch_cuda"] = torch.version.cuda
    except ImportError as error:
        found["problems"].append(f"torch cannot be imported ({error}); install it")
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    """The processor's model name; on Linux from the kernel, elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
