"""Small corpora, stores and recipes for the trainer's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chordfast.ops.feature_plan import BTC, FeaturePlan
from chordfast.store import SongRecord, StoreIdentity, StoreWriter
from chordfast.train import RECIPES, Corpus, Recipe, Split

# Networks of a few thousand weights.
TINY = {
    "btc": "{num_layers: 1, num_heads: 2, hidden_size: 16, filter_size: 16}",
    "2e1d": "{f_layer: 1, t_layer: 1, d_layer: 1}",
}
RATES = "{input_dropout: 0, layer_dropout: 0, attention_dropout: 0, relu_dropout: 0, dropout: 0}"


def song(frames: int, seed: int, classes: int = 170) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that give the class away, classes in runs of 12 frames, posteriors that are sure of them."""
    rng = np.random.default_rng(seed)
    patterns = np.random.default_rng(99).normal(-6, 2, (classes, 144))
    target = np.repeat(rng.choice([1, 15, 29, 43], frames // 12 + 1), 12)[:frames]
    features = (patterns[target] + rng.normal(0, 0.3, (frames, 144))).astype(np.float32)
    posteriors = np.full((frames, classes), 0.1 / (classes - 1), np.float32)
    posteriors[np.arange(frames), target] = 0.9
    return features, target, posteriors


def toy_corpus(songs: int = 5, frames: int = 150, classes: int = 170, **options: Any) -> Corpus:
    made = [song(frames + 17 * i, i, classes) for i in range(songs)]
    parts = Split(list(range(songs - 1)), [songs - 1], [])
    return Corpus.from_arrays(
        [m[0] for m in made],
        [m[1] for m in made],
        [np.log(m[2]) for m in made],
        classes=classes,
        parts=parts,
        **options,
    )


def toy_store(folder: Path, songs: int = 6, plan: FeaturePlan = BTC, agreement: bool = False, **options: Any) -> Path:
    """Songs "a/s0.ogg" ... of 120, 133, ... frames."""
    identity = StoreIdentity(plan=plan, teacher="toy", teacher_hash="f00", **options)
    writer = StoreWriter(folder, identity)
    for i in range(songs):
        features, _, posteriors = song(120 + 13 * i, i)
        agreed = (np.arange(len(features)) % 2).astype(np.uint8) if agreement else None
        writer.add(
            SongRecord(f"a/s{i}.ogg", f"hash{i}", "ok", len(features) * BTC.frame_period, features, posteriors, agreed)
        )
    writer.close()
    return folder


def toy_recipe(stage: str = "stage1", architecture: str = "btc", *settings: str, dropout: bool = False) -> Recipe:
    recipe = RECIPES[stage].with_settings(
        [
            f"model.architecture={architecture}",
            f"model.options={TINY[architecture]}",
            *([] if dropout else [f"model.options={RATES}"]),
            *("loop.batch=4", "loop.epochs=2", "schedule.warmup_epochs=0", "loop.log_every=2", "loop.save_every=0"),
        ]
    )
    return recipe.with_settings(settings)
