"""2E1D ("ChordNet"): a frequency and a temporal encoder, a cross-attention decoder (ChordMini, arXiv 2602.19778).

Tensor names and shapes equal the published checkpoints'. Differences from the published code, by default:
padded frames are masked as attention keys, the decoder's unused linear layer is kept but never computed, and
head counts – which no tensor shape tells – are explicit.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, Self, cast, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import ops
from ..errors import UsageError
from ..ops.attention import LONGEST, WIDEST
from ..ops.layer_norm import branch_dropout_norm, dropout, layer_norm, layer_norm_relu_dropout
from .common import ChordModel, described, next_divisor

HEADS = ("f_head", "t_head", "d_head")


@dataclass(frozen=True)
class TwoE1DConfig:
    """Sizes and dropout; the defaults are those of the published checkpoint.

    ``n_group`` groups of ``n_freq / n_group`` adjacent bins are the tokens of the frequency encoder; ``f_``,
    ``t_`` and ``d_`` stand for the frequency encoder, the temporal encoder and the decoder. Raises
    UsageError where a number of groups or heads does not divide its width, a size is below 1, or the
    dropout rate is outside [0, 1). ``PRESETS`` holds the three configurations in use.
    """

    n_classes: int = 170
    n_freq: int = 144
    n_group: int = 2
    f_layer: int = 3
    t_layer: int = 4
    d_layer: int = 3
    f_head: int = 2
    t_head: int = 4
    d_head: int = 4
    dropout: float = 0.3

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "dropout" and getattr(self, field.name) < 1:
                raise UsageError(f"2E1D: {field.name} is {getattr(self, field.name)}, give at least 1")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"2E1D: dropout is {self.dropout}, give a rate of at least 0 and below 1")
        if self.n_freq % self.n_group:
            raise UsageError(f"2E1D: {self.n_group} groups do not divide {self.n_freq} bins, give a divisor")
        for name, width in self.widths.items():
            if width % getattr(self, name):
                raise UsageError(f"2E1D: {name} is {getattr(self, name)}, give a divisor of the width {width}")

    @property
    def widths(self) -> dict[str, int]:
        """The model width that each head count has to divide."""
        return {"f_head": self.n_freq // self.n_group, "t_head": self.n_freq, "d_head": self.n_freq}


PRESETS: dict[str, TwoE1DConfig] = {
    # the class's and YAML file's defaults (8 heads in the frequency encoder are lowered to 6, a divisor of 12)
    "class": TwoE1DConfig(n_group=12, f_layer=5, t_layer=5, d_layer=5, f_head=6, t_head=8, d_head=8, dropout=0.2),
    # the training script's default for stage 1
    "stage1": TwoE1DConfig(n_group=12),
    # the older training configuration, and the published checkpoint
    "published": TwoE1DConfig(),
}


def position_code(frames: int, size: int, device: torch.device) -> Tensor:
    """Position code, float32 [frames, size]: sin (even i) or cos (odd i) of t / 10000^(2i/size) for every i.

    The exponent runs to almost 2, unlike the usual code's 1; everything is computed in float32, as published.
    """
    columns = torch.arange(size, device=device)
    rates = torch.pow(10000.0, 2 * columns.float() / size)
    angles = torch.arange(frames, dtype=torch.float32, device=device)[:, None] / rates
    return torch.where(columns % 2 == 0, angles.sin(), angles.cos())


class LayerNorm(nn.LayerNorm):
    """The usual layer norm with what stands around it: ``x`` [..., W] and a branch to be added."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.portable = False  # True, here and below: torch's own operators only, for export

    def forward(self, x: Tensor) -> Tensor:
        """[..., W] -> [..., W]."""
        return layer_norm(x, self.weight, self.bias, "population", self.eps, plain=self.portable)

    def of_branch(self, x: Tensor, y: Tensor, rate: float, alpha: Tensor) -> Tensor:
        """The norm of x + alpha·dropout(y), [..., W]."""
        return branch_dropout_norm(
            x, y, self.weight, self.bias, rate, alpha, "population", self.eps, plain=self.portable
        )

    def relu_dropout(self, x: Tensor, rate: float) -> Tensor:
        """dropout(relu(norm(x))), [..., W]."""
        return layer_norm_relu_dropout(x, self.weight, self.bias, rate, "population", self.eps, plain=self.portable)


