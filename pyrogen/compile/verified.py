"""Functions that run as compiled graphs, verified against eager execution, with a fallback to it."""

import inspect
import logging
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor
from torch.utils._pytree import tree_flatten

from pyrogen import ranks
from pyrogen.compile.checked_graph import (
    CheckedGraph,
    Function,
    Gradients,
    GraphRejected,
    NotInGraph,
    Update,
    hides_cause,
)
from pyrogen.compile.fingerprint import Fingerprint
from pyrogen.compile.library_checks import DependsOnTensorValue, NothingToTrain
from pyrogen.compile.value_kinds import PLAIN_TYPES, OpaqueProgram, TensorSpec, tensor_spec

log = logging.getLogger(__name__)

FLAT_SPECS = [tree_flatten((0,) * n)[1] for n in range(5)]
"""The tree specs of 0 to 4 arguments that are not nested."""
COMPILE_AFTER = 2000
"""The number of eager steps after which a step compiles by default: they take about as long as compilation does."""
MAX_GRAPHS = 8
"""The most graphs, each for one combination of argument specs and state; beyond that, execution is eager."""
WARM_UP = 4
"""Calls of a graph after which its exceptions are raised; before, they cause the fallback to eager execution."""
LIBRARY_PATHS = (
    "<",
    *(str(Path(inspect.getfile(module)).parent) for module in (torch, pyro)),
    str(Path(__file__).parents[1]),
)
"""Directories without user code; "<" stands for generated code."""

TRACE_LOCK = threading.RLock()
"""Only one thread traces at a time: tracing modifies program state and restores it."""
_compiling = [0.0]


def compiling_seconds() -> float:
    """The time that this process has spent on tracing and compiling graphs so far."""
    return _compiling[0]


@contextmanager
def compilation() -> Iterator[None]:
    """Trace and compile inside: one thread at a time, and the time counts in ``compiling_seconds``."""
    with TRACE_LOCK:
        began = time.perf_counter()
        try:
            yield
        finally:
            _compiling[0] += time.perf_counter() - began


def should_compile(requested: bool | None, t: int) -> bool:
    """Whether a step compiles at its ``t``-th call: as requested, by default after ``COMPILE_AFTER`` calls."""
    return t >= COMPILE_AFTER if requested is None else requested


class VerifiedFunction:
    """A function whose values and gradients are computed by compiled graphs that are verified against eager ones.

    A graph is specialised to the shapes, dtypes and device of tensor arguments, the values of other arguments, and
    the ``Fingerprint`` of the programs behind the function, which is taken in each call. Tensors of the programs that
    were replaced by others of the same spec become inputs of the same graph. Values and gradients are compared with
    the eager ones, under the same random state, at the 1st, 2nd, 4th, 8th … call of each graph. If they differ, if a
    program is opaque, or if the function cannot be traced, every later call returns ``None``, and one logged line
    gives the reason.

    Args:
        programs: the programs that the function runs.
        constant: names of attributes and variables of the programs that never change and are not checked.

    Attributes:
        refused: the reason for the fallback to eager execution; ``None`` while graphs are used.
    """

    def __init__(self, *programs: Any, constant: Collection[str] = ()) -> None:
        self.refused: str | None = None
        self.graphs: dict[Any, CheckedGraph] = {}
        self._programs, self._constant = programs, constant
        self._fingerprints: dict[tuple[int, ...], Fingerprint] = {}
        self._eager_updates: set[Any] = set()
        self._begun = False
        self._changed: str | None = None

    def __call__(
        self,
        function: Function,
        args: Any,
        wrt: Sequence[Tensor] | None = None,
        sites: Mapping[str, Tensor] | None = None,
        constraints: Mapping[str, Any] | None = None,
        begun: bool = False,
        get_param_sites: Callable[[], Any] | None = None,
        update: Update | None = None,
    ) -> Gradients | None:
        """Run ``function(*args) -> (scalar, *extra)`` with gradients; return ``None`` if it must run eagerly.

        Args:
            function: the same one in every call.
            args: tensors, other values, and lists, tuples and dicts of them.
            wrt: the leaves to differentiate with respect to; by default all that the scalar depends on.
            sites, constraints: of the parameter store in use, if there is one.
            begun: whether the function has run before. If not, the first call returns ``None``, so that lazily
                created parameters are created eagerly.
            get_param_sites: called once a graph has been traced; its result is attached to the graph's gradients.
            update: an update of the weights to be made by the graph, if it can be part of it.
        """
        if self.refused is not None or not handlers_are_transparent():
            return None
        if not (begun or self._begun):
            self._begun = True
            return None
        graph = None
        try:
            leaves, spec = _flatten(args)
            argument_keys = tuple([argument_key(leaf) for leaf in leaves])
            objects = [leaf for leaf, kind in zip(leaves, argument_keys, strict=True) if kind is None]
            fingerprint = self._fingerprint(objects, sites or {}, constraints or {})
            state = argument_keys, spec, _torch_settings(), wrt is None, fingerprint.key
            if update is not None and (state, update.key) in self._eager_updates:
                update = None
            key = state, update.key if update else None
            graph = self.graphs.get(key)
            if graph is not None and not graph.bound:
                graph.bind(function, spec, fingerprint.tensors)
            if graph is None or not graph.serves(update):
                self._check_reuse(argument_keys)
                graph = self._trace(function, leaves, spec, wrt, fingerprint, {} if sites is None else sites, update)
                if graph is None:
                    return None
                graph.param_sites = get_param_sites() if get_param_sites else None
                if update is not None and not graph.updates:
                    self._eager_updates.add(key)
                self.graphs[state, update.key if update and graph.updates else None] = graph
            return graph(leaves, update if graph.updates else None)
        except (GraphRejected, OpaqueProgram, NothingToTrain) as error:
            self._fall_back(str(error))
        except Exception as error:
            self._recover(error, graph)
        return None

    @staticmethod
    def _trace(
        function: Function,
        leaves: list[Any],
        spec: Any,
        wrt: Sequence[Tensor] | None,
        fingerprint: Fingerprint,
        sites: Mapping[str, Tensor],
        update: Update | None,
    ) -> CheckedGraph | None:
        """Trace a graph, without the update if that cannot be part of it.

        Returns ``None`` if tracing created a parameter site, which an eager call must create with a value.
        """
        known_sites = set(sites)
        with compilation():
            try:
                try:
                    graph = CheckedGraph(function, leaves, spec, wrt, fingerprint, update)
                except NotInGraph:
                    graph = CheckedGraph(function, leaves, spec, wrt, fingerprint)
            finally:
                made = [name for name in sites if name not in known_sites]
                for name in made:
                    del pyro.get_param_store()[name]
        return None if made else graph

    def _check_reuse(self, argument_keys: tuple[Any, ...]) -> None:
        """Raise ``GraphRejected`` if the latest three graphs each served a single call."""
        if len(self.graphs) == MAX_GRAPHS:
            raise GraphRejected(f"more than {MAX_GRAPHS} combinations of arguments and settings need a graph each")
        latest = list(self.graphs.items())[-3:]
        if len(latest) < 3 or any(graph.calls > 1 for _, graph in latest):
            return
        for i, (old, new) in enumerate(zip(latest[-1][0][0][0], argument_keys, strict=False)):
            if old != new and isinstance(new, tuple) and not isinstance(new, TensorSpec):
                raise GraphRejected(f"argument {i + 1} is a different {new[0].__name__} in each call: pass a tensor")
        raise GraphRejected(f"{self._changed or 'the state of the program'} changes in each call")

    def _fingerprint(
        self, objects: list[Any], sites: Mapping[str, Tensor], constraints: Mapping[str, Any]
    ) -> Fingerprint:
        """Return the present fingerprint of the programs and of these arguments, neither tensors nor plain values."""
        identities = tuple(map(id, objects))
        fingerprint = self._fingerprints.get(identities)
        if fingerprint is None:
            if len(self._fingerprints) == MAX_GRAPHS:
                raise GraphRejected(f"more than {MAX_GRAPHS} combinations of arguments need a graph each")
            fingerprint = self._fingerprints[identities] = Fingerprint(
                *self._programs, *objects, constant=self._constant
            )
        before = fingerprint.snapshot
        if fingerprint.update(sites, constraints):
            self._changed = next(before.changed_names(), None) if before else None
            for graph in self.graphs.values():
                graph.bound = False
        return fingerprint

    def _recover(self, error: Exception, graph: CheckedGraph | None) -> None:
        """Fall back for good before a graph is warm, for this step if the error hides its cause; else raise it."""
        if graph is None or graph.calls <= WARM_UP:
            self._fall_back(_describe_error(error))
        elif hides_cause(error):
            log.warning("compiled code failed, and the step runs eagerly: %s", str(error).splitlines()[0])
        else:
            raise error

    def _fall_back(self, why: str) -> None:
        self.refused = why
        self.graphs.clear()
        log.warning("the loss runs eagerly, not compiled: %s", why)


