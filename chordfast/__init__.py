"""chordfast: from recordings to chord labels, and from labels to a better chord model.

``import chordfast`` is cheap: torch and the native module load with the first name that needs them.
"""

# No "from __future__ import annotations" here: it would bind the name of the room chordfast.annotations.
import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> module that holds it
_LAZY = {
    "label": "chordfast.labelling",
    "label_folder": "chordfast.labelling",
    "Annotation": "chordfast.annotations",
    "ChordfastError": "chordfast.errors",
}
_ROOMS = (
    *("annotations", "audio", "decoding", "evaluate", "features", "models", "nn", "ops", "reference", "store"),
    *("teachers", "train", "view", "vocabulary"),
)

if TYPE_CHECKING:
    from .annotations import Annotation as Annotation
    from .errors import ChordfastError as ChordfastError
    from .labelling import label as label
    from .labelling import label_folder as label_folder

__all__ = ["__version__", *_LAZY, *_ROOMS]  # noqa: PLE0604 (all are strings)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"chordfast.{name}")
    else:
        raise AttributeError(f"module 'chordfast' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
