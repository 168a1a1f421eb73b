"""The Python state that a program depends on besides its arguments, as a hashable key.

A compiled graph has numbers, flags, structure and code built in, and takes tensors as inputs. It is valid only while
the former are unchanged, and must be given the tensors that now occupy the same positions. A walk from the programs
(``StateWalk``) finds both. State that cannot be inspected, or that changes by itself, makes a program *opaque*.
"""

from collections.abc import Collection, Mapping
from types import FunctionType
from typing import Any

from torch import Tensor, nn

from pyrogen.compile.snapshot import Snapshot
from pyrogen.compile.state_walk import StateWalk
from pyrogen.compile.value_kinds import HashedKey, OpaqueProgram


class LenientStateWalk(StateWalk):
    """A walk that skips state which cannot be inspected."""

    def visit(self, value: Any, where: str, called: bool = False) -> Any:
        """Return the key of a value; ``None`` where it cannot be inspected."""
        try:
            return super().visit(value, where, called)
        except OpaqueProgram:
            return None

    def _global(self, function: FunctionType, chain: tuple[str, ...]) -> Any:
        try:
            return super()._global(function, chain)
        except OpaqueProgram:
            return None


class Fingerprint:
    """The current state that programs can reach: a hashable ``key``, and ``tensors`` in a fixed order.

    Args:
        programs: functions, bound methods, modules, partials or callable objects.
        constant: names of attributes and variables that are skipped, because the user declares them constant.
        lenient: skip state that cannot be inspected instead of raising.

    Raises:
        OpaqueProgram: by ``update``, if a program reaches state that cannot be inspected.
    """

    def __init__(self, *programs: Any, constant: Collection[str] = (), lenient: bool = False) -> None:
        self.programs, self.constant = programs, frozenset(constant)
        self._walk: type[StateWalk] = LenientStateWalk if lenient else StateWalk
        self.key: Any = None
        self.tensors: list[Tensor] = []
        self.paths: list[str] = []
        self.modules: list[nn.Module] = []
        self.names: frozenset[str] = frozenset()
        self.dynamic = False
        self.snapshot: Snapshot | None = None

    def update(self, sites: Mapping[str, Tensor], constraints: Mapping[str, Any]) -> bool:
        """Take the fingerprint again; return whether any object was replaced since the last time.

        Args:
            sites, constraints: of the parameter store in use.
        """
        if self.snapshot is not None and self.snapshot.is_current(sites):
            return False
        while True:
            walk = self._walk(self.constant, self.names, self.dynamic)
            key = walk.run(self.programs, sites, constraints)
            if walk.names == self.names and walk.dynamic == self.dynamic:
                break
            self.names, self.dynamic = walk.names, walk.dynamic
        self.key, self.tensors, self.snapshot = HashedKey(key), walk.tensors, walk.snapshot
        self.paths, self.modules = walk.paths, walk.modules
        return True

    def named_tensors(self) -> dict[str, Tensor]:
        """Return every tensor by its path in the programs, e.g. ``nets[0].weight``."""
        named: dict[str, Tensor] = {}
        for path, tensor in zip(self.paths, self.tensors, strict=True):
            name, n = path, 1
            while name in named:
                n += 1
                name = f"{path}#{n}"
            named[name] = tensor
        return named
