"""What a store's pseudo-labels are worth, on the songs whose true labels are known.

    python benchmarks/pseudo_labels.py STORE --labels DIR

Prints, for a least confidence and for agreement of a combined teacher's members: the share of the frames kept, how many
of the kept pseudo-labels are right (root and quality of the 170 classes; frames whose truth is in no class do not
count), and the share of the frames of rare qualities (neither maj, min nor N in truth) among the kept. It answers what
``data.min_confidence`` and ``data.agreement_only`` would throw away.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from chordfast.store import Store
from chordfast.train.frames import IGNORE
from chordfast.train.labels import find_label, label_files, song_classes
from chordfast.vocabulary import N_CLASS


def gather(store: Store, labels: Path) -> dict[str, np.ndarray]:
    """Arrays over the frames of all labelled songs: true class, pseudo-label, confidence, agreement in percent."""
    files = label_files(labels)
    parts: dict[str, list[np.ndarray]] = {"true": [], "pseudo": [], "confidence": [], "agreement": []}
    for row in store.rows:
        path = find_label(files, row.id)
        if path is None or not row.frames:
            continue
        parts["true"].append(song_classes(path, row.frames, np.inf))
        parts["pseudo"].append(np.asarray(store.target(row.id)))
        parts["confidence"].append(np.asarray(store.confidence(row.id)))
        agreement = store.agreement(row.id)
        parts["agreement"].append(np.full(row.frames, 100, np.uint8) if agreement is None else np.asarray(agreement))
    if not parts["true"]:
        raise SystemExit(f"no song of the store has a label file in {labels}")
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    counts = joined["true"] != IGNORE
    print(f"{len(parts['true'])} songs, {len(counts)} frames, {100 * counts.mean():.1f} % of them with a true class\n")
    return {name: values[counts] for name, values in joined.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--labels", type=Path, required=True)
    arguments = parser.parse_args()
    data = gather(Store(arguments.store), arguments.labels)
    right = data["true"] == data["pseudo"]
    rare = (data["true"] != N_CLASS) & ~np.isin(data["true"] % 14, (0, 1))
    print(
        "| kept | share of the frames | right | rare qualities among them | right of the rare |\n|---|---|---|---|---|"
    )
    rules = [("all", np.ones(len(right), bool))]
    rules += [(f"confidence ≥ {limit}", data["confidence"] >= limit) for limit in (0.3, 0.5, 0.7, 0.9)]
    rules.append(("members agree", data["agreement"] == 100))
    rules.append(("agree, confidence ≥ 0.5", (data["agreement"] == 100) & (data["confidence"] >= 0.5)))
    for name, kept in rules:
        both = kept & rare
        values = (kept.mean(), right[kept].mean(), rare[kept].mean(), right[both].mean() if both.any() else np.nan)
        print(f"| {name} | " + " | ".join(f"{100 * value:.1f}" for value in values) + " |")
    weights = {"confidence": data["confidence"], "agreement": data["agreement"] / 100}
    for name, weight in weights.items():
        print(f"\nweighted by {name}: {100 * np.average(right, weights=weight):.1f} % of the weight is right", end="")
    print()


if __name__ == "__main__":
    main()
