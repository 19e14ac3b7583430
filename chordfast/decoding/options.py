"""What can be chosen about decoding, as one frozen, hashable value."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass

from ..errors import UsageError
from .smoothing import KERNELS, odd

METHODS = ("viterbi", "argmax")
COMPAT = (None, "chordmini")


@dataclass(frozen=True)
class DecodingOptions:
    """How posteriors become segments; the defaults are what ``chordfast.label`` uses.

    Attributes:
        method: "viterbi", or "argmax" (every frame for itself, lowest class on ties).
        self_transition: Viterbi's probability of staying in a chord from one frame to the next, in [0, 1].
        smoothing_kernel: frames of smoothing of the posteriors before either method; 1 is off.
        smoothing_kind: "gaussian" or "uniform", see ``smooth``.
        majority_kernel: frames of the majority filter after either method; 1 is off.
        min_duration: seconds; shorter segments are merged into a neighbour, see ``merge_short``.
        boundary: a change of class at frame t is written at (t + boundary) frame periods, -1 < boundary < 1. Which
            value is unbiased depends on how the model's training labelled its frames: 0.5 if frame t stood for
            [t, t + 1) periods and took the label of its end, 0 if it took the label of its larger part, -0.5 if it took
            the label at t itself, the frame's centre.
        compat: None, or "chordmini" for that code's rules: frames that do not fit into the duration are dropped, the
            last segment ends where its last frame does, segments below min_duration are left out. The annotation
            then has gaps: write it with compat="chordmini", or fill them.

    Raises UsageError for values out of range.
    """

    method: str = "viterbi"
    self_transition: float = 0.957
    smoothing_kernel: int = 1
    smoothing_kind: str = "gaussian"
    majority_kernel: int = 1
    min_duration: float = 0.0
    boundary: float = 0.0
    compat: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"there is no decoding method {self.method!r}; choose one of {', '.join(METHODS)}")
        if self.smoothing_kind not in KERNELS:
            raise UsageError(f"there is no smoothing {self.smoothing_kind!r}; choose one of {', '.join(KERNELS)}")
        if self.compat not in COMPAT:
            raise UsageError(f"there is no decoder {self.compat!r} to be compatible with; choose None or 'chordmini'")
        if not 0 <= self.self_transition <= 1:
            raise UsageError(f"self_transition is {self.self_transition}; give a probability between 0 and 1")
        if not 0 <= self.min_duration < math.inf:
            raise UsageError(f"min_duration is {self.min_duration} s; give 0 or more seconds")
        if not -1 < self.boundary < 1:
            raise UsageError(f"boundary is {self.boundary} frames; give a number between -1 and 1")
        odd(self.smoothing_kernel)
        odd(self.majority_kernel, "majority kernel")

    @classmethod
    def chordmini(cls, majority_kernel: int = 9, min_duration: float = 0.5) -> DecodingOptions:
        """The settings of that code's published commands (its smoothing is per window, see ``chordmini_classes``)."""
        return cls(method="argmax", majority_kernel=majority_kernel, min_duration=min_duration, compat="chordmini")

    @property
    def hash(self) -> str:
        """SHA-256 of the options as canonical JSON, hexadecimal: equal options, equal hash, on every machine."""
        # 1 and 1.0 are the same option.
        plain = {k: float(v) if k in _REAL else v for k, v in asdict(self).items()}
        return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


_REAL = ("self_transition", "min_duration", "boundary")


def options_hash(options: DecodingOptions) -> str:
    """``options.hash``."""
    return options.hash
