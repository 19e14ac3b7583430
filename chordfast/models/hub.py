"""BTC and 2E1D with the Hugging Face hub's methods: ``HubBTC.from_pretrained("owner/name")``, ``.push_to_hub``.

Needs ``chordfast[hub]``. A repository holds one ``model.safetensors`` as `save_checkpoint` writes it, so that
``chordfast label --model`` reads the downloaded file, and the model card.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from ..errors import ModelError, UsageError
from .btc import BTC
from .checkpoints import build, load_checkpoint, save_checkpoint
from .common import ChordModel
from .twoe1d import TwoE1D

try:
    from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError
except ImportError as error:
    raise UsageError("the hub classes need huggingface_hub: pip install 'chordfast[hub]'") from error

FILE = "model.safetensors"
_CARD = {"library_name": "chordfast", "tags": ["chord-recognition", "music-information-retrieval"]}


class _OnHub(PyTorchModelHubMixin):
    """chordfast's own checkpoint file in place of the mixin's, which would lose mean, std and vocabulary."""

    def _save_pretrained(self, save_directory: Path) -> None:
        assert isinstance(self, ChordModel)
        save_checkpoint(save_directory / FILE, self)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **options: Any,
    ) -> Self:
        """The network of a folder or a repository, in evaluation mode; ``options`` as for ``from_checkpoint``."""
        name = str(pretrained_model_name_or_path)
        path = Path(name) / FILE
        if not Path(name).is_dir():
            try:
                path = Path(
                    hf_hub_download(
                        name, FILE, revision=revision, cache_dir=cache_dir, force_download=force_download,
                        token=token, local_files_only=local_files_only,
                    )
                )  # fmt: skip
            except (HfHubHTTPError, OSError, ValueError) as error:
                line = str(error).strip().splitlines()[0]
                raise ModelError(f"{name} could not be fetched from the hub ({line}); check its name") from error
        wanted = next(base for base in cls.__mro__ if base in (BTC, TwoE1D))
        read = build(load_checkpoint(path), wanted, **options)
        model = cls(read.config, compat=read.compat)  # type: ignore[call-arg]
        assert isinstance(model, ChordModel)
        model.load_state_dict(read.state_dict(), assign=True)
        model.set_statistics(read.mean, read.std)
        model.metadata = read.metadata
        return model.eval()


class HubBTC(_OnHub, BTC, **_CARD):  # type: ignore[call-arg]
    """BTC with ``from_pretrained``, ``save_pretrained`` and ``push_to_hub``.

    ``from_pretrained(folder_or_repository)`` raises ModelError for one that cannot be fetched or read.
    """


class HubTwoE1D(_OnHub, TwoE1D, **_CARD):  # type: ignore[call-arg]
    """2E1D with ``from_pretrained``, ``save_pretrained`` and ``push_to_hub``, as HubBTC."""