def handlers_are_transparent() -> bool:
    """Whether all active Pyro handlers leave the programs unchanged: a graph would not run them."""
    return all(getattr(h, "param_only", False) or getattr(h, "is_transparent", False) for h in _PYRO_STACK)


def _flatten(args: Any) -> tuple[list[Any], Any]:
    """Return the leaves and the tree spec of nested arguments; plain tensors take a fast path."""
    if all(type(arg) is Tensor for arg in args):
        return list(args), FLAT_SPECS[len(args)] if len(args) < len(FLAT_SPECS) else tree_flatten(args)[1]
    leaves, spec = tree_flatten(args)
    return leaves, spec


def argument_key(leaf: Any) -> Any:
    """Return what a graph is specialised to for an argument; ``None`` if its state must be fingerprinted."""
    if isinstance(leaf, Tensor):
        return tensor_spec(leaf)
    if isinstance(leaf, PLAIN_TYPES):
        return type(leaf), leaf
    if isinstance(leaf, float):
        return float, leaf.hex()
    return None


def _torch_settings() -> tuple[Any, ...]:
    """Return the global settings that a graph is specialised to."""
    return (
        ranks.share(),
        torch.is_autocast_enabled("cpu"),
        torch.is_autocast_enabled("cuda"),
        torch.get_autocast_dtype("cpu"),
        torch.get_default_dtype(),
        getattr(torch.utils._device, "CURRENT_DEVICE", None),
    )


def _describe_error(error: Exception) -> str:
    """Return an error of torch's tracer in one line, with the user's line of code that caused it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(LIBRARY_PATHS)]
    where = _location(frames[-1]) if frames else ""
    name = type(error).__name__
    if isinstance(error, ValueError) and "cannot be differentiated" in str(error):  # by TraceEnum_ELBO
        return "the loss depends on no parameter"
    if isinstance(error, DependsOnTensorValue) or "DataDependent" in name:
        library = traceback.extract_tb(error.__traceback__)
        inside = [f for f in library if f.filename.startswith(LIBRARY_PATHS[2])]  # Pyro's
        return f"Python code depends on the value of a tensor{where or (_location(inside[-1]) if inside else '')}"
    return f"{name}: {next(iter(str(error).strip().splitlines()), '')}{where}"


def _location(frame: traceback.FrameSummary) -> str:
    return f" ({Path(frame.filename).name}, line {frame.lineno})"
