"""A compiled graph that is compared with the eager function at its first call and at exponentially rarer later ones."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_unflatten

from pyrogen.compile.fingerprint import Fingerprint
from pyrogen.compile.preserving import hide_gradients, preserve_state, python_random_state
from pyrogen.compile.value_kinds import OpaqueProgram

if TYPE_CHECKING:
    from pyrogen.compile.graph.aot_graph import Graph

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
"""Largest relative error ``‖g_compiled - g_eager‖ / ‖g_eager‖`` over all gradients together, by dtype."""

NUDGE = 1e-4
"""Relative change of weights for a second comparison."""

Function = Callable[..., tuple[Tensor, ...]]


class Update(Protocol):
    """An update of weights by their gradients, as the last part of a graph.

    Attributes:
        key: what a graph with this update is specialised to.
        tensors: its arguments: numbers, which are new in each call, and what is read and written in place. The second
            is a flag that is set to 1, and no weight is changed, if the value or a gradient is not finite.
    """

    key: Any
    tensors: list[Tensor]

    def positions(self, weights: Sequence[Tensor]) -> list[int]:
        """The place of each weight in the update; raises ``NotInGraph`` if it cannot be updated in the graph."""
        ...

    def trace(
        self, value: Tensor, weights: Sequence[Tensor], gradients: Sequence[Tensor], tensors: Sequence[Tensor]
    ) -> None:
        """Update ``weights`` and ``tensors``, which stand for ``self.tensors``, in place."""
        ...

    def eager(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """The weights as an eager update would leave them; nothing is changed."""
        ...


class NotInGraph(Exception):
    """The update cannot be part of this graph; it is made eagerly."""


class Gradients(NamedTuple):
    """The values of a function and the gradients of the first value with respect to ``weights``.

    ``param_sites`` holds the names of the Pyro parameter sites that the function visited while it was traced, and
    ``updated`` says whether the weights have been updated. ``graph`` is the graph that computed this, if one did.
    """

    values: tuple[Tensor, ...]
    weights: Sequence[Tensor]
    gradients: Sequence[Tensor]
    param_sites: Any = None
    updated: bool = False
    graph: "CheckedGraph | None" = None

    @property
    def overwritten(self) -> bool:
        """Whether the next run of the graph overwrites the gradients."""
        return self.graph is not None and self.graph.graph.overwrites

    def store(self, add: bool = False) -> None:
        """Assign each gradient to ``weight.grad``, or add it to the gradient there.

        The gradient gets the memory layout of its weight: a fused optimiser iterates over both in memory order, and
        second derivatives are often transposed.
        """
        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            if add and weight.grad is not None:
                weight.grad.add_(gradient)
            elif add and self.overwritten:
                weight.grad = torch.empty_like(weight).copy_(gradient)
            elif gradient.stride() == weight.stride():
                weight.grad = gradient
            else:
                weight.grad = torch.empty_like(weight).copy_(gradient)


def is_compared(call: int) -> bool:
    """Whether compiled code is compared with eager code at this call: the first, second, fourth, eighth and so on."""
    return call & (call - 1) == 0


def hides_cause(error: Exception) -> bool:
    """Whether an error of compiled code names a call that failed, such as an allocation, and not why."""
    return isinstance(error, RuntimeError) and "API call failed" in str(error)


class GraphRejected(Exception):
    """The graph does not agree with the eager function, or too many graphs would be needed."""


class CheckedGraph:
    """A graph for one combination of argument specs, compared with the eager function at its 1st, 2nd, 4th, 8th … call.

    Args:
        function: see ``VerifiedFunction``.
        leaves, spec: its arguments, flattened.
        wrt: the leaves to differentiate with respect to; by default all that the scalar depends on.
        fingerprint: the current state that the programs behind the function can reach.
        update: an update of the weights that is part of the graph.

    Raises:
        NotInGraph: if the update cannot be part of the graph.
        OpaqueProgram: if the function modifies that state, or draws from Python's or NumPy's global generator.

    Attributes:
        calls: the number of calls so far.
        bound: whether the graph holds the tensors of the latest fingerprint.
        updates: whether the update is part of the graph.
    """

    def __init__(
        self,
        function: Function,
        leaves: list[Any],
        spec: Any,
        wrt: Sequence[Tensor] | None,
        fingerprint: Fingerprint,
        update: Update | None = None,
    ) -> None:
        self.calls, self.bound = 0, True
        self.param_sites: Any = None
        self.tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        self.constants = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.function = self._tensor_function(function, spec)
        batch = tuple(leaves[i] for i in self.tensors)
        # Not at the top: torch's tracer takes a second to import, and short runs compile nothing.
        from pyrogen.compile.graph.aot_graph import compile_with_gradients

        snapshot = fingerprint.snapshot
        assert snapshot is not None
        before = python_random_state()
        try:
            # Tracing alone updates scalar buffers, such as BatchNorm's count of batches.
            buffers = [t for t in fingerprint.tensors if t.is_leaf and not (t.requires_grad and t.ndim)]
            with preserve_state(buffers), hide_gradients(fingerprint.tensors):
                self.graph: Graph = compile_with_gradients(self.function, batch, wrt, update)
            changed = next(snapshot.changed_names(), None)
        finally:
            snapshot.restore()
        if changed is not None:
            raise OpaqueProgram(f"the program modifies {changed!r} when it runs, which a compiled graph would not do")
        if before != python_random_state():
            raise OpaqueProgram("the program draws from Python's or NumPy's generator, which a graph would freeze")
        # The position of each tensor in the fingerprint; tensors without one are constants of libraries.
        positions = {id(t): i for i, t in enumerate(fingerprint.tensors)}
        self.positions = [[positions.get(id(t)) for t in ts] for ts in (self.graph.captured, self.graph.weights)]
        self._updated = [] if update is None else update.positions(self.graph.weights)
        self.updates = update is not None
        self._served = update

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
        self.bound, self._served = True, None

    def serves(self, update: Update | None) -> bool:
        """Whether the weights of the graph still have the same places in the update."""
        if update is None or update is self._served:
            return True
        try:
            same = update.positions(self.graph.weights) == self._updated
        except NotInGraph:
            return False
        self._served = update if same else None
        return same

    def __call__(self, leaves: list[Any], update: Update | None = None) -> Gradients:
        """Return values and gradients; raise ``GraphRejected`` where they, or the update, differ from the eager ones.

        Args:
            leaves: the arguments of the function, flattened.
            update: the update of the weights, if the graph has one.
        """
        batch = [leaves[i] for i in self.tensors]
        self.calls += 1
        if is_compared(self.calls):
            self._verify(batch, update)
        values, gradients = self.graph(*batch, *(update.tensors if update else ()))
        return Gradients(values, self.graph.weights, gradients, self.param_sites, update is not None, self)

    @property
    def verifies_next(self) -> bool:
        """Whether the next call compares the graph with the eager function, in the environment of that function."""
        return is_compared(self.calls + 1)

    def _verify(self, batch: Sequence[Tensor], update: Update | None) -> None:
        """Compare values, gradients and update with the eager ones; raise ``GraphRejected`` where they differ.

        A unit within rounding error of a kink, such as that of ReLU, has one derivative here and another there.
        Before a graph is rejected it is compared again with weights moved by ``NUDGE``, which moves the unit off it.
        """
        state = [] if update is None else update.tensors
        touched = [*self.graph.captured, *state]
        for nudge in (0.0, NUDGE):
            with preserve_state(touched):
                self._move_weights(nudge)
                before = [w.detach().clone() for w in self.graph.weights] if update else []
                values, gradients = self.graph(*batch, *state)
                after = [w.detach().clone() for w in self.graph.weights] if update else []
            with preserve_state(touched), torch.enable_grad():
                self._move_weights(nudge)
                eager, *_ = self.function(*batch)
                try:
                    comparable = self._compare(values[0], gradients, eager)
                except GraphRejected:
                    if nudge:
                        raise
                    continue
            if update is not None and comparable and not nudge and not update.tensors[1]:  # a set flag prevents it
                self._compare_update(update, gradients, before, after)
            return

    @torch.no_grad()
    def _move_weights(self, nudge: float) -> None:
        """Multiply each entry of the weights by ``1 + nudge ε``, ``ε ~ N(0, 1)``, the same at each call."""
        draws = torch.Generator().manual_seed(0)
        for weight in self.graph.weights if nudge else ():
            noise = torch.randn(weight.shape, generator=draws, dtype=weight.dtype)
            weight.mul_(1 + nudge * noise.to(weight.device))

    def _compare_update(
        self, update: Update, gradients: Sequence[Tensor], before: Sequence[Tensor], after: Sequence[Tensor]
    ) -> None:
        """Compare the weights after an update with those of the eager update by the same gradients."""
        expected = update.eager(self.graph.weights, gradients)
        moved, apart = (
            float(torch.stack([(a - b).norm() for a, b in zip(*pair, strict=True)]).norm())
            for pair in ((expected, before), (after, expected))
        )
        size = float(torch.stack([w.norm() for w in before]).norm())
        if not apart <= TOLERANCE[torch.float32] * moved + 1e-6 * size:
            raise GraphRejected(f"compiled and eager weights differ by {apart:.2g} after an update of norm {moved:.2g}")

    def _compare(self, compiled: Tensor, gradients: Sequence[Tensor], eager: Tensor) -> bool:
        """Raise ``GraphRejected`` if loss or gradients differ; return whether they are finite and can be compared."""
        expected = torch.autograd.grad(eager, self.graph.weights, allow_unused=True)
        low = torch.is_autocast_enabled(eager.device.type)
        dtype = torch.get_autocast_dtype(eager.device.type) if low else eager.dtype
        tolerance = TOLERANCE[torch.bfloat16 if dtype is torch.float32 and _rounds_products(eager.device) else dtype]
        pairs = [(g, torch.zeros_like(g) if e is None else e) for g, e in zip(gradients, expected, strict=True)]
        total = float(torch.stack([e.norm() for _, e in pairs]).norm())
        apart = float(torch.stack([(g - e).norm() for g, e in pairs]).norm())
        value, other = float(eager.detach()), float(compiled)
        if not (isfinite(value) and isfinite(total)):
            return False  # the training loop stops at such a loss
        if not abs(other - value) <= tolerance * max(abs(value), 1.0):
            raise GraphRejected(f"the compiled loss is {other:.6g}, the eager one {value:.6g}")
        if not apart <= tolerance * total:
            raise GraphRejected(f"compiled and eager gradients differ by {apart:.2g}; their norm is {total:.2g}")
        return True


def _rounds_products(device: torch.device) -> bool:
    """Whether torch rounds the factors of float32 matrix products there, to bfloat16 or TF32."""
    backend: Any = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    return backend.matmul.fp32_precision in ("bf16", "tf32")
