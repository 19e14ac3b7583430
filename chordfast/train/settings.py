"""Values of settings: from YAML or a command line to the type of a dataclass's field, and back."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import UsageError

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a word",
    "tuple[int, int]": "two whole numbers, [a, b]",
    "tuple[float, float]": "two numbers, [a, b]",
    "tuple[str, ...]": "a list of words, [a, b]",
    "dict[str, Any]": "names with values, {name: value}",
}


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; choose one of {', '.join(names)}"


def plain(value: Any) -> Any:
    """Tuples as lists, all the way down: what YAML and JSON hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def convert(value: Any, kind: Any, where: str) -> Any:
    """``value`` as the annotation ``kind`` (text) says, UsageError with what is wanted where it cannot be.

    A number may come as text ("1e-4", which YAML takes for a word), one word for a list of one.
    """
    kind = str(kind)
    if kind.endswith(" | None"):
        if value is None or value == "none":
            return None
        kind = kind.removesuffix(" | None")
    try:
        return _CONVERTERS[kind](value)
    except (TypeError, ValueError, KeyError):
        raise UsageError(f"{where} is {value!r}; give {_KINDS.get(kind, kind)}") from None


def _int(value: Any) -> int:
    number = _float(value)
    if number != int(number):
        raise ValueError
    return int(number)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = float(value)
    if number - number != 0:  # NaN and infinities
        raise ValueError
    return number


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _pair(item: Any) -> Any:
    def read(value: Any) -> tuple[Any, Any]:
        if not isinstance(value, list | tuple):
            raise TypeError
        low, high = value
        return item(low), item(high)

    return read


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(_str(item) for item in ([value] if isinstance(value, str) else list(value)))


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return {str(key): item for key, item in value.items()}


_CONVERTERS = {
    "int": _int,
    "float": _float,
    "bool": _bool,
    "str": _str,
    "tuple[int, int]": _pair(_int),
    "tuple[float, float]": _pair(_float),
    "tuple[str, ...]": _words,
    "dict[str, Any]": _dict,
}
