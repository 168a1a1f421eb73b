"""Compile a scalar function of tensors, together with its gradients, into one graph.

The function is traced once on fake tensors. Forward and backward computation become one flat graph that inductor
compiles as a whole. Parameters, buffers and other captured tensors are inputs of the graph, so the graph uses their
current values. Python code that depends on the value of a tensor cannot be traced and raises an error.
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
from torch._inductor.cpu_vec_isa import valid_vec_isa_list
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from pyrogen.compile.checked_graph import NotInGraph, Update
from pyrogen.compile.graph.decompositions import DECOMPOSITIONS
from pyrogen.compile.graph.products import use_onednn
from pyrogen.compile.graph.replay import Replay, can_be_replayed
from pyrogen.compile.library_checks import DependsOnTensorValue, NothingToTrain, SkipLibraryChecks, depends_on_value
from pyrogen.pyro_tools.parameters import leaves

log = logging.getLogger(__name__)
aten = torch.ops.aten

QUICK = {"cpp_cache_precompile_headers": False, "cpp.vec_isa_ok": True}
"""Options for code of few files: precompiled headers, and tests of the C++ compiler, take longer than they save."""
ONE_FILE = {**QUICK, "cpp_wrapper": True}
"""Options for code as one C++ file with the calls between its loops, each of which takes less time than in Python."""
TWO_FILES = {**ONE_FILE, "cpp_wrapper_build_separate": True}
"""The same with the calls in a file of their own, which is compiled with few optimisations."""
LARGE = 650
"""The number of operations of a graph above which two files compile a quarter sooner; a step is up to 3% slower."""


@dataclass
class Graph:
    """A compiled function with its gradients: ``(value, *extra), gradients = graph(*args)``.

    Args:
        run: the compiled code, or its ``Replay``; it takes the tensors in ``captured``, then the arguments.
        captured: every tensor that the function reads besides its arguments, by reference.
        weights: the leaves that the value is differentiated with respect to, in the order of the gradients.
        overwrites: whether a call of ``run`` overwrites the outputs of the one before.
    """

    run: Callable[..., Sequence[Tensor]]
    captured: list[Tensor]
    weights: list[Tensor]
    overwrites: bool = False

    @torch.no_grad()
    def __call__(self, *args: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Return the function's values, detached, and the gradients of the first value."""
        out = self.run(*self.captured, *args)
        split = len(out) - len(self.weights)
        values = [value.clone() for value in out[:split]] if self.overwrites else out[:split]
        return tuple(values), list(out[split:])


def compile_with_gradients(
    function: Callable[..., tuple[Tensor, ...]],
    args: tuple[Tensor, ...],
    wrt: Sequence[Tensor] | None = None,
    update: Update | None = None,
) -> Graph:
    """Compile ``function(*args) -> (scalar, *extra)`` with the gradients of the scalar.

    Args:
        function: differentiable; it may draw from torch's global generators, and the graph draws afresh in each call.
        args: example tensors that fix the shapes, dtypes and device; their values do not matter.
        wrt: the leaves to differentiate with respect to; by default all that the scalar depends on.
        update: an update of these leaves by their gradients, which becomes the last part of the graph. Its ``tensors``
            follow the arguments.

    Raises:
        NotInGraph: if the update cannot be part of the graph.
        NothingToTrain: if the scalar depends on no leaf.
        DependsOnTensorValue: if a number or a shape depends on the value of a tensor.
        Exception: whatever torch raises for a function that it cannot trace.
    """
    weights: list[Tensor] = []
    n = len(args)

    def joint(*xs: Tensor) -> tuple[Tensor, ...]:
        with SkipLibraryChecks():
            value, *extra = function(*xs[:n])
        # A fake tensor is a leaf that the function itself created, not a captured one.
        weights[:] = wrt if wrt is not None else [t for t in leaves(value) if not isinstance(t, FakeTensor)]
        if not weights:
            raise NothingToTrain("the loss depends on no parameter")
        unused = wrt is not None
        gradients = torch.autograd.grad(value, weights, allow_unused=unused, materialize_grads=unused)
        if update is not None:
            with torch.no_grad():
                update.trace(value.detach(), weights, gradients, xs[n:])
        return (value.detach(), *extra, *gradients)

    args = (*args, *update.tensors) if update else args
    with torch.enable_grad():
        traced = _trace(joint, args)
    if update is not None and any(node.target is aten._linalg_check_errors.default for node in traced.graph.nodes):
        raise NotInGraph  # torch cannot compile an in-place update beside a check that raises an error
    # The numbers of an update are new tensors in each call, its other tensors are written in place.
    form = TWO_FILES if len(traced.graph.nodes) > LARGE else ONE_FILE
    return _compile(traced, args, n + (update is not None), weights, form)


