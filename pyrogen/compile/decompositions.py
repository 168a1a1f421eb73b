"""Formulas that compiled graphs use in place of torch's own, equal to them to float32 accuracy.

``log1p`` sits inside ``softplus``, ``logsigmoid`` and the Bernoulli likelihood. Vectorised, ``log(1 + e)`` with
``e = exp(-|h|) ≤ 1`` is many times faster, and its error is below ``2^-23``, absolute: nothing beside a likelihood.
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


def bernoulli_nats(
    h: Tensor, x: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = 1
) -> Tensor:
    """Binary cross-entropy of logits: ``max(h, 0) - x h + log(1 + exp(-|h|))``."""
    if weight is not None or pos_weight is not None:
        return NotImplemented
    nats = h.clamp_min(0) - x * h + (1 + (-h.abs()).exp()).log()
    return (nats, nats.mean(), nats.sum())[reduction]


FORMULAS: dict[Any, Callable[..., Any]] = {
    aten.softplus.default: softplus,
    aten.softplus_backward.default: softplus_backward,
    aten.log_sigmoid_forward.default: log_sigmoid,
    aten.log_sigmoid_backward.default: log_sigmoid_backward,
    aten.binary_cross_entropy_with_logits.default: bernoulli_nats,
    # Its schema hides that it moves the running statistics; that of its decomposition does not.
    **get_decompositions([aten.native_batch_norm, aten.cudnn_batch_norm, aten.miopen_batch_norm]),
}


FASTER_MATMUL = {"AuthenticAMD 26": 2.1, "AuthenticAMD 25": 1.0, "GenuineIntel 6": 1.0}
"""How many times faster oneDNN multiplies float32 matrices than the library behind ``torch.mm``, by processor.

Measured on Zen 5 (478 against 228 GFLOP/s), Zen 4 (191 to 222 against 186 to 205) and Sapphire Rapids (no
difference). Unlisted processors keep ``torch.mm``. A table, not a trial at start-up: a trial could fall either way,
and a resumed run must round as the first one did.
"""
WORTHWHILE = 10_000_000
"""Multiplications and additions from which a product repays the 15 microseconds that a call of oneDNN takes."""

_library = torch.library.Library("pyrogen", "DEF")
_library.define("product(Tensor a, Tensor b, Tensor? bias) -> Tensor")


@torch.library.impl(_library, "product", "CPU")
def _product(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    """``a b + bias`` by oneDNN; an operator of its own, as inductor takes the weights of oneDNN's for constants."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise.default(a, b.t(), bias, "none", [], "")
    return result


@torch.library.register_fake("pyrogen::product", lib=_library)
def _product_shape(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[1])


@cache
def processor() -> str:
    """The processor's maker and family as the kernel names them; empty where it does not say."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    facts = dict(reversed([line.replace("\t", "").split(": ", 1) for line in lines if ": " in line]))
    return f"{facts.get('vendor_id', '')} {facts.get('cpu family', '')}".strip()


def use_onednn(graph: GraphModule) -> None:
    """Multiply float32 matrices by oneDNN where the processor gains by it; changes ``graph`` in place."""
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
        if 2 * a.meta["val"].shape[0] * b.meta["val"].numel() < WORTHWHILE:
            continue
        with graph.graph.inserting_before(node):
            product = graph.graph.call_function(torch.ops.pyrogen.product.default, (a, b, bias[0] if bias else None))
        product.meta = dict(node.meta)
        node.replace_all_uses_with(product)
        graph.graph.erase_node(node)
    graph.recompile()
