"""The twelve comparisons of mir_eval.chord on arrays of encoded labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .encoding import Codes

SCORES: tuple[str, ...] = ("root", "thirds", "triads", "sevenths", "tetrads", "majmin", "mirex")
"""The seven scores."""
INVERSIONS: tuple[str, ...] = ("thirds_inv", "triads_inv", "sevenths_inv", "tetrads_inv", "majmin_inv")
"""The same with the bass compared too."""
COMPARISONS: tuple[str, ...] = (*SCORES, *INVERSIONS)
SEGMENTATION: tuple[str, ...] = ("underseg", "overseg", "seg")
MEASURES: tuple[str, ...] = (*COMPARISONS, *SEGMENTATION)
"""All measures of ``score``: the keys of ``mir_eval.chord.evaluate``."""

Bool = npt.NDArray[np.bool_]

_MAJ, _MIN = 0b000010010001, 0b000010001001
_SEVENTHS = np.array([_MAJ, _MIN, _MAJ | 1 << 11, _MAJ | 1 << 10, _MIN | 1 << 10])
_POPCOUNT = np.array([bin(k).count("1") for k in range(1 << 12)], dtype=np.int8)


def compare(reference: Codes, estimate: Codes) -> tuple[Bool, Bool]:
    """Which pairs are right and which count, bool [12, P] each, rows in the order of ``COMPARISONS``.

    A pair that does not count is what mir_eval scores -1: the reference lies outside the score's gamut. Its rules
    are kept where they surprise: mirex takes an estimated X as holding all twelve notes, and an estimated X has the
    "root" of N.
    """
    root = reference.root == estimate.root
    bass = reference.bass == estimate.bass
    difference = reference.mask ^ estimate.mask
    # N and X share the root -1, but X differs from N in every bit.
    thirds = root & (difference >> 3 & 1 == 0)
    triads = root & (difference & 0xFF == 0)
    tetrads = root & (difference & 0xFFF == 0)
    common = _POPCOUNT[reference.chroma & estimate.chroma] >= 3
    mirex = common | ((reference.root < 0) & (estimate.root < 0))

    known = reference.mask >= 0
    none = reference.mask == 0
    low = reference.mask & 0xFF
    in_majmin = known & (none | (low == _MAJ & 0xFF) | (low == _MIN & 0xFF))
    in_sevenths = none | np.isin(reference.mask, _SEVENTHS)
    notes = _POPCOUNT[reference.mask & 0xFFF]
    in_mirex = known & ((notes == 0) | (notes >= 3))

    # mir_eval also leaves out references whose bass is no note of the chord; its encoding adds the bass, so none is.
    right = (root, thirds, triads, tetrads, tetrads, triads, mirex)
    counts = (known, known, known, in_sevenths, known, in_majmin, in_mirex)
    inverted = tuple(row & bass for row in (thirds, triads, tetrads, tetrads, triads))
    return np.stack((*right, *inverted)), np.stack((*counts, known, known, in_sevenths, known, in_majmin))
