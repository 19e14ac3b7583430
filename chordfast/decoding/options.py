"""What can be chosen about decoding, as one frozen, hashable value."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace

from ..errors import UsageError
from .smoothing import KERNELS, odd

METHODS = ("viterbi", "argmax")
COMPAT = (None, "chordmini")


@dataclass(frozen=True)
class DecodingOptions:
    """How posteriors become segments; the defaults are what ``chordfast.label`` uses.

    Attributes:
        method: "viterbi", or "argmax" (every frame for itself, lowest class on ties).
        self_transition: Viterbi's probability of staying in a chord from one frame to the next, in [0, 1]. With 170
            classes 0.1 makes a change cost 2.9 nats, crema's own 0.957 makes it 8.2: posteriors of neighbouring frames
            are not independent, so the rate counted from labels smooths too much. On 60 rendered validation songs of
            five sets with crema, 0.1 against 0.957: majmin .836 / .825, sevenths .727 / .718, segmentation .821 / .792.
        smoothing_kernel: frames of smoothing of the posteriors before either method; 1 is off.
        smoothing_kind: "gaussian" or "uniform", see ``smooth``.
        majority_kernel: frames of the majority filter after either method; 1 is off.
        min_duration: seconds; shorter segments are merged into a neighbour, see ``merge_short``.
        boundary: a change of class at frame t is written at (t + boundary) frame periods, -1 < boundary < 1; None for
            the model's own, see ``for_model``. Which value is unbiased depends on how the model's training labelled its
            frames: 0.5 if a change anywhere in [t, t + 1) periods began at frame t (crema; measured on the same songs:
            0.25 to 0.5), 0 if at the nearest frame (BTC), -0.5 if at the first frame whose centre, t, lies behind it
            (ChordMini).
        compat: None, or "chordmini" for that code's rules: frames that do not fit into the duration are dropped, the
            last segment ends where its last frame does, segments below min_duration are left out. The annotation
            then has gaps: write it with compat="chordmini", or fill them.

    Raises UsageError for values out of range.
    """

    method: str = "viterbi"
    self_transition: float = 0.1
    smoothing_kernel: int = 1
    smoothing_kind: str = "gaussian"
    majority_kernel: int = 1
    min_duration: float = 0.0
    boundary: float | None = None
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
        if self.boundary is not None and not -1 < self.boundary < 1:
            raise UsageError(f"boundary is {self.boundary} frames; give a number between -1 and 1")
        odd(self.smoothing_kernel)
        odd(self.majority_kernel, "majority kernel")

    @classmethod
    def chordmini(cls, majority_kernel: int = 9, min_duration: float = 0.5) -> DecodingOptions:
        """The settings of that code's published commands (its smoothing is per window, see ``chordmini_classes``)."""
        return cls(method="argmax", majority_kernel=majority_kernel, min_duration=min_duration, compat="chordmini")

    def for_model(self, boundary: float) -> DecodingOptions:
        """These options with the model's ``boundary`` in the place of None; a number chosen on purpose stays."""
        return replace(self, boundary=boundary) if self.boundary is None else self

    @property
    def hash(self) -> str:
        """SHA-256 of the options as canonical JSON, hexadecimal: equal options, equal hash, on every machine."""
        # 1 and 1.0 are the same option.
        plain = {k: float(v) if k in _REAL and v is not None else v for k, v in asdict(self).items()}
        return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


_REAL = ("self_transition", "min_duration", "boundary")


def options_hash(options: DecodingOptions) -> str:
    """``options.hash``."""
    return options.hash
