"""All that a program can reach beside its arguments: what a compiled graph was made for.

A graph has numbers, flags, structure and code built in, and takes tensors as inputs. So it may be used only while the
former are as they were, and with the tensors that now stand where the former ones stood. A walk from the programs
finds both. What it cannot see into, or what changes by itself, makes a program *opaque*.
"""

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn

from pyrogen.compile.snapshot import Snapshot
from pyrogen.compile.state_walk import LenientWalk, Walk
from pyrogen.compile.value_kinds import Key


class Fingerprint:
    """What programs reach now: ``key``, hashable and equal while it is the same, and ``tensors``, in a fixed order.

    Args:
        programs: functions, bound methods, modules, partials, objects that can be called.
        constant: names of attributes and variables that are not looked at, because the user says that they never
            change.
        lenient: pass over what cannot be followed.

    Raises:
        Opaque: when called, if a program reaches something that cannot be followed.
    """

    def __init__(self, *programs: Any, constant: Collection[str] = (), lenient: bool = False) -> None:
        self.programs, self.constant = programs, frozenset(constant)
        self._walk: type[Walk] = LenientWalk if lenient else Walk
        self.key: Any = None
        self.tensors: list[Tensor] = []
        self.paths: list[str] = []
        self.modules: list[nn.Module] = []
        self.names: frozenset[str] = frozenset()
        self.dynamic = False
        self.snapshot: Snapshot | None = None

    def update(self, sites: Mapping[str, Tensor], constraints: Mapping[str, Any]) -> bool:
        """Look again; whether anything is another object than at the last look.

        Args:
            sites, constraints: of the parameter store in use.
        """
        if self.snapshot is not None and self.snapshot.holds(sites):
            return False
        while True:
            walk = self._walk(self.constant, self.names, self.dynamic)
            key = walk.run(self.programs, sites, constraints)
            if walk.names == self.names and walk.dynamic == self.dynamic:
                break
            self.names, self.dynamic = walk.names, walk.dynamic
        self.key, self.tensors, self.snapshot = Key(key), walk.tensors, walk.snapshot
        self.paths, self.modules = walk.paths, walk.modules
        return True

    def named_tensors(self) -> dict[str, Tensor]:
        """Every tensor by where the programs hold it, e.g. ``nets[0].weight``."""
        named: dict[str, Tensor] = {}
        for path, tensor in zip(self.paths, self.tensors, strict=True):
            name, n = path, 1
            while name in named:
                n += 1
                name = f"{path}#{n}"
            named[name] = tensor
        return named
