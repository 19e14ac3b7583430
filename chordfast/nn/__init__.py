"""Modules over the operators: the settings kept, tensors in, tensors out."""

from .kd_loss import KDLoss

__all__ = ["KDLoss"]
