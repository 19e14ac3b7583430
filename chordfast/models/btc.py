"""BTC, the bi-directional transformer for chord recognition (Park et al., ISMIR 2019).

Tensor names and shapes equal the published checkpoints'. Differences from the published code, by default:
padded frames are masked, attention maps are never materialised unless asked for, and the LSTM that the
output layer owns but never uses is kept as tensors only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, NamedTuple, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import ops
from ..errors import UsageError
from ..ops.layer_norm import dropout, dropout_add_cat, layer_norm, relu_dropout, residual_dropout_norm
from .common import ChordModel, described

LN_EPSILON = 1e-6
LONGEST, WIDEST = 256, 64  # what ops.attention takes


@dataclass(frozen=True)
class BTCConfig:
    """Sizes and dropout rates; the defaults are the published large-vocabulary model's.

    Raises UsageError for sizes outside 1 … 65536, a head count that does not divide ``hidden_size``, an odd
    ``hidden_size``, or a dropout rate outside [0, 1).
    """

    num_classes: int = 170
    num_layers: int = 8
    num_heads: int = 4
    n_bins: int = 144
    hidden_size: int = 128
    filter_size: int = 128
    timestep: int = 108
    input_dropout: float = 0.2
    layer_dropout: float = 0.2
    attention_dropout: float = 0.2
    relu_dropout: float = 0.2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_dropout"):
                if not 0 <= value < 1:
                    raise UsageError(f"BTC: {field.name} is {value}, give a rate of at least 0 and below 1")
            elif not 1 <= value <= 65536:
                raise UsageError(f"BTC: {field.name} is {value}, give 1 to 65536")
        if self.hidden_size % self.num_heads or self.hidden_size % 2:
            raise UsageError(
                f"BTC: {self.num_heads} heads do not fit a hidden size of {self.hidden_size}, "
                "give an even size that the number of heads divides"
            )


class BTCLayerNorm(nn.Module):
    """γ·(x − μ)/(σ + 1e-6) + β over the last axis, σ the sample standard deviation (divisor D − 1).

    The ε stands outside the root, unlike ``nn.LayerNorm``. Half precision is computed in float32.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.portable = False  # True, here and below: torch's own operators only, for export
        self.gamma = nn.Parameter(torch.ones(size))
        self.beta = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return layer_norm(x, self.gamma, self.beta, "sample", LN_EPSILON, plain=self.portable)

    def of_sum(self, x: Tensor, y: Tensor, dropout: float) -> tuple[Tensor, Tensor]:
        """s = dropout(x + y) [..., D], and s normalised."""
        return residual_dropout_norm(x, y, self.gamma, self.beta, dropout, "sample", LN_EPSILON, plain=self.portable)


class View(NamedTuple):
    """What a block may see: "forward" keys j ≤ i or "backward" j ≥ i, of those the valid ones (bool [B, T] or None),
    and the same as a mask, bool [T, T] or [B, 1, T, T] (query, key)."""

    direction: str
    valid: Tensor | None
    allowed: Tensor


