"""Operator decompositions that replace torch's own in compiled graphs, equal to float32 accuracy.

``softplus``, ``logsigmoid`` and the Bernoulli likelihood call ``log1p``. Vectorised, ``log(1 + e)`` with
``e = exp(-|h|) ≤ 1`` is many times faster, and its absolute error is below ``2^-23``, negligible in a likelihood.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch.fx import GraphModule

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


FASTER_MATMUL = {"AuthenticAMD 26": 2.1, "AuthenticAMD 25": 1.0, "GenuineIntel 6": 1.0}
"""Speed of oneDNN's float32 matrix product relative to ``torch.mm``, by processor.

Measured on Zen 5 (478 against 228 GFLOP/s), Zen 4 (191 to 222 against 186 to 205) and Sapphire Rapids (no
difference). Processors that are not listed keep ``torch.mm``. A fixed table is used, not a measurement at start-up:
a measurement could come out either way, and a resumed run must round exactly as the first one did.
"""
MIN_FLOPS = 10_000_000
"""The size of a product from which oneDNN pays off: a call has an overhead of 15 microseconds."""

_library = torch.library.Library("pyrogen", "DEF")
_library.define("product(Tensor a, Tensor b, Tensor? bias) -> Tensor")


@torch.library.impl(_library, "product", "CPU")
def _matmul(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    """``a b + bias`` by oneDNN, as a custom operator: inductor treats the weights of oneDNN's own as constants."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise.default(a, b.t(), bias, "none", [], "")
    return result


@torch.library.register_fake("pyrogen::product", lib=_library)
def _matmul_shape(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[1])


@cache
def processor() -> str:
    """The processor's vendor and family as in ``/proc/cpuinfo``; empty where that is missing."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    facts = dict(reversed([line.replace("\t", "").split(": ", 1) for line in lines if ": " in line]))
    return f"{facts.get('vendor_id', '')} {facts.get('cpu family', '')}".strip()


def use_onednn(graph: GraphModule) -> None:
    """Replace float32 matrix products by oneDNN's in place, where that is faster on this processor."""
    if FASTER_MATMUL.get(processor(), 1.0) <= 1.0 or not torch.backends.mkldnn.is_available():
        return
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or node.target not in (aten.mm.default, aten.addmm.default) or node.kwargs:
            continue
        *bias, a, b = node.args
        if any(t.meta["val"].dtype != torch.float32 or t.meta["val"].device.type != "cpu" for t in (a, b)):
            continue
        if bias and bias[0].meta["val"].ndim != 1:
            continue
        if 2 * a.meta["val"].shape[0] * b.meta["val"].numel() < MIN_FLOPS:
            continue
        with graph.graph.inserting_before(node):
            product = graph.graph.call_function(torch.ops.pyrogen.product.default, (a, b, bias[0] if bias else None))
        product.meta = dict(node.meta)
        node.replace_all_uses_with(product)
        graph.graph.erase_node(node)
    graph.recompile()
