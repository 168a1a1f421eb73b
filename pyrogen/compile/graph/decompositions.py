"""Operator decompositions that replace torch's own in compiled graphs, equal to float32 accuracy.

``softplus``, ``logsigmoid`` and the Bernoulli likelihood contain ``log(1 + e)`` with ``e = exp(-|h|) ≤ 1``. Vectorised
``log1p`` takes many times as long as a series, which is as accurate for small ``e``, unlike ``(1 + e).log()``. Their
derivatives, and the sigmoid, are computed from the same ``e``.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions

aten = torch.ops.aten


def log_1_plus(e: Tensor) -> Tensor:
    """``log(1 + e)`` for ``0 ≤ e ≤ 1``.

    The series ``2 artanh(s) = 2 (s + s³ / 3 + s⁵ / 5 + …)`` at ``s = e / (2 + e) ≤ 1 / 3``; the terms after that of s¹³
    are less than 1.5 · 10⁻⁸ of the value. In float64 the exact function is used.
    """
    if e.dtype == torch.float64:
        return e.log1p()
    s = e / (2 + e)
    square = s * s
    sum_: Any = 2 / 13
    for k in (11, 9, 7, 5, 3, 1):
        sum_ = sum_ * square + 2 / k
    return s * sum_


def softplus(h: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(h)) = max(h, 0) + log(1 + exp(-|h|))``."""
    scaled = h * beta if beta != 1 else h
    return (scaled.clamp_min(0) + log_1_plus((-scaled.abs()).exp())) / beta


def softplus_backward(gradient: Tensor, h: Tensor, beta: float, threshold: float) -> Tensor:
    """``σ(β h)`` times the gradient."""
    return gradient * sigmoid(h * beta)


def sigmoid(h: Tensor) -> Tensor:
    """``σ(h) = 1 / (1 + exp(-h))``, from ``exp(-|h|)``."""
    if not h.is_floating_point():
        return NotImplemented
    e = (-h.abs()).exp()
    return torch.where(h >= 0, torch.ones_like(e), e) / (1 + e)


def log_sigmoid(h: Tensor) -> tuple[Tensor, Tensor]:
    """``log σ(h) = min(h, 0) - log(1 + exp(-|h|))``, and an empty buffer."""
    return h.clamp_max(0) - log_1_plus((-h.abs()).exp()), h.new_empty(0)


def log_sigmoid_backward(gradient: Tensor, h: Tensor, buffer: Tensor) -> Tensor:
    """``1 - σ(h)`` times the gradient."""
    return gradient * sigmoid(-h)


def binary_cross_entropy_with_logits(
    h: Tensor, x: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = 1
) -> Tensor:
    """Binary cross-entropy of logits: ``max(h, 0) - x h + log(1 + exp(-|h|))``."""
    if weight is not None or pos_weight is not None:
        return NotImplemented
    nats = h.clamp_min(0) - x * h + log_1_plus((-h.abs()).exp())
    return (nats, nats.mean(), nats.sum())[reduction]


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten.sigmoid.default: sigmoid,
    aten.softplus.default: softplus,
    aten.softplus_backward.default: softplus_backward,
    aten.log_sigmoid_forward.default: log_sigmoid,
    aten.log_sigmoid_backward.default: log_sigmoid_backward,
    aten.binary_cross_entropy_with_logits.default: binary_cross_entropy_with_logits,
    # The schema of batch_norm does not declare that it updates the running statistics; its decomposition does.
    **get_decompositions([aten.native_batch_norm, aten.cudnn_batch_norm, aten.miopen_batch_norm]),
}