def compile_function(function: Callable[..., tuple[Tensor, ...]], args: tuple[Tensor, ...]) -> Graph:
    """Compile a small ``function(*args)`` without gradients; errors as for ``compile_with_gradients``."""
    with torch.no_grad():
        traced = _trace(function, args)
    return _compile(traced, args, len(args), [], QUICK)


def _trace(function: Callable[..., tuple[Tensor, ...]], args: tuple[Tensor, ...]) -> GraphModule:
    """Run the function on fake tensors; raise ``DependsOnTensorValue`` if it needs the value of one."""
    with _silence_compiler(), _disable_autocast_cache():
        traced = make_fx(function, DECOMPOSITIONS, tracing_mode="fake", _allow_non_fake_inputs=True)(*args)
    if any(depends_on_value(node.meta.get("val")) for node in traced.graph.nodes):
        raise DependsOnTensorValue
    return traced


def _compile(
    traced: GraphModule, args: tuple[Tensor, ...], copied: int, weights: list[Tensor], on_cpu: dict[str, Any]
) -> Graph:
    """Compile a traced function, of whose arguments the first ``copied`` are other tensors in each call."""
    captured = _lift_captured_tensors(traced)
    use_onednn(traced)
    with _silence_compiler(), torch.no_grad():
        # Detached, but not views, for which torch would copy what the graph has updated.
        inputs: list[Any] = [*(t.data for t in captured), *args]
        run = _generate_code(traced, inputs, on_cpu)
    overwrites = can_be_replayed(traced, inputs)
    if overwrites:
        run = Replay(run, slice(len(captured), len(captured) + copied))
    return Graph(run, captured, weights, overwrites)


def _generate_code(traced: GraphModule, inputs: list[Any], on_cpu: dict[str, Any]) -> Any:
    """Compile the graph by inductor, with the options ``on_cpu`` if it is computed there.

    What cannot be compiled so, as by a compiler that does not know the processor, is compiled by default options.
    """
    gpu = any(t.device.type != "cpu" for t in inputs)
    # On a CPU, convolutions kept channels-last cost more in the passes between them than they gain.
    options = {"fallback_random": True, "layout_optimization": gpu}

    def generate(more: dict[str, Any]) -> Any:
        with tracing(TracingContext(FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True))):
            return torch._inductor.compile(traced, inputs, options={**options, **more})

    if not gpu:
        try:
            return generate(on_cpu)
        except Exception as error:
            log.info("compiled by default options: %s", next(iter(str(error).splitlines()), type(error).__name__))
            valid_vec_isa_list.cache_clear()  # it holds what was not tested
    return generate({})


@contextmanager
def _silence_compiler() -> Iterator[None]:
    """Suppress warnings of torch's compiler that concern its developers, not its users."""
    logger = logging.getLogger("torch.utils.cpp_extension")  # it warns where there is no GPU
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _disable_autocast_cache() -> Iterator[None]:
    """Disable autocast's cache: a weight that an eager step has cast would be traced as a constant."""
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(cached)


def _lift_captured_tensors(traced: GraphModule) -> list[Tensor]:
    """Turn every tensor attribute of the graph into an input, except constants that the function itself creates."""
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
    for name in [*traced._parameters, *traced._buffers]:  # else they would be inputs a second time
        delattr(traced, name)
    traced.recompile()
    return [tensor for tensor, _ in captured.values()]
