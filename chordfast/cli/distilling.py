"""From a folder of recordings, some of them labelled, to an evaluated student: labelling, training, scores.

Each step keeps its own books, so that a second start does only what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chordfast.errors import UsageError

if TYPE_CHECKING:
    from chordfast.train import Recipe, Split

STAGES = ("stage1", "stage2")
HELD_OUT = 0.1  # of the unlabelled songs, on which stage 1 is judged


@dataclass(frozen=True)
class Plan:
    """What is asked for: music and labels (folders), out (the folder of everything), teacher and student by name,
    settings of each stage, the split of the labelled songs (a file) or None for 70/10/20 by the recipe's seed."""

    music: Path
    labels: Path
    out: Path
    teacher: str
    student: str
    settings: Mapping[str, tuple[str, ...]]
    split: Path | None
    jobs: int | None
    device: str
    offline: bool
    say: Callable[[str], None]
    progress: str


def distill(plan: Plan) -> Any:
    """All steps; returns the evaluation of teacher and students on the labelled songs kept for testing.

    UsageError when no recording has labels, or too few to test on; everything else as the steps raise it.
    """
    from chordfast.audio import find_audio
    from chordfast.teachers import load

    if not plan.music.is_dir() or not plan.labels.is_dir():
        missing = plan.music if not plan.music.is_dir() else plan.labels
        raise UsageError(
            f"{missing} is no folder; give the folder of recordings, and with --labels that of label files"
        )
    keys = [path.relative_to(plan.music).as_posix() for path in find_audio(plan.music)]
    for stage in STAGES:
        recipe_of(plan, stage)  # a setting that does not exist
    parts = _parts(plan, keys)  # before hours of labelling, should there be nothing to test on
    teacher = load(plan.teacher, offline=plan.offline)
    plan.say(f"1/4  {teacher.name} labels {len(keys)} recordings")
    first = _first_parts(keys, parts, plan)
    _label(plan, teacher, (), [])
    for stage, songs in (("stage1", first.train), ("stage2", parts.train)):
        if steps := recipe_of(plan, stage).augment.semitones():
            _label(plan, teacher, steps, songs)
    stage1 = _train(plan, "stage1", "2/4", teacher.hash, None, first, None)
    stage2 = _train(plan, "stage2", "3/4", teacher.hash, stage1, parts, plan.labels)
    return _evaluate(plan, parts, teacher.name, {"stage1": stage1, "stage2": stage2})


def recipe_of(plan: Plan, stage: str) -> Recipe:
    """The stage's recipe with what was set for it."""
    from chordfast.train import recipe_named

    recipes = {name: recipe_named(name).with_settings(plan.settings[name]) for name in STAGES}
    recipe = recipes[stage].updated({"model": {"architecture": plan.student}})
    others = any(recipes[name].augment.pitch_shift for name in STAGES)
    if others and recipe.augment.pitch_shift is None:  # the store has shifted songs, for the other stage
        return recipe.updated({"augment": {"shifted_songs": False}})
    return recipe


def _label(plan: Plan, teacher: Any, semitones: Sequence[int], songs: Sequence[str]) -> None:
    """Fill the store with every recording, and with ``songs`` shifted by ``semitones``."""
    from chordfast import label_folder

    label_folder(
        plan.music, plan.out / "teacher", model=teacher, formats="json", store=plan.out / "store",
        store_posteriors="full8", jobs=plan.jobs, offline=plan.offline, progress=plan.progress != "none",
        pitch_shift=semitones or None, shift_only=songs or None,
    )  # fmt: skip


def _parts(plan: Plan, keys: list[str]) -> Split:
    """The labelled songs (keys) of the three parts, from the file or drawn."""
    from chordfast.evaluate.matching import REFERENCE_SUFFIXES, find
    from chordfast.train import Split, read_split, split_songs

    known = find(plan.labels, REFERENCE_SUFFIXES)
    labelled = [key for key in keys if os.path.splitext(key)[0] in known]
    if plan.split is not None:
        asked = read_split(plan.split)
        wanted = [{os.path.splitext(name)[0] for name in part} | set(part) for part in asked]
        parts = Split(*([k for k in labelled if k in names or os.path.splitext(k)[0] in names] for names in wanted))
    else:
        data = recipe_of(plan, "stage2").data
        drawn = split_songs(len(labelled), data.train, data.val, recipe_of(plan, "stage2").seed)
        parts = Split(*([labelled[i] for i in part] for part in drawn))
    for name, songs in zip(Split._fields, parts, strict=True):
        if not songs:
            raise UsageError(
                f"{plan.labels} labels {len(labelled)} of the {len(keys)} recordings in {plan.music}, which leaves "
                f"none for the part {name!r}; label files carry the recording's path with another suffix "
                "(a/song.lab for a/song.mp3), and at least five of them are needed"
            )
    return parts


def _first_parts(keys: list[str], parts: Split, plan: Plan) -> Split:
    """For stage 1: every recording but the labelled ones that judge; some unlabelled ones validate, where there are."""
    from chordfast.train import Split, split_songs

    kept = {*parts.val, *parts.test}
    unlabelled = [key for key in keys if key not in kept and key not in set(parts.train)]
    drawn = split_songs(len(unlabelled), 1 - HELD_OUT, HELD_OUT, recipe_of(plan, "stage1").seed)
    val = [unlabelled[i] for i in drawn.val] or parts.val
    return Split([key for key in keys if key not in kept and key not in set(val)], val, [])


def _train(
    plan: Plan, stage: str, number: str, teacher: str, start: Path | None, parts: Split, labels: Path | None
) -> Path:
    """Train a stage from the network ``start``, or go on with it; the path of its best network."""
    from chordfast.train import Corpus, train

    folder = plan.out / stage
    recipe = recipe_of(plan, stage)
    plan.say(f"{number}  {stage} trains {plan.student} on {len(parts.train)} songs")
    corpus = Corpus.from_store(plan.out / "store", recipe, labels, parts, teacher=teacher, skip=True, warn=plan.say)
    result = train(recipe, corpus, folder, True, plan.device, init=start, progress=plan.progress)
    return result.best


def _evaluate(plan: Plan, parts: Split, teacher: str, students: dict[str, Path]) -> Any:
    """Label the test songs with every student, and score them beside the teacher's labels."""
    from chordfast import label_folder
    from chordfast.evaluate import evaluate, write_report

    plan.say(f"4/4  scores on {len(parts.test)} songs that nothing was trained on")
    recordings = [plan.music / key for key in parts.test]
    for name, weights in students.items():
        label_folder(
            recordings, plan.out / "labels" / name, model=str(weights), formats="json", root=plan.music, jobs=plan.jobs,
            offline=plan.offline, progress=plan.progress != "none",
        )  # fmt: skip
    folders = {teacher: plan.out / "teacher"} | {name: plan.out / "labels" / name for name in students}
    names = {os.path.splitext(key)[0] for key in parts.test}
    result = evaluate(plan.labels, list(folders.values()), names=list(folders), part=names)
    write_report(result.as_dict(), plan.out / "report")
    return result


def read_settings(given: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """``stage1.optimizer.lr=1e-4`` goes to stage 1, ``loop.epochs=3`` to both."""
    settings: dict[str, list[str]] = {stage: [] for stage in STAGES}
    for item in given:
        stage, dot, rest = item.partition(".")
        for name in [stage] if dot and stage in STAGES else STAGES:
            settings[name].append(rest if stage in STAGES else item)
    return {stage: tuple(items) for stage, items in settings.items()}


def tell(text: str) -> None:
    """A line on stderr."""
    click.echo(text, err=True)
