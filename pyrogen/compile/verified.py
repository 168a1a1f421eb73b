"""When a function may be run by a compiled graph, and by which one."""

import inspect
import logging
import threading
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor
from torch.utils._pytree import tree_flatten

from pyrogen.compile.aot_graph import NothingToTrain
from pyrogen.compile.checked_graph import CheckedGraph, Function, Gradients, Unfit
from pyrogen.compile.fingerprint import Fingerprint
from pyrogen.compile.pyro_patches import DependsOnValue
from pyrogen.compile.value_kinds import PLAIN, Meta, Opaque, meta

log = logging.getLogger(__name__)

TENSORS = [tree_flatten((0,) * n)[1] for n in range(5)]
"""How so many plain arguments are nested."""
COMPILE_AFTER = 2000
"""Eager steps before a step compiles by itself: they take about as long as the compiler does."""
GRAPHS = 8
"""How many graphs, each for arguments of one kind, are kept; what comes after them runs eagerly."""
WARM_UP = 4
"""Calls of a graph after which what it raises is an error of its own: on CUDA it is recorded in the second."""
LIBRARIES = (
    "<",
    *(str(Path(inspect.getfile(module)).parent) for module in (torch, pyro)),
    str(Path(__file__).parents[1]),
)
"""Where no code of the user is."""

TRACING = threading.RLock()
"""One thread at a time looks at programs and traces them: each puts back what it moved."""


def compiles(asked: bool | None, t: int) -> bool:
    """Whether a step compiles at its ``t``-th call: as asked, or once it has run long."""
    return t >= COMPILE_AFTER if asked is None else asked


class VerifiedFunction:
    """Values and gradients of a function by compiled graphs, one for each kind of arguments and surroundings.

    A graph is made for the shapes, types and device of the tensors, the arguments that are no tensors, and the
    ``Fingerprint`` of the programs behind the function, which is looked at in each call. Where tensors of the
    programs were replaced by others of the same kind, the graph is given these. Its values and gradients are compared
    with the eager ones, under the same random state, at its 1st, 2nd, 4th, 8th … call. If they differ, if the programs
    cannot be followed, or if the function is no fixed graph, nothing is given from then on, and one logged line names
    the cause.

    Args:
        programs: what the function runs.
        constant: names of attributes and variables of the programs that never change, and are not looked at.

    Attributes:
        refused: why nothing is given; ``None`` while graphs are.
    """

    def __init__(self, *programs: Any, constant: Collection[str] = ()) -> None:
        self.refused: str | None = None
        self.graphs: dict[Any, CheckedGraph] = {}
        self._programs, self._constant = programs, constant
        self._fingerprints: dict[tuple[int, ...], Fingerprint] = {}
        self._begun = False
        self._changed: str | None = None

    def __call__(
        self,
        function: Function,
        args: Any,
        by: Sequence[Tensor] | None = None,
        sites: Mapping[str, Tensor] | None = None,
        constraints: Mapping[str, Any] | None = None,
        begun: bool = False,
        note: Callable[[], Any] | None = None,
    ) -> Gradients | None:
        """``function(*args) -> (scalar, *extra)`` and its gradients; ``None`` if it must run eagerly.

        Args:
            function: the same one in every call.
            args: tensors, other values, and lists, tuples and dicts of them.
            by: the leaves to differentiate by; all that the scalar depends on by default.
            sites, constraints: of the parameter store in use, if there is one.
            begun: whether the function has run before. If not, the first call gives ``None``: what the programs make
                for themselves when they first run, they make eagerly.
            note: is called when a graph has been made; what it returns comes with the graph's gradients.
        """
        if self.refused is not None or not can_follow():
            return None
        if not (begun or self._begun):
            self._begun = True
            return None
        graph = None
        try:
            leaves, spec = _flatten(args)
            kinds = tuple([_kind(leaf) for leaf in leaves])
            seen = self._look([leaf for leaf, kind in zip(leaves, kinds, strict=True) if kind is None])
            before = seen.snapshot
            if seen.update(sites or {}, constraints or {}):
                self._changed = next(before.written(), None) if before else None
                for known in self.graphs.values():
                    known.stands = False
            key = kinds, spec, _globals(), by is None, seen.key
            graph = self.graphs.get(key)
            if graph is None:
                self._check_reuse(kinds)
                known_sites = set(sites or {})
                with TRACING:
                    try:
                        graph = CheckedGraph(function, leaves, spec, by, seen)
                    finally:
                        made = [name for name in sites or {} if name not in known_sites]
                        for name in made:
                            del pyro.get_param_store()[name]
                if made:  # a parameter is made eagerly, with a value; the next call makes the graph
                    return None
                graph.noted = note() if note else None
                self.graphs[key] = graph
            if not graph.stands:
                graph.bind(function, spec, seen.tensors)
            return graph(leaves)
        except (Unfit, Opaque, NothingToTrain) as error:
            self._refuse(str(error))
        except Exception as error:
            if graph is not None and graph.calls > WARM_UP:
                raise
            self._refuse(_why(error))
        return None

    def _check_reuse(self, kinds: tuple[Any, ...]) -> None:
        """Raise ``Unfit`` where another graph would serve one call only, as three before it did."""
        if len(self.graphs) == GRAPHS:
            raise Unfit(f"arguments or settings came in more than {GRAPHS} kinds")
        latest = list(self.graphs.items())[-3:]
        if len(latest) < 3 or any(graph.calls > 1 for _, graph in latest):
            return
        for i, (old, new) in enumerate(zip(latest[-1][0][0], kinds, strict=False)):
            if old != new and isinstance(new, tuple) and not isinstance(new, Meta):
                raise Unfit(f"argument {i + 1} is another {new[0].__name__} in each call: pass it as a tensor")
        raise Unfit(f"{self._changed or 'something'} is another one in each call")

    def _look(self, objects: list[Any]) -> Fingerprint:
        """The fingerprint of the programs together with the arguments that are neither tensors nor plain values."""
        mark = tuple(map(id, objects))
        seen = self._fingerprints.get(mark)
        if seen is None:
            if len(self._fingerprints) == GRAPHS:
                raise Unfit(f"arguments came in more than {GRAPHS} kinds")
            seen = self._fingerprints[mark] = Fingerprint(*self._programs, *objects, constant=self._constant)
        return seen

    def _refuse(self, why: str) -> None:
        self.refused = why
        self.graphs.clear()
        log.warning("the loss runs eagerly, not compiled: %s", why)