class Attention(nn.Module):
    """Multi-head attention with biases and a packed in-projection; no dropout on the probabilities."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.portable = False
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, source: Tensor, keys: Tensor | None = None) -> Tensor:
        """Queries [N, T, W] attend to ``source`` [N, S, W]; ``keys`` bool [N, S] is True where allowed."""
        width = query.shape[-1]
        if query is source:
            q, k, v = F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        else:
            weight, bias = self.in_proj_weight, self.in_proj_bias
            q = F.linear(query, weight[:width], bias[:width])
            k, v = F.linear(source, weight[width:], bias[width:]).chunk(2, dim=-1)
        q, k, v = (z.unflatten(-1, (self.heads, -1)).transpose(1, 2) for z in (q, k, v))
        if (
            not self.portable
            and max(query.shape[1], source.shape[1]) <= LONGEST
            and width // self.heads <= WIDEST
            and q.dtype != torch.float64
        ):
            y = cast(Tensor, ops.attention(q, k, v, mask=keys))
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=None if keys is None else keys[:, None, None, :])
        return self.out_proj(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """LN(x + α·drop(W2·drop(ReLU(LN_hidden(W1 x + b1))) + b2)), hidden = 4·width, α learned from 0 (ReZero)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.alpha = nn.Parameter(torch.zeros(1))
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)
        self.norm = LayerNorm(4 * width)
        self.norm_layer = LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., W] -> [..., W]."""
        rate = self.dropout if self.training else 0.0
        hidden = self.norm.relu_dropout(self.linear1(x), rate)
        return self.norm_layer.of_branch(x, self.linear2(hidden), rate, self.alpha)


def _alphas(layers: int) -> nn.ParameterList:
    return nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in range(layers)])


class Encoder(nn.Module):
    """Self-attention over tokens, then a projection of the flattened tokens to ``n_freq`` values."""

    def __init__(self, width: int, n_freq: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.portable = False
        self.dropout = dropout
        self.attn_layer = nn.ModuleList([Attention(width, heads) for _ in range(layers)])
        self.ff_layer = nn.ModuleList([FeedForward(width, dropout) for _ in range(layers)])
        self.attn_alphas = _alphas(layers)
        self.fc = nn.Linear(n_freq, n_freq)
        self.norm_layer = LayerNorm(n_freq)

    def forward(self, tokens: Tensor, shape: torch.Size, keys: Tensor | None = None) -> Tensor:
        """Tokens [N, S, W] -> ``shape`` = [B, T, n_freq], of as many values."""
        for attend, feed, alpha in zip(self.attn_layer, self.ff_layer, self.attn_alphas, strict=True):
            tokens = feed(tokens + alpha * attend(tokens, tokens, keys))
        rate = self.dropout if self.training else 0.0
        return self.norm_layer(self.fc(dropout(tokens.reshape(shape), rate, plain=self.portable)))


class Decoder(nn.Module):
    """Self-attention, then attention to the temporal encoding; one layer norm shared by all layers and both places."""

    def __init__(self, config: TwoE1DConfig) -> None:
        super().__init__()
        width, layers = config.n_freq, config.d_layer
        self.dropout = config.dropout
        self.attn_layer1 = nn.ModuleList([Attention(width, config.d_head) for _ in range(layers)])
        self.attn_layer2 = nn.ModuleList([Attention(width, config.d_head) for _ in range(layers)])
        self.ff_layer = nn.ModuleList([FeedForward(width, config.dropout) for _ in range(layers)])
        self.attn1_alphas = _alphas(layers)
        self.attn2_alphas = _alphas(layers)
        self.fc = nn.Linear(width, width)  # in every checkpoint, but the published code discards its output
        self.norm_layer = LayerNorm(width)

    def forward(self, y: Tensor, source: Tensor, keys: Tensor | None) -> Tensor:
        """[B, T, W] and the temporal encoding [B, T, W] -> features [B, T, W]."""
        layers = zip(
            self.attn_layer1, self.attn_layer2, self.ff_layer, self.attn1_alphas, self.attn2_alphas, strict=True
        )
        rate = self.dropout if self.training else 0.0
        for self_attend, cross_attend, feed, alpha1, alpha2 in layers:
            y = self.norm_layer.of_branch(y, self_attend(y, y, keys), rate, alpha1)
            y = self.norm_layer.of_branch(y, cross_attend(y, source, keys), rate, alpha2)
            y = feed(y)
        return y


class Transformer(nn.Module):
    """Both encoders, their sum, and the decoder."""

    def __init__(self, config: TwoE1DConfig) -> None:
        super().__init__()
        self.n_group = config.n_group
        width = config.n_freq // config.n_group
        # Lists of one: the published names carry an index.
        self.encoder_f = nn.ModuleList([Encoder(width, config.n_freq, config.f_head, config.f_layer, config.dropout)])
        self.encoder_t = nn.ModuleList(
            [Encoder(config.n_freq, config.n_freq, config.t_head, config.t_layer, config.dropout)]
        )
        self.decoder = Decoder(config)

    def forward(self, x: Tensor, keys: Tensor | None) -> Tensor:
        """[B, T, n_freq] -> features [B, T, n_freq]."""
        batch, frames, n_freq = x.shape
        width = n_freq // self.n_group
        tokens = x.reshape(batch * frames, self.n_group, width)
        f = self.encoder_f[0](tokens + (0.01 * position_code(self.n_group, width, x.device)).to(x.dtype), x.shape)
        code = position_code(frames, n_freq, x.device)  # scaled in float32 below, as published
        t = self.encoder_t[0](x + (0.02 * code).to(x.dtype), x.shape, keys)
        return self.decoder(f + t + (0.01 * code).to(x.dtype), t, keys)


class TwoE1D(ChordModel):
    """The light student of ChordMini: two encoders, one decoder, any number of frames at a time.

    ``compat`` is None (padded frames are masked) or "chordmini" (no masks). Give a ``config``, or its fields:
    ``TwoE1D(n_group=12, f_layer=5)``.
    """

    architecture: ClassVar[str] = "2e1d"
    compats: ClassVar[tuple[str | None, ...]] = (None, "chordmini")

    def __init__(self, config: TwoE1DConfig | None = None, *, compat: str | None = None, **options: Any) -> None:
        super().__init__(compat)
        if config is not None and options:
            raise UsageError("2E1D: give a config or its fields, not both")
        self.config = config or TwoE1DConfig(**options)
        self.n_bins = self.config.n_freq
        self.num_classes = self.config.n_classes
        self.portable = False
        self.transformer = Transformer(self.config)
        self.fc = nn.Linear(self.config.n_freq, self.config.n_classes)

    @overload
    def forward(self, x: Tensor, mask: Tensor | None = None, return_features: Literal[False] = False) -> Tensor: ...
    @overload
    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, return_features: Literal[True]
    ) -> tuple[Tensor, Tensor]: ...

    def forward(
        self, x: Tensor, mask: Tensor | None = None, return_features: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits [B, T, K] of normalised features [B, T, n_freq]; [B, 1, T, n_freq] and [B, n_freq] (T = 1) also.

        Args:
            x: floating point, any T ≥ 0. In training mode NaN in a three-axis input counts as 0, as published.
            mask: bool [B, T], True where a frame is valid; None means all. What comes out for invalid
                frames has no meaning. Only with ``compat=None``.
            return_features: also return the decoder's output [B, T, n_freq].

        Raises UsageError for other shapes, or a mask in a compat mode.
        """
        if x.ndim == 4 and x.shape[1] == 1:
            x = x[:, 0]
        elif x.ndim == 2:
            x = x[:, None]
        elif x.ndim == 3 and self.training and x.is_floating_point():
            x = torch.nan_to_num(x, nan=0.0, posinf=float("inf"), neginf=float("-inf"))
        self._check_input(x, mask)
        if x.numel() == 0:
            logits, features = x.new_zeros(*x.shape[:2], self.num_classes), x
            return (logits, features) if return_features else logits
        keys = None
        if mask is not None:
            x = x.masked_fill(~mask[..., None], 0.0)  # whatever stands in the padding, NaN included
            # A row without any valid frame keeps its keys: an empty softmax would be NaN.
            keys = mask | ~mask.any(dim=1, keepdim=True)
        features = self.transformer(x, keys)
        rate = self.config.dropout if self.training else 0.0
        logits = self.fc(dropout(features, rate, plain=self.portable))
        return (logits, features) if return_features else logits

    def config_dict(self) -> dict[str, Any]:
        """The configuration, heads included, as plain values, as written into a checkpoint."""
        return asdict(self.config)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str],
        heads: str | tuple[int, int, int] | None = None,
        compat: str | None = None,
        *,
        classes: int | None = None,
    ) -> Self:
        """Read a checkpoint of any published layout into a new network in evaluation mode (float32, CPU).

        ``heads`` as in ``from_state``. Never executes a pickle, loads strictly, sets ``mean`` and ``std``; ``classes``
        demands 25 or 170. Raises ModelError, naming the file and what is wrong, when it is unreadable or does not
        hold a 2E1D, UsageError for ``heads`` that do not fit.
        """
        from .checkpoints import build, load_checkpoint

        return cast(Self, build(load_checkpoint(path), cls, classes=classes, heads=heads, compat=compat))

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        stored: Mapping[str, Any],
        compat: str | None = None,
        heads: str | tuple[int, int, int] | None = None,
        **options: Any,
    ) -> Self:
        """A 2E1D of the sizes that the tensors of ``state`` show.

        ``heads`` is (frequency, temporal, decoder), or "cm_infer" for what ChordMini's loader guesses, or None
        for the counts in ``stored``; where ``stored`` has none, a warning says what was assumed.
        """
        if options:
            raise UsageError(f"2E1D has no option {', '.join(options)}, leave it out")
        width = state["transformer.encoder_f.0.attn_layer.0.out_proj.weight"].shape[0]
        classes, n_freq = state["fc.weight"].shape
        sizes: dict[str, Any] = {
            "n_classes": classes,
            "n_freq": n_freq,
            "n_group": n_freq // width,
            "f_layer": _layers(state, "transformer.encoder_f.0.attn_layer."),
            "t_layer": _layers(state, "transformer.encoder_t.0.attn_layer."),
            "d_layer": _layers(state, "transformer.decoder.attn_layer1."),
        }
        sizes.update(zip(HEADS, _choose_heads(heads, stored, width, n_freq, sizes), strict=True))
        if "dropout" in stored:
            sizes["dropout"] = float(stored["dropout"])
        return cls(described(TwoE1DConfig, sizes), compat=compat)


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def _choose_heads(
    heads: str | tuple[int, int, int] | None,
    stored: Mapping[str, Any],
    width: int,
    n_freq: int,
    sizes: Mapping[str, int],
) -> tuple[int, ...]:
    # The rule of ChordMini's loader: the largest of 8, 6, 4, 2, 1 that divides the width; the decoder keeps 4.
    inferred = (*(next(h for h in (8, 6, 4, 2, 1) if w % h == 0) for w in (width, n_freq)), 4)
    if heads == "cm_infer":
        return inferred
    widths = (width, n_freq, n_freq)
    if heads is not None:
        if isinstance(heads, str) or len(heads) != 3:
            raise UsageError(
                f"2E1D: heads is {heads!r}, give three numbers (frequency, temporal, decoder) or 'cm_infer'"
            )
        if any(h < 1 or w % h for h, w in zip(heads, widths, strict=True)):
            raise UsageError(f"2E1D: heads is {heads!r}, give divisors of this checkpoint's widths {widths}")
        return tuple(heads)
    if all(name in stored for name in HEADS):
        return tuple(next_divisor(int(stored[n]), w) for n, w in zip(HEADS, widths, strict=True))
    known = ("n_group", "f_layer", "t_layer", "d_layer")
    same = [p for p in PRESETS.values() if all(getattr(p, name) == sizes[name] for name in known)]
    assumed = (same[0].f_head, same[0].t_head, same[0].d_head) if same else inferred
    why = "as this configuration is trained" if same else "as ChordMini guesses"
    warnings.warn(
        f"2E1D: the checkpoint does not say how many attention heads it was trained with; assuming {assumed}, "
        f"{why} (ChordMini evaluates with {inferred}), "
        "and the results are wrong if that is not so: give heads=(frequency, temporal, decoder) or heads='cm_infer'",
        UserWarning,
        stacklevel=5,
    )
    return assumed
