"""A compiled graph that is compared with the eager function at its first call and at exponentially rarer later ones."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_unflatten

from pyrogen.compile.fingerprint import Fingerprint
from pyrogen.compile.value_kinds import OpaqueProgram
from pyrogen.random import preserved_random_state

if TYPE_CHECKING:
    from pyrogen.compile.aot_graph import Graph

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
"""Largest relative error ``‖g_compiled - g_eager‖ / ‖g_eager‖`` over all gradients together, by dtype."""

Function = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Gradients:
    """The values of a function and the gradients of the first value with respect to ``weights``.

    ``param_sites`` holds the names of the Pyro parameter sites that the function visited while it was traced.
    """

    values: tuple[Tensor, ...]
    weights: Sequence[Tensor]
    gradients: Sequence[Tensor]
    param_sites: Any = None

    def store(self, add: bool = False) -> None:
        """Assign each gradient to ``weight.grad``, or add it to the gradient there.

        The gradient gets the memory layout of its weight: a fused optimiser iterates over both in memory order, and
        second derivatives are often transposed.
        """
        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            if add and weight.grad is not None:
                weight.grad.add_(gradient)
            elif gradient.stride() == weight.stride():
                weight.grad = gradient
            else:
                weight.grad = torch.empty_like(weight).copy_(gradient)


class GraphRejected(Exception):
    """The graph does not agree with the eager function, or too many graphs would be needed."""


class CheckedGraph:
    """A graph for one combination of argument specs, compared with the eager function at its 1st, 2nd, 4th, 8th … call.

    Args:
        function: see ``VerifiedFunction``.
        leaves, spec: its arguments, flattened.
        wrt: the leaves to differentiate with respect to; by default all that the scalar depends on.
        fingerprint: the current state that the programs behind the function can reach.

    Raises:
        OpaqueProgram: if the function modifies that state, or draws from Python's or NumPy's global generator.

    Attributes:
        calls: the number of calls so far.
        bound: whether the graph holds the tensors of the latest fingerprint.
    """

    def __init__(
        self, function: Function, leaves: list[Any], spec: Any, wrt: Sequence[Tensor] | None, fingerprint: Fingerprint
    ) -> None:
        self.calls, self.bound = 0, True
        self.param_sites: Any = None
        self.tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        self.constants = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.function = self._tensor_function(function, spec)
        batch = tuple(leaves[i] for i in self.tensors)
        # Not at the top: torch's tracer takes a second to import, and short runs compile nothing.
        from pyrogen.compile.aot_graph import compile_with_gradients

        snapshot = fingerprint.snapshot
        assert snapshot is not None
        before = _python_random_state()
        try:
            # Tracing alone updates scalar buffers, such as BatchNorm's count of batches.
            buffers = [t for t in fingerprint.tensors if not t.requires_grad and t.is_leaf]
            with preserve_state(buffers), _hide_gradients(fingerprint.tensors):
                self.graph: Graph = compile_with_gradients(self.function, batch, wrt)
            changed = next(snapshot.changed_names(), None)
        finally:
            snapshot.restore()
        if changed is not None:
            raise OpaqueProgram(f"the program modifies {changed!r} when it runs, which a compiled graph would not do")
        if before != _python_random_state():
            raise OpaqueProgram("the program draws from Python's or NumPy's generator, which a graph would freeze")
        # The position of each tensor in the fingerprint; tensors without one are constants of libraries.
        positions = {id(t): i for i, t in enumerate(fingerprint.tensors)}
        self.positions = [[positions.get(id(t)) for t in ts] for ts in (self.graph.captured, self.graph.weights)]

    def _tensor_function(self, function: Function, spec: Any) -> Callable[..., tuple[Tensor, ...]]:
        def tensor_function(*tensors: Tensor) -> tuple[Tensor, ...]:
            full = list(self.constants)
            for i, tensor in zip(self.tensors, tensors, strict=True):
                full[i] = tensor
            return function(*tree_unflatten(full, spec))

        return tensor_function

    def bind(self, function: Function, spec: Any, tensors: Sequence[Tensor]) -> None:
        """Replace the captured tensors by those at the same positions of the latest fingerprint."""
        self.function = self._tensor_function(function, spec)
        for current, positions in zip((self.graph.captured, self.graph.weights), self.positions, strict=True):
            current[:] = [t if i is None else tensors[i] for t, i in zip(current, positions, strict=True)]
        self.bound = True

    def __call__(self, leaves: list[Any]) -> Gradients:
        """Return values and gradients; raise ``GraphRejected`` where they differ from the eager ones."""
        batch = [leaves[i] for i in self.tensors]
        self.calls += 1
        if self.calls & (self.calls - 1) == 0:
            with preserve_state(self.graph.captured):
                values, gradients = self.graph(*batch)
            with preserve_state(self.graph.captured), torch.enable_grad():
                eager, *_ = self.function(*batch)
                self._compare(values[0], gradients, eager)
        values, gradients = self.graph(*batch)
        return Gradients(values, self.graph.weights, gradients, self.param_sites)

    def _compare(self, compiled: Tensor, gradients: Sequence[Tensor], eager: Tensor) -> None:
        expected = torch.autograd.grad(eager, self.graph.weights, allow_unused=True)
        low = torch.is_autocast_enabled(eager.device.type)
        tolerance = TOLERANCE[torch.get_autocast_dtype(eager.device.type) if low else eager.dtype]
        pairs = [(g, torch.zeros_like(g) if e is None else e) for g, e in zip(gradients, expected, strict=True)]
        total = float(torch.stack([e.norm() for _, e in pairs]).norm())
        apart = float(torch.stack([(g - e).norm() for g, e in pairs]).norm())
        value, other = float(eager.detach()), float(compiled)
        if not (isfinite(value) and isfinite(total)):
            return  # not comparable; the training loop stops at such a loss
        if not abs(other - value) <= tolerance * max(abs(value), 1.0):
            raise GraphRejected(f"the compiled loss is {other:.6g}, the eager one {value:.6g}")
        if not apart <= tolerance * total:
            raise GraphRejected(f"compiled and eager gradients differ by {apart:.2g}; their norm is {total:.2g}")


def _python_random_state() -> tuple[Any, ...]:
    """The state of Python's and NumPy's global generators."""
    _kind, key, *rest = np.random.get_state(legacy=True)
    return random.getstate(), np.asarray(key).tobytes(), *rest


@contextmanager
def _hide_gradients(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Hide ``.grad`` inside: an old gradient may have another dtype or shape than its tensor has by now."""
    hidden = [(t, t.grad) for t in tensors if t.is_leaf and t.grad is not None]
    for tensor, _ in hidden:
        tensor.grad = None
    try:
        yield
    finally:
        for tensor, gradient in hidden:
            if gradient.shape == tensor.shape and gradient.dtype == tensor.dtype:
                tensor.grad = gradient


@contextmanager
def preserve_state(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Restore torch's random state and the values of ``tensors`` afterwards."""
    copies = [(t, t.detach().clone()) for t in tensors]
    with preserved_random_state():
        yield
    with torch.no_grad():
        for tensor, before in copies:
            if not torch.equal(tensor, before):
                tensor.copy_(before)
