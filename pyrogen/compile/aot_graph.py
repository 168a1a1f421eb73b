"""A scalar function of tensors and all its gradients, as one compiled graph.

The function runs once on shapes alone. What it computed, forward and backward, is left as one flat graph that
inductor compiles whole; parameters, buffers and other tensors that it read are inputs of the graph, so the graph
follows them when they change. Python that depends on the values of tensors cannot be flattened, and raises.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._guards import TracingContext, tracing
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from pyrogen.compile.decompositions import FORMULAS, use_onednn
from pyrogen.compile.pyro_patches import DependsOnValue, LibraryChecks, depends_on_value
from pyrogen.pyro_tools.parameters import leaves

aten = torch.ops.aten


@dataclass
class Graph:
    """``value, *extra, gradients = graph(*args)`` of the function that it was made of.

    Args:
        run: the compiled code, of ``captured`` and the arguments.
        captured: every tensor that the function reads from its surroundings; the live ones.
        weights: the leaves that the value is differentiated by, in the order of the gradients.
        replayed: whether the code is a CUDA graph, whose outputs lie in memory that its next run writes over.
    """

    run: Callable[..., Sequence[Tensor]]
    captured: list[Tensor]
    weights: list[Tensor]
    replayed: bool = False

    @torch.no_grad()
    def __call__(self, *args: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """The function's values, detached, and the gradients of the first one."""
        if self.replayed:
            torch.compiler.cudagraph_mark_step_begin()  # the gradients of the run before have been used
        out = self.run(*self.captured, *args)
        split = len(out) - len(self.weights)
        values = [value.clone() for value in out[:split]] if self.replayed else out[:split]
        return tuple(values), list(out[split:])


class NothingToTrain(Exception):
    """A function's value depends on no leaf of its surroundings."""


def compile_gradient(
    function: Callable[..., tuple[Tensor, ...]], args: tuple[Tensor, ...], by: Sequence[Tensor] | None = None
) -> Graph:
    """Compile ``function(*args) -> (scalar, *extra)`` with the gradients of the scalar.

    Args:
        function: differentiable; its draws come from torch's global generators, at each call anew.
        args: tensors of the shapes, types and device that the graph is for; their values do not matter.
        by: the leaves to differentiate by; all that the scalar depends on by default.

    Raises:
        NothingToTrain: if the scalar depends on no leaf.
        Exception: whatever torch raises about a function that is no fixed graph.
    """
    weights: list[Tensor] = []

    def joint(*xs: Tensor) -> tuple[Tensor, ...]:
        with LibraryChecks():
            value, *extra = function(*xs)
        # A leaf that the function makes for itself is none of its surroundings.
        weights[:] = by if by is not None else [t for t in leaves(value) if not isinstance(t, FakeTensor)]
        if not weights:
            raise NothingToTrain("the loss depends on no parameter")
        unused = by is not None
        gradients = torch.autograd.grad(value, weights, allow_unused=unused, materialize_grads=unused)
        return (value.detach(), *extra, *gradients)

    with _quiet():
        with torch.enable_grad(), _no_cached_casts():
            traced = make_fx(joint, FORMULAS, tracing_mode="fake", _allow_non_fake_inputs=True)(*args)
        if any(depends_on_value(node.meta.get("val")) for node in traced.graph.nodes):
            raise DependsOnValue
        captured = _lift(traced)
        use_onednn(traced)
        with torch.no_grad():
            inputs: list[Any] = [*(t.detach() for t in captured), *args]
            replayed = any(t.is_cuda for t in inputs)
            # On a CPU, convolutions kept channels-last cost more in the passes between them than they gain.
            options = {"fallback_random": True, "triton.cudagraphs": replayed, "layout_optimization": replayed}
            with tracing(TracingContext(FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True))):
                run: Any = torch._inductor.compile(traced, inputs, options=options)
    return Graph(run, captured, weights, replayed)


@contextmanager
def _quiet() -> Iterator[None]:
    """What torch's compiler says to its developers is not for its users."""
    chatter = logging.getLogger("torch.utils.cpp_extension")  # that there is no GPU
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatter.setLevel(level)


@contextmanager
def _no_cached_casts() -> Iterator[None]:
    """A weight that autocast has cast in an eager step would be taken for a constant."""
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(cached)


def _lift(traced: GraphModule) -> list[Tensor]:
    """Make an input of every tensor that the graph holds, but for constants that the function itself made."""
    graph = traced.graph
    last = None
    captured: dict[int, tuple[Tensor, Any]] = {}
    for node in [n for n in graph.nodes if n.op == "get_attr"]:
        tensor = getattr(traced, node.target)
        constant = [user for user in node.users if user.target is aten.lift_fresh_copy.default]
        for user in constant:
            with graph.inserting_before(user):
                if tensor.numel() == 1:
                    kinds = {"dtype": tensor.dtype, "device": tensor.device}
                    made = graph.call_function(aten.full.default, (list(tensor.shape), tensor.item()), kinds)
                else:
                    made = graph.call_function(aten.clone.default, (node,))
                made.meta = dict(user.meta)
            user.replace_all_uses_with(made)
            graph.erase_node(user)
        if not node.users:
            graph.erase_node(node)
            continue
        if id(tensor) not in captured:
            with graph.inserting_after(last) if last else graph.inserting_before(None):
                last = place = graph.placeholder(f"captured_{len(captured)}")
                place.meta = dict(node.meta)
            captured[id(tensor)] = tensor, place
        node.replace_all_uses_with(captured[id(tensor)][1])
        graph.erase_node(node)
    graph.eliminate_dead_code()
    traced.recompile()
    return [tensor for tensor, _ in captured.values()]