class MultiHeadAttention(nn.Module):
    """Multi-head self-attention without biases; scores are scaled by 1/√(width of a head)."""

    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.num_heads
        self.dropout = config.attention_dropout
        self.portable = False
        self.query_linear = nn.Linear(size, size, bias=False)
        self.key_linear = nn.Linear(size, size, bias=False)
        self.value_linear = nn.Linear(size, size, bias=False)
        self.output_linear = nn.Linear(size, size, bias=False)

    def forward(self, x: Tensor, view: View, maps: list[Tensor] | None) -> Tensor:
        """[B, T, D] -> [B, T, D]; maps are appended if asked."""
        batch, frames, size = x.shape
        query, key, value = (
            linear(x).view(batch, frames, self.heads, size // self.heads).transpose(1, 2)
            for linear in (self.query_linear, self.key_linear, self.value_linear)
        )
        rate = self.dropout if self.training else 0.0
        if (
            maps is None
            and not self.portable
            and frames <= LONGEST
            and size // self.heads <= WIDEST
            and (query.dtype != torch.float64)
        ):
            y = cast(Tensor, ops.attention(query, key, value, view.direction, rate, view.valid))
        elif maps is None:
            y = F.scaled_dot_product_attention(query, key, value, attn_mask=view.allowed, dropout_p=rate)
        else:
            scores = query @ key.transpose(-1, -2) * (size // self.heads) ** -0.5
            weights = scores.masked_fill(~view.allowed, float("-inf")).softmax(-1)
            maps.append(weights)
            y = dropout(weights, rate, plain=self.portable) @ value
        return self.output_linear(y.transpose(1, 2).reshape(batch, frames, size))


class ConvolutionLayer(nn.Module):
    """One width-3 convolution over time, zero padding of one frame on both sides."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.portable = False
        self.published = False  # True: rounded as the published code's convolution is
        self.conv = nn.Conv1d(inputs, outputs, kernel_size=3, padding=1)

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """[B, T, inputs] -> [B, T, outputs], negative values as 0 on request."""
        if self.portable:
            y = self.conv(x.transpose(1, 2)).transpose(1, 2)
            return F.relu(y) if relu else y
        return ops.conv3(x, self.conv.weight, self.conv.bias, relu, direct=self.published)


class PositionwiseConvolution(nn.Module):
    """Two width-3 convolutions over time; ReLU and dropout after both, also the second."""

    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        self.portable = False
        self.dropout = config.relu_dropout
        self.layers = nn.ModuleList(
            [
                ConvolutionLayer(config.hidden_size, config.filter_size),
                ConvolutionLayer(config.filter_size, config.hidden_size),
            ]
        )

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """[B, T, D], ``valid`` [B, T, 1] of ones and zeros -> [B, T, D]."""
        rate = self.dropout if self.training else 0.0
        for layer in self.layers:
            # A padded frame must look like the zero padding at the end of an unpadded window.
            x = x if valid is None else x * valid
            x = relu_dropout(layer(x), rate, plain=self.portable) if rate else layer(x, relu=True)
        return x


class AttentionBlock(nn.Module):
    """Attention, then convolutions, each after a layer norm; the dropouts act on sums, residuals included."""

    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        self.dropout = config.layer_dropout
        self.multi_head_attention = MultiHeadAttention(config)
        self.positionwise_convolution = PositionwiseConvolution(config)
        self.layer_norm_mha = BTCLayerNorm(config.hidden_size)
        self.layer_norm_ffn = BTCLayerNorm(config.hidden_size)

    def forward(self, h: Tensor, view: View, valid: Tensor | None, maps: list[Tensor] | None) -> tuple[Tensor, Tensor]:
        """[B, T, D] -> two of [B, T, D], whose sum, after dropout, is the block's output."""
        y = self.multi_head_attention(self.layer_norm_mha(h), view, maps)
        h, normed = self.layer_norm_ffn.of_sum(h, y, self.dropout if self.training else 0.0)
        return h, self.positionwise_convolution(normed, valid)


class BidirectionalLayer(nn.Module):
    """A block that looks back and a block that looks ahead, concatenated and projected; no residual around the pair."""

    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        self.portable = False
        self.dropout = config.layer_dropout
        self.attn_block = AttentionBlock(config)
        self.backward_attn_block = AttentionBlock(config)
        self.linear = nn.Linear(2 * config.hidden_size, config.hidden_size)

    def forward(self, h: Tensor, past: View, future: View, valid: Tensor | None, maps: list[Tensor] | None) -> Tensor:
        """[B, T, D] -> [B, T, D]; ``past`` and ``future`` are what the two blocks see."""
        ahead = self.attn_block(h, past, valid, maps)
        back = self.backward_attn_block(h, future, valid, maps)
        rate = self.dropout if self.training else 0.0
        return self.linear(dropout_add_cat(ahead, back, rate, plain=self.portable))


def timing_signal(frames: int, size: int) -> Tensor:
    """Sinusoidal position code, float32 [frames, size]: sin(t·ω_i) in the first half, cos(t·ω_i) in the second.

    ω_i = 10000^(−i/(size/2 − 1)), computed in float64 and rounded once, as the published code does.
    """
    half = size // 2
    # An explicit device: a network may be built under torch.device("meta").
    steps = torch.arange(half, dtype=torch.float64, device="cpu") / max(half - 1, 1)
    angles = torch.arange(frames, dtype=torch.float64, device="cpu")[:, None] * 10000.0**-steps
    return torch.cat((angles.sin(), angles.cos()), dim=1).float()


class BidirectionalEncoder(nn.Module):
    """Embedding, timing signal, the bidirectional layers and the final layer norm."""

    timing: Tensor

    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        self.portable = False
        self.dropout = config.input_dropout
        self.embedding_proj = nn.Linear(config.n_bins, config.hidden_size, bias=False)
        self.self_attn_layers = nn.ModuleList([BidirectionalLayer(config) for _ in range(config.num_layers)])
        self.layer_norm = BTCLayerNorm(config.hidden_size)
        self.register_buffer("timing", timing_signal(config.timestep, config.hidden_size), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None, maps: list[Tensor] | None) -> Tensor:
        """One window [B, T ≤ timestep, n_bins], mask bool [B, T] or None -> hidden states [B, T, D]."""
        frames = x.shape[1]
        past = torch.ones(frames, frames, dtype=torch.bool, device=x.device).tril()
        future, valid = past.T, None
        if mask is not None:
            # The diagonal stays allowed, so that a padded query never has an empty row.
            diagonal = torch.eye(frames, dtype=torch.bool, device=x.device)
            keys = mask[:, None, None, :]
            past, future = past & keys | diagonal, future & keys | diagonal
            valid = mask[..., None].to(x.dtype)
        rate = self.dropout if self.training else 0.0
        embedded = self.embedding_proj(dropout(x, rate, plain=self.portable))
        h = (embedded + self.timing[:frames]).to(embedded.dtype)
        views = View("forward", mask, past), View("backward", mask, future)
        for layer in self.self_attn_layers:
            h = layer(h, *views, valid, maps)
        return self.layer_norm(h)


class UnusedLSTM(nn.Module):
    """The tensors of the LSTM every published BTC checkpoint carries; nothing is ever computed with them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        half = size // 2
        shapes = {
            "weight_ih": (4 * half, size),
            "weight_hh": (4 * half, half),
            "bias_ih": (4 * half,),
            "bias_hh": (4 * half,),
        }
        for suffix in ("_l0", "_l0_reverse"):
            for name, shape in shapes.items():
                parameter = nn.Parameter(torch.empty(shape))
                nn.init.uniform_(parameter, -(half**-0.5), half**-0.5)
                self.register_parameter(name + suffix, parameter)


class OutputLayer(nn.Module):
    """Linear projection to the classes."""

    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        self.output_projection = nn.Linear(config.hidden_size, config.num_classes)
        self.lstm = UnusedLSTM(config.hidden_size)

    def forward(self, h: Tensor) -> Tensor:
        """[..., D] -> [..., K]."""
        return self.output_projection(h)


class BTC(ChordModel):
    """The bi-directional transformer of BTC, 25 or 170 classes.

    ``compat`` chooses what happens to padding and to inputs longer than the window (``timestep``, 108 frames):

    * None – windows of 108 frames from frame 0; padded frames take part in nothing, so a short window
      gives the same result alone and padded.
    * "chordmini" – the same windows, the last one padded with zeros that are not masked.
    * "btc" – the layers fed directly, at most 108 frames, no mask.

    Give either a ``config`` or its fields: ``BTC(num_classes=25)``.
    """

    architecture: ClassVar[str] = "btc"
    compats: ClassVar[tuple[str | None, ...]] = (None, "chordmini", "btc")

    def __init__(self, config: BTCConfig | None = None, *, compat: str | None = None, **options: Any) -> None:
        super().__init__(compat)
        if config is not None and options:
            raise UsageError("BTC: give a config or its fields, not both")
        self.config = config or BTCConfig(**options)
        self.n_bins = self.config.n_bins
        self.num_classes = self.config.num_classes
        self.self_attn_layers = BidirectionalEncoder(self.config)
        self.output_layer = OutputLayer(self.config)
        for module in self.modules():
            if isinstance(module, ConvolutionLayer):
                module.published = compat is not None

    def forward(
        self, x: Tensor, mask: Tensor | None = None, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Logits [B, T, K] of normalised features [B, T, n_bins].

        Args:
            x: floating point, any T ≥ 0.
            mask: bool [B, T], True where a frame is valid; None means all. What comes out for invalid
                frames has no meaning. Only with ``compat=None``.
            return_attention: also return, for every layer, the probabilities of the block that looks back
                and the block that looks ahead, each [B, heads, T, T] (query, key). One window at most.

        Raises UsageError for other shapes, a mask in a compat mode, or too many frames.
        """
        self._check_input(x, mask)
        batch, frames, _ = x.shape
        window = self.config.timestep
        if frames > window and (return_attention or self.compat == "btc"):
            why = "attention maps are per window" if return_attention else "compat='btc' takes one window"
            raise UsageError(f"BTC: {why}, give at most {window} frames instead of {frames}")
        if batch == 0 or frames == 0:
            logits = x.new_zeros(batch, frames, self.num_classes)
            empty = x.new_zeros(batch, self.config.num_heads, frames, frames)
            return (logits, [(empty, empty)] * self.config.num_layers) if return_attention else logits
        if mask is not None:
            x = x.masked_fill(~mask[..., None], 0.0)  # whatever stands in the padding, NaN included
        padding = -frames % window if frames > window or self.compat == "chordmini" else 0
        if padding:
            if mask is None and self.compat is None:
                mask = torch.ones(batch, frames, dtype=torch.bool, device=x.device)
            x = F.pad(x, (0, 0, 0, padding))
            mask = None if mask is None else F.pad(mask, (0, padding))
        length = min(window, x.shape[1])
        maps: list[Tensor] | None = [] if return_attention else None
        hidden = self.self_attn_layers(
            x.reshape(-1, length, self.n_bins), None if mask is None else mask.reshape(-1, length), maps
        )
        logits = self.output_layer(hidden).view(batch, -1, self.num_classes)[:, :frames]
        if maps is None:
            return logits
        return logits, list(zip(maps[0::2], maps[1::2], strict=True))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain values, as written into a checkpoint."""
        return asdict(self.config)

    @classmethod
    def from_checkpoint(
        cls, path: str | os.PathLike[str], compat: str | None = None, *, classes: int | None = None
    ) -> Self:
        """Read a checkpoint of any published layout into a new network in evaluation mode (float32, CPU).

        Never executes a pickle, loads strictly, sets ``mean`` and ``std``; ``classes`` demands 25 or 170. Raises
        ModelError, naming the file and what is wrong, when it is unreadable or does not hold a BTC.
        """
        from .checkpoints import build, load_checkpoint

        return cast(Self, build(load_checkpoint(path), cls, classes=classes, compat=compat))

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], stored: Mapping[str, Any], compat: str | None = None, **options: Any
    ) -> Self:
        """A BTC of the sizes that the tensors of ``state`` show; heads, window and dropouts come from ``stored``."""
        if given := [name for name, value in options.items() if value is not None]:
            raise UsageError(f"BTC has no option {', '.join(given)}, leave it out")
        prefix = "self_attn_layers.self_attn_layers."
        hidden, n_bins = state["self_attn_layers.embedding_proj.weight"].shape
        convolution = state[f"{prefix}0.attn_block.positionwise_convolution.layers.0.conv.weight"]
        sizes: dict[str, Any] = {
            "num_classes": state["output_layer.output_projection.weight"].shape[0],
            "num_layers": len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)}),
            "n_bins": n_bins,
            "hidden_size": hidden,
            "filter_size": convolution.shape[0],
        }
        for field in fields(BTCConfig):
            if field.name not in sizes and field.name in stored:
                sizes[field.name] = type(field.default)(stored[field.name])  # type: ignore[arg-type,misc]
        return cls(described(BTCConfig, sizes), compat=compat)
