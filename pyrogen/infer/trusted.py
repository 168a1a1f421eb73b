"""A compiled graph that is compared with the eager function before it is trusted, and now and then afterwards."""

import inspect
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

import pyrogen
from pyrogen.infer.graphs import Graph, compile_gradient
from pyrogen.infer.settings import Settings

log = logging.getLogger(__name__)

COMPILE_AFTER = 2000
"""Eager steps before a step compiles by itself: they take about as long as the compiler does."""
GRAPHS = 8
"""How many graphs, each for arguments of one kind, are kept; what comes after them runs eagerly."""
WARM_UP = 4
"""Calls of a graph after which what it raises is an error of its own: on CUDA it is recorded in the second."""
LIBRARIES = ("<", *(str(Path(inspect.getfile(module)).parent) for module in (torch, pyro, pyrogen)))
"""Where no code of the user is."""
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
"""How far compiled gradients may be from eager ones, in norm and relative to all of them together."""

Function = Callable[..., tuple[Tensor, ...]]


def compiles(asked: bool | None, t: int) -> bool:
    """Whether a step compiles at its ``t``-th call: as asked, or once it has run long."""
    return t >= COMPILE_AFTER if asked is None else asked


@dataclass(frozen=True)
class Gradients:
    """What a function gave: its values, the first of which is differentiated, and its gradients by ``weights``."""

    values: tuple[Tensor, ...]
    weights: Sequence[Tensor]
    gradients: Sequence[Tensor]

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


class Trusted:
    """Values and gradients of a function by compiled graphs, one for each kind of arguments.

    The first call gives nothing: what the function makes for itself when it first runs, it shall make eagerly. Then
    a graph is made for the shapes, types and device of the tensors, the settings of the programs behind the function,
    and the arguments that are no tensors; when one of these changes, another. A graph's values and gradients are
    compared with the eager ones, under the same random state, at its 1st, 2nd, 4th, 8th … call. If they differ, or
    the function is no fixed graph, nothing is given from then on, and one logged line names the cause.

    Args:
        programs: what the function runs, for its settings.

    Attributes:
        refused: why nothing is given; ``None`` while graphs are.
    """

    def __init__(self, *programs: Any) -> None:
        self.refused: str | None = None
        self.graphs: dict[Any, _Checked] = {}
        self._programs = programs
        self._settings: Settings | None = None

    def __call__(
        self, function: Function, args: tuple[Any, ...], by: Sequence[Tensor] | None = None, around: Any = None
    ) -> Gradients | None:
        """``function(*args) -> (scalar, *extra)`` and its gradients; ``None`` if it must run eagerly.

        Args:
            function: the same one in every call.
            args: tensors, and hashable settings.
            by: the leaves to differentiate by; all that the scalar depends on by default.
            around: hashable; what else a graph is made for.
        """
        if self.refused is not None:
            return None
        if self._settings is None:
            self._settings = Settings(*self._programs)
            return None
        graph = None
        try:
            kinds = tuple((a.shape, a.dtype, a.device) if isinstance(a, Tensor) else (type(a), a) for a in args)
            cast = torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda"), torch.get_default_dtype()
            key = kinds, cast, around, self._settings()
            graph = self.graphs.get(key)
            if graph is None:
                if len(self.graphs) == GRAPHS:
                    raise _Unfit(f"arguments or settings came in more than {GRAPHS} kinds")
                # Tracing alone moves a scalar buffer, such as a count of calls.
                with _unmoved([b for m in self._settings.modules for b in m._buffers.values() if b is not None]):
                    graph = self.graphs[key] = _Checked(function, args, by)
            return graph(args)
        except _Unfit as error:
            self._refuse(str(error))
        except Exception as error:
            if graph is not None and graph.calls > WARM_UP:
                raise
            self._refuse(_why(error))
        return None

    def _refuse(self, why: str) -> None:
        self.refused = why
        self.graphs.clear()
        log.warning("the loss runs eagerly, not compiled: %s", why)


class _Unfit(Exception):
    """The graph is not, or no longer, what the eager function is."""


class _Checked:
    """A graph for arguments of one kind."""

    def __init__(self, function: Function, args: tuple[Any, ...], by: Sequence[Tensor] | None) -> None:
        self.calls = 0
        self.tensors = [i for i, value in enumerate(args) if isinstance(value, Tensor)]

        def of_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
            full = list(args)
            for i, tensor in zip(self.tensors, tensors, strict=True):
                full[i] = tensor
            return function(*full)

        self.function = of_tensors
        self.graph: Graph = compile_gradient(of_tensors, tuple(args[i] for i in self.tensors), by)

    def __call__(self, args: tuple[Any, ...]) -> Gradients:
        batch = [args[i] for i in self.tensors]
        self.calls += 1
        if self.calls & (self.calls - 1) == 0:
            with _unmoved(self.graph.captured):
                values, gradients = self.graph(*batch)
            with _unmoved(self.graph.captured), torch.enable_grad(), pyro.validation_enabled(False):
                eager, *_ = self.function(*batch)
                self._compare(values[0], gradients, eager)
        values, gradients = self.graph(*batch)
        return Gradients(values, self.graph.weights, gradients)

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
            raise _Unfit(f"the compiled loss is {other:.6g}, the eager one {value:.6g}")
        if not apart <= tolerance * total:
            raise _Unfit(f"compiled and eager gradients are {apart:.2g} apart, of {total:.2g} in norm")


def _why(error: Exception) -> str:
    """An error of torch's tracer in one line, with the line of the program that it stands at."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(LIBRARIES)]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    name = type(error).__name__
    if "DataDependent" in name:
        return f"Python depends on the value of a tensor{where}"
    return f"{name}: {next(iter(str(error).strip().splitlines()), '')}{where}"


@contextmanager
def _unmoved(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Put random state, and what a program writes into, back as they were."""
    kept = [(t, t.detach().clone()) for t in tensors]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield
    with torch.no_grad():
        for tensor, before in kept:
            if not torch.equal(tensor, before):
                tensor.copy_(before)
