"""A compiled graph that is compared with the eager function before it is trusted, and now and then afterwards."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_unflatten

from pyrogen.compile.aot_graph import Graph, compile_gradient
from pyrogen.compile.fingerprint import Fingerprint
from pyrogen.compile.value_kinds import Opaque

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
"""How far compiled gradients may be from eager ones, in norm and relative to all of them together."""

Function = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Gradients:
    """What a function gave: its values, the first of which is differentiated, and its gradients by ``weights``.

    ``noted`` is what was noted of the function while its graph was made.
    """

    values: tuple[Tensor, ...]
    weights: Sequence[Tensor]
    gradients: Sequence[Tensor]
    noted: Any = None

    def store(self, add: bool = False) -> None:
        """Put each gradient where an optimiser looks for it, or add it to what is there.

        It is laid out in memory as its weight is: a fused optimiser walks through both side by side, and a second
        derivative often comes transposed.
        """
        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            if add and weight.grad is not None:
                weight.grad.add_(gradient)
            elif gradient.stride() == weight.stride():
                weight.grad = gradient
            else:
                weight.grad = torch.empty_like(weight).copy_(gradient)


class Unfit(Exception):
    """The graph is not, or no longer, what the eager function is."""


class CheckedGraph:
    """A graph for arguments of one kind, compared with the eager function at its 1st, 2nd, 4th, 8th … call.

    Args:
        function: see ``VerifiedFunction``.
        leaves, spec: its arguments, flattened.
        by: the leaves to differentiate by; all that the scalar depends on by default.
        seen: what the programs behind the function reach now.

    Raises:
        Opaque: if the function changes what it reaches, or draws by a generator that a graph cannot follow.

    Attributes:
        calls: how often it was called.
        stands: whether the tensors of the surroundings are those that the graph was last given.
    """

    def __init__(
        self, function: Function, leaves: list[Any], spec: Any, by: Sequence[Tensor] | None, seen: Fingerprint
    ) -> None:
        self.calls, self.stands = 0, True
        self.noted: Any = None
        self.tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        self.rest = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.function = self._of_tensors(function, spec)
        batch = tuple(leaves[i] for i in self.tensors)
        snapshot = seen.snapshot
        assert snapshot is not None
        before = _python_draws()
        try:
            # Tracing alone moves a scalar buffer, such as a count of calls.
            still = [t for t in seen.tensors if not t.requires_grad and t.is_leaf]
            with unmoved(still), _no_gradients(seen.tensors):
                self.graph: Graph = compile_gradient(self.function, batch, by)
            written = next(snapshot.written(), None)
        finally:
            snapshot.restore()
        if written is not None:
            raise Opaque(f"the program changes {written!r} when it runs, which a graph would not do")
        if before != _python_draws():
            raise Opaque("the program draws by Python's or numpy's generator, which a graph would repeat for ever")
        # Where each tensor stands among those that the programs reach; the rest are constants of libraries.
        places = {id(t): i for i, t in enumerate(seen.tensors)}
        self.places = [[places.get(id(t)) for t in ts] for ts in (self.graph.captured, self.graph.weights)]

    def _of_tensors(self, function: Function, spec: Any) -> Callable[..., tuple[Tensor, ...]]:
        def of_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
            full = list(self.rest)
            for i, tensor in zip(self.tensors, tensors, strict=True):
                full[i] = tensor
            return function(*tree_unflatten(full, spec))

        return of_tensors

    def bind(self, function: Function, spec: Any, tensors: Sequence[Tensor]) -> None:
        """Give the graph the tensors that now stand where those stood that it was made with."""
        self.function = self._of_tensors(function, spec)
        for held, places in zip((self.graph.captured, self.graph.weights), self.places, strict=True):
            held[:] = [t if place is None else tensors[place] for t, place in zip(held, places, strict=True)]
        self.stands = True

    def __call__(self, leaves: list[Any]) -> Gradients:
        """Values and gradients; raises ``Unfit`` where they are not the eager ones."""
        batch = [leaves[i] for i in self.tensors]
        self.calls += 1
        if self.calls & (self.calls - 1) == 0:
            with unmoved(self.graph.captured):
                values, gradients = self.graph(*batch)
            with unmoved(self.graph.captured), torch.enable_grad():
                eager, *_ = self.function(*batch)
                self._compare(values[0], gradients, eager)
        values, gradients = self.graph(*batch)
        return Gradients(values, self.graph.weights, gradients, self.noted)

    def _compare(self, compiled: Tensor, gradients: Sequence[Tensor], eager: Tensor) -> None:
        expected = torch.autograd.grad(eager, self.graph.weights, allow_unused=True)
        low = torch.is_autocast_enabled(eager.device.type)
        tolerance = TOLERANCE[torch.get_autocast_dtype(eager.device.type) if low else eager.dtype]
        pairs = [(g, torch.zeros_like(g) if e is None else e) for g, e in zip(gradients, expected, strict=True)]
        total = float(torch.stack([e.norm() for _, e in pairs]).norm())
        apart = float(torch.stack([(g - e).norm() for g, e in pairs]).norm())
        value, other = float(eager.detach()), float(compiled)
        if not (isfinite(value) and isfinite(total)):
            return  # nothing to compare by; the loop stops at such a loss
        if not abs(other - value) <= tolerance * max(abs(value), 1.0):
            raise Unfit(f"the compiled loss is {other:.6g}, the eager one {value:.6g}")
        if not apart <= tolerance * total:
            raise Unfit(f"compiled and eager gradients are {apart:.2g} apart, of {total:.2g} in norm")


def _python_draws() -> tuple[Any, ...]:
    """The state of Python's and numpy's global generators."""
    _kind, key, *rest = np.random.get_state(legacy=True)
    return random.getstate(), np.asarray(key).tobytes(), *rest


@contextmanager
def _no_gradients(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Old gradients, perhaps of another type or shape than their tensors are now, are not looked at inside."""
    kept = [(t, t.grad) for t in tensors if t.is_leaf and t.grad is not None]
    for tensor, _ in kept:
        tensor.grad = None
    try:
        yield
    finally:
        for tensor, gradient in kept:
            if gradient.shape == tensor.shape and gradient.dtype == tensor.dtype:
                tensor.grad = gradient


@contextmanager
def unmoved(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Put random state, and what a program writes into, back as they were."""
    kept = [(t, t.detach().clone()) for t in tensors]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield
    with torch.no_grad():
        for tensor, before in kept:
            if not torch.equal(tensor, before):
                tensor.copy_(before)
