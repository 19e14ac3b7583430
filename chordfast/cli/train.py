"""``chordfast train``: a student from a store of features and pseudo-labels, or from labels."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chordfast.errors import UsageError

if TYPE_CHECKING:
    from chordfast.train import Recipe

STAGES = ("stage1", "stage2", "scratch", "teacher")


@click.command()
@click.argument("stage", required=False, type=click.Choice(STAGES))
@click.option("--store", metavar="DIR", help="Store of features and pseudo-labels (chordfast label --store).")
@click.option("--audio", metavar="DIR", help="Recordings to be put into the store first, by --teacher (default crema).")
@click.option("--labels", metavar="DIR", help="Label files named like the songs: stage2, scratch, teacher.")
@click.option("--student", metavar="NAME|FILE", help="btc or 2e1d, or the checkpoint to go on from.")
@click.option("--teacher", metavar="NAME", help="Insist that the store's posteriors are this teacher's.")
@click.option("--split", metavar="FILE", help='JSON {"train": [songs], "val": [...], "test": [...]}.')
@click.option("--config", metavar="FILE", help="Recipe in YAML: a run's recipe.yaml, or ChordMini's or BTC's own file.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Change a setting; repeatable.")
@click.option(
    "--compat", "compat", multiple=True, metavar="NAME", help="Reproduce a defect of the reference (chordmini: all)."
)
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder.")
@click.option("--minutes", type=click.FloatRange(min=0), metavar="N", help="Stop after so long, to be resumed.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--gpus", type=click.IntRange(min=1), metavar="N", help="Train on N GPUs of this machine.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads of the arithmetic on the CPU.")
@click.option("--skip-unlabelled", is_flag=True, help="Leave songs without usable labels out.")
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard files.")
@click.option("--wandb", is_flag=True, help="Also report to Weights & Biases.")
@click.option("--progress", type=click.Choice(["auto", "rich", "plain", "none"]), default="auto", show_default=True)
@click.option("--show", is_flag=True, help="Print the recipe as YAML and stop.")
def train(
    *, stage: str | None, store: str | None, audio: str | None, labels: str | None, student: str | None,
    teacher: str | None, split: str | None, config: str | None, settings: tuple[str, ...], compat: tuple[str, ...],
    output: str, resume: bool, minutes: float | None, device: str, gpus: int | None, threads: int | None,
    skip_unlabelled: bool, tensorboard: bool, wandb: bool, progress: str, show: bool,
) -> None:  # fmt: skip
    """Train a student by a recipe: STAGE is stage1 (pseudo-labels), stage2 (labels, and a teacher's posteriors),
    scratch (labels alone) or teacher (as BTC was).

    The folder of the run holds recipe.yaml, split.json, log.jsonl, curves.svg, last.pt to resume from, and
    best.safetensors for chordfast label --model. Several machines: torchrun -m chordfast train ... on each.
    """
    if gpus is not None:
        device = "cuda"
        if gpus > 1 and "WORLD_SIZE" not in os.environ:
            _many(gpus)
    given = Path(output) / "recipe.yaml"
    if resume and config is None and given.exists():
        config = str(given)
    recipe = _recipe(stage, config, labels, settings, compat)
    init = None
    if student in ("btc", "2e1d"):
        recipe = recipe.updated({"model": {"architecture": student}})
    elif student is not None:
        init = student
        recipe = _like(recipe, student)
    if show:
        click.echo(recipe.to_yaml(), nl=False)
        return
    quiet = progress == "none" or os.environ.get("RANK", "0") != "0"
    if audio is not None:
        teacher = teacher or "crema"
        store = store or str(Path(output) / "store")
        fill = partial(_fill, store, audio, teacher, Path(output), recipe.loss.kd, quiet)
        fill()
        if steps := recipe.augment.semitones():  # the split is known now: nothing is rendered that only validates
            from chordfast.store import Store
            from chordfast.train.reading import divided

            fill(steps, divided(Store(store), recipe, labels, split, skip=skip_unlabelled).train)
        teacher = None  # the store refuses any other than its own
    if store is None:
        raise UsageError("there is nothing to train on; name a store (chordfast label --store), or --audio to make one")
    import torch

    from chordfast.train import Corpus
    from chordfast.train import train as run

    if threads is not None:
        torch.set_num_threads(threads)
    corpus = Corpus.from_store(
        store, recipe, labels, split, teacher=teacher, skip=skip_unlabelled, warn=lambda text: _say(text, quiet)
    )
    trackers = tuple(name for name, wanted in (("tensorboard", tensorboard), ("wandb", wandb)) if wanted)
    result = run(
        recipe, corpus, output, resume, device, init=init, progress=progress, trackers=trackers, minutes=minutes
    )
    if not quiet and result.best_epoch:
        click.echo(f"best      epoch {result.best_epoch}, frame accuracy {100 * result.best_accuracy:.2f} %")
        click.echo(f"written   {result.best}")


def _many(gpus: int) -> None:
    """Become torchrun with this very command line."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}", "-m", "chordfast"]
    os.execv(sys.executable, [sys.executable, *launch, *sys.argv[1:]])


def _fill(
    store: str, audio: str, teacher: str, output: Path, distil: bool, quiet: bool, semitones: Sequence[int] = (),
    songs: Sequence[str] = (),
) -> None:  # fmt: skip
    """Features and the teacher's posteriors of a folder of recordings, and of ``songs`` shifted by ``semitones``; those
    that are there already are not redone."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError("--audio goes with one process; make the store first, with chordfast label --store")
    from chordfast import label_folder

    # A byte for every class: distilling at a temperature above 1 needs more than the likeliest eight.
    kind = "full8" if distil else "topk"
    summary = label_folder(
        audio, output / "teacher", model=teacher, store=store, store_posteriors=kind, root=audio,
        pitch_shift=semitones or None, shift_only=songs or None, progress="none" if quiet else "auto",
    )  # fmt: skip
    for failure in [row for row in summary.failures if bool(row.semitones) == bool(semitones)][:5]:
        _say(f"{failure.path} is not in the store ({failure.outcome})", quiet)


def _recipe(
    stage: str | None, config: str | None, labels: str | None, settings: tuple[str, ...], compat: tuple[str, ...]
) -> Recipe:
    from chordfast.train import Recipe, recipe_named

    if config is not None:
        if stage is None and labels is not None:
            stage = _foreign_stage(config)
        recipe = Recipe.from_yaml(config, stage, warn=lambda text: click.echo(f"warning: {text}", err=True))
    elif stage is None:
        raise UsageError(f"say what to train: one of {', '.join(STAGES)}, or --config FILE")
    else:
        recipe = recipe_named(stage)
    if compat:
        recipe = recipe.updated({"compat": [*recipe.compat, *compat]}, "--compat")
    return recipe.with_settings(settings)


def _foreign_stage(config: str) -> str | None:
    """ChordMini's file describes both stages: with labels, the second is meant."""
    text = Path(config).read_text(encoding="utf-8", errors="replace")
    return "stage2" if "continual_learning:" in text else None


def _like(recipe: Recipe, checkpoint: str) -> Recipe:
    """The recipe for the architecture of a checkpoint."""
    from chordfast.models import load_checkpoint

    changes: dict[str, Any] = {"architecture": load_checkpoint(checkpoint).architecture or "btc"}
    return recipe.updated({"model": changes})


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        click.echo(f"warning: {text}", err=True)
