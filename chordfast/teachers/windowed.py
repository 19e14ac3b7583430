"""BTC and 2E1D as recognisers: windows of 108 frames with overlap, averaged into one posterior a frame."""

from __future__ import annotations

import numpy as np
import torch

from ..decoding import average, windows
from ..errors import ModelError, UsageError
from ..models import ChordModel
from ..ops.feature_plan import BTC, FeaturePlan
from .weights import weights_hash

WINDOW = 108  # frames, what the networks were trained on
_BATCH = 64  # windows computed at once


class Windowed:
    """A chord network that sees 10-s windows; each frame's posterior is the mean over the windows that cover it.

    ``overlap`` is the fraction two neighbouring windows share, 0.5 as in ChordMini's decoder (arXiv 2602.19778); the
    mean is over softmax outputs, so rows sum to 1. Windows of all songs are computed together, and short songs are
    padded and masked, so a song's result does not depend on its neighbours.
    """

    plan: FeaturePlan = BTC
    boundary = 0.0  # BTC's training labels a frame from its start, so a change is where it is heard

    def __init__(self, model: ChordModel, name: str, overlap: float = 0.5) -> None:
        if model.n_bins != self.plan.n_bins:
            raise UsageError(f"{name}: the network wants {model.n_bins} bins, feature plan BTC has {self.plan.n_bins}")
        made_with = model.metadata.get("feature_plan")
        if made_with and made_with != self.plan.hash:
            raise ModelError(
                f"{name}: the weights were made for feature plan {made_with}, this version computes {self.plan.hash}; "
                "use the chordfast version the weights came with"
            )
        self.model = model.eval()
        self.name = name
        self.overlap = overlap
        self.classes = model.num_classes
        self.hash = weights_hash(
            {key: tensor.cpu().numpy() for key, tensor in model.state_dict().items()}
            | {"mean": np.array(model.mean), "std": np.array(model.std)}
        )

    def posteriors(self, features: list[np.ndarray]) -> list[np.ndarray]:
        """float32 [T_i, 144] log-magnitudes of plan BTC -> float32 [T_i, K] probabilities; UsageError otherwise."""
        for song in features:
            if song.ndim != 2 or song.shape[1] != self.plan.n_bins:
                raise UsageError(
                    f"{self.name}: features have shape {list(song.shape)}; give [frames, {self.plan.n_bins}] "
                    "of the feature plan BTC"
                )
        if not features:
            return []
        starts = [windows(len(song), WINDOW, self.overlap) for song in features]
        owner = np.repeat(np.arange(len(features)), [len(each) for each in starts])
        first = np.concatenate([*starts, np.zeros(0, np.int64)])
        scores = np.empty((len(first), WINDOW, self.classes), np.float32)
        for begin in range(0, len(first), _BATCH):
            batch = slice(begin, begin + _BATCH)
            pieces = [features[song][at : at + WINDOW] for song, at in zip(owner[batch], first[batch], strict=True)]
            scores[batch] = self._probabilities(pieces)
        ends = np.cumsum([len(each) for each in starts])[:-1]
        return [
            average(part, at, len(song))
            for part, at, song in zip(np.split(scores, ends), starts, features, strict=True)
        ]

    def _probabilities(self, pieces: list[np.ndarray]) -> np.ndarray:
        """Windows [≤ 108, n_bins] -> float32 [B, 108, K]; rows beyond a window's end have no meaning."""
        device = next(self.model.parameters()).device
        lengths = np.array([len(piece) for piece in pieces])
        x = np.zeros((len(pieces), WINDOW, self.plan.n_bins), np.float32)
        for row, piece in zip(x, pieces, strict=True):
            row[: len(piece)] = self.model.normalise(piece)
        mask = None
        if lengths.min() < WINDOW and self.model.compat is None:
            mask = torch.from_numpy(np.arange(WINDOW) < lengths[:, None]).to(device)
        with torch.inference_mode():
            return self.model(torch.from_numpy(x).to(device), mask).softmax(-1).cpu().numpy()
