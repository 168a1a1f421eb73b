"""The parameters that a pair of Pyro programs trains, by name: networks, parameter sites and other leaf tensors."""

import logging
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.compile.fingerprint import Fingerprint
from pyrogen.compile.value_kinds import OpaqueProgram
from pyrogen.pyro_tools.param_store import ScopedParamStore
from pyrogen.pyro_tools.parameters import modules_of, unique, weights_of
from pyrogen.pyro_tools.programs import Program

log = logging.getLogger(__name__)


class TrainedParameters:
    """The parameters of a pair of programs, wherever they are stored.

    Args:
        model, guide: the pair.
        loss: the loss; as a module, its buffers are part of the state.
        shared: whether the sites are kept in Pyro's global parameter store.

    Attributes:
        networks: by name, the modules that the programs are, are methods of or refer to directly.
        sites: ``pyro.param`` and ``pyro.module`` sites.
        leaves: other leaf tensors that the loss depends on, by name.
    """

    def __init__(self, model: Program, guide: Program, loss: Any, shared: bool) -> None:
        self.sites = ScopedParamStore(shared)
        self.networks = modules_of(model, "model")
        known = {id(m) for m in self.networks.values()}
        self.networks |= {name: m for name, m in modules_of(guide, "guide").items() if id(m) not in known}
        if isinstance(loss, nn.Module):  # a schedule's position is a buffer of the objective
            self.networks["loss"] = loss
        self.leaves: dict[str, Tensor] = {}
        self._transient: list[weakref.ref[Tensor]] = []
        self._warned = False
        self._reach = Fingerprint(model, guide, loss, lenient=True)

    def modules(self) -> Iterator[nn.Module]:
        """Every module that the programs reach, and its submodules."""
        found = {id(part): part for module in self.networks.values() for part in module.modules()}
        if self._refresh():
            found |= {id(module): module for module in self._reach.modules}
        yield from found.values()

    def weights(self) -> dict[str, Tensor]:
        """Parameters, buffers and unconstrained sites by name; the tensors themselves, not copies."""
        sites = {f"param.{name}": t for name, t in self.sites.params.items()}
        return unique(weights_of(self.networks) | sites | self.leaves | self._found_buffers())

    def _found_buffers(self) -> dict[str, Tensor]:
        """Persistent buffers of modules that are found by walking the programs' state, e.g. in a list."""
        if not self._refresh():
            return {}
        parts = [(m, m._non_persistent_buffers_set) for m in self._reach.modules]
        kept = {id(b) for m, passing in parts for n, b in m._buffers.items() if b is not None and n not in passing}
        return {f"leaf.{path}": t for path, t in self._reach.named_tensors().items() if id(t) in kept}

    @property
    def device(self) -> torch.device:
        """The device of the first parameter; the CPU if there is none."""
        return next((t.device for t in self.weights().values()), torch.device("cpu"))

    def register(self, found: Iterable[Tensor]) -> None:
        """Register leaves of no network and no site, named by their path in the programs' state if it is known."""
        owned = {id(t) for t in self.weights().values()}
        paths = self._paths()
        for tensor in found:
            if id(tensor) not in owned:
                owned.add(id(tensor))
                name = paths.get(id(tensor), str(len(self.leaves)))
                self.leaves[f"leaf.{name}"] = tensor

    def _refresh(self) -> bool:
        """Update the walk over the programs' state; whether all of it could be followed."""
        try:
            self._reach.update(self.sites.params, self.sites.constraints)
        except OpaqueProgram:
            return False
        return True

    def reached(self) -> list[Tensor]:
        """Every tensor in the programs' state that requires a gradient; none if the state cannot be followed."""
        return [t for t in self._reach.tensors if t.requires_grad] if self._refresh() else []

    def zero_grad(self) -> None:
        """Remove the gradients of all parameters that exist."""
        for tensor in (*self.weights().values(), *self.reached()):
            if tensor.is_leaf:
                tensor.grad = None

    def _paths(self) -> dict[int, str]:
        return {id(t): path for path, t in self._reach.named_tensors().items()} if self._refresh() else {}

    def register_saved(self, weights: Iterable[str]) -> None:
        """Register the leaves named in saved weights, from the programs' state."""
        wanted = {name for name in weights if name.startswith("leaf.")} - self.leaves.keys()
        if wanted and self._refresh():
            held = {f"leaf.{path}": t for path, t in self._reach.named_tensors().items()}
            self.leaves |= {name: held[name] for name in weights if name in wanted and name in held}

    def persistent(self, found: list[Tensor]) -> list[Tensor]:
        """The leaves that exist beyond one step: a parameter that the program creates in each run cannot be trained."""
        held = {id(t) for t in (*self.weights().values(), *self.reached())}
        before, passing = self._transient, [t for t in found if id(t) not in held]
        self._transient = [weakref.ref(t) for t in passing]
        lasting = [t for t in found if id(t) in held or any(t is ref() for ref in before)]
        if before and len(lasting) < len(found) and not self._warned:
            self._warned = True
            shape = tuple(next(t for t in passing if all(t is not ref() for ref in before)).shape)
            log.warning(
                "the program creates a parameter of shape %s in every step; it is not trained: "
                "create it outside the program, or use pyro.param",
                shape,
            )
        return lasting
