"""Modules over the operators: the settings kept, tensors in, tensors out."""

from .attention import BidirectionalAttention, MultiHeadAttention
from .kd_loss import KDLoss

__all__ = ["BidirectionalAttention", "KDLoss", "MultiHeadAttention"]
