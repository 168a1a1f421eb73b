"""Operator decompositions that replace torch's own in compiled graphs, equal to float32 accuracy.

``softplus``, ``logsigmoid`` and the Bernoulli likelihood call ``log1p``. Vectorised, ``log(1 + e)`` with
``e = exp(-|h|) ≤ 1`` is many times faster, and its absolute error is below ``2^-23``, negligible in a likelihood.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions

aten = torch.ops.aten


def softplus(h: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(h)) = max(h, 0) + log(1 + exp(-|h|))``."""
    scaled = h * beta if beta != 1 else h
    return (scaled.clamp_min(0) + (1 + (-scaled.abs()).exp()).log()) / beta


def softplus_backward(gradient: Tensor, h: Tensor, beta: float, threshold: float) -> Tensor:
    """``σ(β h)`` times the gradient."""
    return gradient * torch.sigmoid(h * beta)


def log_sigmoid(h: Tensor) -> tuple[Tensor, Tensor]:
    """``log σ(h) = min(h, 0) - log(1 + exp(-|h|))``, and an empty buffer."""
    return h.clamp_max(0) - (1 + (-h.abs()).exp()).log(), h.new_empty(0)


def log_sigmoid_backward(gradient: Tensor, h: Tensor, buffer: Tensor) -> Tensor:
    """``1 - σ(h)`` times the gradient."""
    return gradient * torch.sigmoid(-h)


def binary_cross_entropy_with_logits(
    h: Tensor, x: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = 1
) -> Tensor:
    """Binary cross-entropy of logits: ``max(h, 0) - x h + log(1 + exp(-|h|))``."""
    if weight is not None or pos_weight is not None:
        return NotImplemented
    nats = h.clamp_min(0) - x * h + (1 + (-h.abs()).exp()).log()
    return (nats, nats.mean(), nats.sum())[reduction]


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten.softplus.default: softplus,
    aten.softplus_backward.default: softplus_backward,
    aten.log_sigmoid_forward.default: log_sigmoid,
    aten.log_sigmoid_backward.default: log_sigmoid_backward,
    aten.binary_cross_entropy_with_logits.default: binary_cross_entropy_with_logits,
    # The schema of batch_norm does not declare that it updates the running statistics; its decomposition does.
    **get_decompositions([aten.native_batch_norm, aten.cudnn_batch_norm, aten.miopen_batch_norm]),
}
