"""Float32 matrix products by oneDNN, on processors where torch's own products are slower."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

aten = torch.ops.aten

FASTER_MATMUL = {"AuthenticAMD 26": 2.1, "AuthenticAMD 25": 1.0, "GenuineIntel 6": 1.0}
"""Speed of oneDNN's float32 matrix product relative to ``torch.mm``, by processor.

Measured on Zen 5 (478 against 228 GFLOP/s), Zen 4 (191 to 222 against 186 to 205) and Sapphire Rapids (no
difference). Processors that are not listed keep ``torch.mm``. A fixed table is used, not a measurement at start-up:
a measurement could come out either way, and a resumed run must round exactly as the first one did.
"""
MIN_FLOPS = 5_000_000
"""The size of a product from which oneDNN pays off: a call has an overhead of 10 microseconds."""

_library = torch.library.Library("pyrogen", "DEF")
_library.define("product(Tensor a, Tensor b, Tensor? bias) -> Tensor")


@torch.library.impl(_library, "product", "CPU")
def _product(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    """``a bᵀ + bias`` by oneDNN, as a custom operator: inductor treats the weights of oneDNN's own as constants."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise.default(a, b, bias, "none", [], "")
    return result


@torch.library.register_fake("pyrogen::product", lib=_library)
def _product_shape(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[0])


@cache
def processor() -> str:
    """The processor's vendor and family as in ``/proc/cpuinfo``; empty where that is missing."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    facts = dict(reversed([line.replace("\t", "").split(": ", 1) for line in lines if ": " in line]))
    return f"{facts.get('vendor_id', '')} {facts.get('cpu family', '')}".strip()


def use_onednn(graph: GraphModule) -> None:
    """Replace float32 matrix products by oneDNN's in place, where that is faster on this processor.

    oneDNN copies a left factor that is not stored by rows, such as ``g.t()`` in the gradient ``g.t() @ x`` of a
    weight, on one thread. Here the copy is an operator of the graph, and part of the loop that computes ``g``.
    """
    if FASTER_MATMUL.get(processor(), 1.0) <= 1.0 or not torch.backends.mkldnn.is_available():
        return
    for node in list(graph.graph.nodes):
        if not _is_large_product(node):
            continue
        arguments: Any = node.args
        *bias, a, b = arguments
        with graph.graph.inserting_before(node):
            if not a.meta["val"].is_contiguous():
                by_rows: dict[str, Any] = {"memory_format": torch.contiguous_format}
                a, left = graph.graph.call_function(aten.clone.default, (a,), by_rows), a
                a.meta = {**left.meta, "val": left.meta["val"].contiguous()}
            transposed = graph.graph.call_function(aten.t.default, (b,))
            transposed.meta = {**b.meta, "val": b.meta["val"].t()}
            given = a, transposed, bias[0] if bias else None
            product = graph.graph.call_function(torch.ops.pyrogen.product.default, given)
        product.meta = dict(node.meta)
        node.replace_all_uses_with(product)
        graph.graph.erase_node(node)
    graph.recompile()


def _is_large_product(node: Node) -> bool:
    """Whether a node is ``a b`` or ``bias + a b`` in float32 on a CPU, of ``MIN_FLOPS`` operations or more."""
    if node.op != "call_function" or node.target not in (aten.mm.default, aten.addmm.default) or node.kwargs:
        return False
    arguments: Any = node.args
    *bias, a, b = (argument.meta["val"] for argument in arguments)
    if any(t.dtype != torch.float32 or t.device.type != "cpu" for t in (a, b)) or any(t.ndim != 1 for t in bias):
        return False
    return bool(2 * a.shape[0] * b.numel() >= MIN_FLOPS)