def can_follow() -> bool:
    """Whether no handler of the caller's stands around the programs: a graph would not run it."""
    return all(getattr(h, "param_only", False) or getattr(h, "changes_nothing", False) for h in _PYRO_STACK)


def _flatten(args: Any) -> tuple[list[Any], Any]:
    """The leaves of nested arguments and what they were nested in, which takes no time for plain tensors."""
    if all(type(arg) is Tensor for arg in args):
        return list(args), TENSORS[len(args)] if len(args) < len(TENSORS) else tree_flatten(args)[1]
    leaves, spec = tree_flatten(args)
    return leaves, spec


def _kind(leaf: Any) -> Any:
    """What a graph is specialised to of an argument; ``None`` for one that a fingerprint has to look into."""
    if isinstance(leaf, Tensor):
        return meta(leaf)
    if isinstance(leaf, PLAIN):
        return type(leaf), leaf
    if isinstance(leaf, float):
        return float, leaf.hex()
    return None


def _globals() -> tuple[Any, ...]:
    """Settings of torch that a graph has built in."""
    return (
        torch.is_autocast_enabled("cpu"),
        torch.is_autocast_enabled("cuda"),
        torch.get_autocast_dtype("cpu"),
        torch.get_default_dtype(),
        getattr(torch.utils._device, "CURRENT_DEVICE", None),
    )


def _why(error: Exception) -> str:
    """An error of torch's tracer in one line, with the line of the program that it stands at."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(LIBRARIES)]
    where = _place(frames[-1]) if frames else ""
    name = type(error).__name__
    if isinstance(error, ValueError) and "cannot be differentiated" in str(error):  # by TraceEnum_ELBO
        return "the loss depends on no parameter"
    if isinstance(error, DependsOnValue) or "DataDependent" in name:
        library = traceback.extract_tb(error.__traceback__)
        inside = [f for f in library if f.filename.startswith(LIBRARIES[2])]  # Pyro's
        return f"Python depends on the value of a tensor{where or (_place(inside[-1]) if inside else '')}"
    return f"{name}: {next(iter(str(error).strip().splitlines()), '')}{where}"


def _place(frame: traceback.FrameSummary) -> str:
    return f" ({Path(frame.filename).name}, line {frame.lineno})"
