"""The two students as plain torch modules, for comparison: what a training loop without chordfast would run."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chordfast.models import BTC, ChordModel, TwoE1D
from chordfast.models import btc as btc_module
from chordfast.models.twoe1d import Attention


class EagerNorm(nn.Module):
    """BTC's layer norm out of torch's mean and std."""

    def __init__(self, norm: btc_module.BTCLayerNorm) -> None:
        super().__init__()
        self.gamma, self.beta = norm.gamma, norm.beta

    def forward(self, x: Tensor) -> Tensor:
        mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.gamma * (x - mean) / (std + 1e-6) + self.beta


class EagerAttention(nn.Module):
    """Scores, mask, softmax, dropout, values: one tensor each."""

    def __init__(self, attention: btc_module.MultiHeadAttention, direction: str) -> None:
        super().__init__()
        self.parts, self.direction = attention, direction

    def forward(self, x: Tensor, *_: object) -> Tensor:
        part = self.parts
        batch, frames, size = x.shape
        linears = (part.query_linear, part.key_linear, part.value_linear)
        q, k, v = (linear(x).view(batch, frames, part.heads, -1).transpose(1, 2) for linear in linears)
        scores = torch.matmul(q * (size // part.heads) ** -0.5, k.transpose(-1, -2))
        hidden = torch.ones(frames, frames, dtype=torch.bool, device=x.device)
        hidden = hidden.triu(1) if self.direction == "forward" else hidden.tril(-1)
        weights = F.dropout(scores.masked_fill(hidden, float("-inf")).softmax(-1), part.dropout, self.training)
        y = torch.matmul(weights.to(v.dtype), v).transpose(1, 2).contiguous().view(batch, frames, size)
        return part.output_linear(y)


class EagerConvolutions(nn.Module):
    """Pad, convolve, ReLU, dropout, twice."""

    def __init__(self, convolutions: btc_module.PositionwiseConvolution) -> None:
        super().__init__()
        self.parts = convolutions

    def forward(self, x: Tensor, *_: object) -> Tensor:
        for layer in self.parts.layers:
            x = layer.conv(x.permute(0, 2, 1)).permute(0, 2, 1)
            x = F.dropout(F.relu(x), self.parts.dropout, self.training)
        return x


class EagerBlock(nn.Module):
    def __init__(self, block: btc_module.AttentionBlock, direction: str) -> None:
        super().__init__()
        self.attention = EagerAttention(block.multi_head_attention, direction)
        self.convolutions = EagerConvolutions(block.positionwise_convolution)
        self.first, self.second, self.rate = (
            EagerNorm(block.layer_norm_mha),
            EagerNorm(block.layer_norm_ffn),
            block.dropout,
        )

    def forward(self, h: Tensor) -> Tensor:
        h = F.dropout(h + self.attention(self.first(h)), self.rate, self.training)
        return F.dropout(h + self.convolutions(self.second(h)), self.rate, self.training)


class EagerBTC(nn.Module):
    def __init__(self, model: BTC) -> None:
        super().__init__()
        encoder = model.self_attn_layers
        self.embedding, self.rate = encoder.embedding_proj, encoder.dropout
        self.ahead = nn.ModuleList(EagerBlock(layer.attn_block, "forward") for layer in encoder.self_attn_layers)
        self.back = nn.ModuleList(
            EagerBlock(layer.backward_attn_block, "backward") for layer in encoder.self_attn_layers
        )
        self.mixing = nn.ModuleList(layer.linear for layer in encoder.self_attn_layers)
        self.norm, self.output = EagerNorm(encoder.layer_norm), model.output_layer.output_projection
        self.register_buffer("timing", encoder.timing, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(F.dropout(x, self.rate, self.training)) + self.timing[: x.shape[1]]
        for ahead, back, mix in zip(self.ahead, self.back, self.mixing, strict=True):
            h = mix(torch.cat((ahead(h), back(h)), -1))
        return self.output(self.norm(h))


class EagerMultihead(nn.Module):
    """torch.nn.MultiheadAttention, as the published code of 2E1D calls it (probabilities returned)."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        width = attention.in_proj_weight.shape[1]
        self.attention = nn.MultiheadAttention(width, attention.heads, batch_first=True)
        state = {"in_proj_weight": attention.in_proj_weight, "in_proj_bias": attention.in_proj_bias}
        self.attention.load_state_dict({**state, **attention.out_proj.state_dict(prefix="out_proj.")})

    def forward(self, query: Tensor, source: Tensor, keys: object = None) -> Tensor:
        return self.attention(query, source, source)[0]


class EagerTwoE1D(nn.Module):
    """2E1D with torch's attention module and torch's dropout."""

    def __init__(self, model: TwoE1D) -> None:
        super().__init__()
        self.model = model
        for module in list(model.modules()):
            if hasattr(module, "portable"):
                module.portable = True  # torch's own dropout and layer norm
            for name, child in list(module.named_children()):
                if isinstance(child, Attention):
                    setattr(module, name, EagerMultihead(child))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def eager_twin(model: ChordModel) -> nn.Module:
    """A network of plain torch modules that computes what ``model`` does, with weights of its own."""
    twin = copy.deepcopy(model)
    if isinstance(twin, BTC):
        return EagerBTC(twin)
    assert isinstance(twin, TwoE1D)
    return EagerTwoE1D(twin)
