"""Training: recipes, corpora, and the loop; names load on first use, so that importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import attributes

# public name -> module that holds it
_LAZY = {
    "COMPAT": "recipe",
    "RECIPES": "recipe",
    "Recipe": "recipe",
    "recipe_named": "recipe",
    "Corpus": "corpus",
    "Split": "split",
    "folds": "split",
    "read_split": "split",
    "split_songs": "split",
    "Result": "loop",
    "train": "loop",
}

if TYPE_CHECKING:
    from .corpus import Corpus as Corpus
    from .loop import Result as Result
    from .loop import train as train
    from .recipe import COMPAT as COMPAT
    from .recipe import RECIPES as RECIPES
    from .recipe import Recipe as Recipe
    from .recipe import recipe_named as recipe_named
    from .split import Split as Split
    from .split import folds as folds
    from .split import read_split as read_split
    from .split import split_songs as split_songs

__all__ = [
    "COMPAT",
    "RECIPES",
    "Corpus",
    "Recipe",
    "Result",
    "Split",
    "folds",
    "read_split",
    "recipe_named",
    "split_songs",
    "train",
]


__getattr__ = attributes(__name__, _LAZY)


def __dir__() -> list[str]:
    return __all__
