"""What a pair of programs trains: networks, parameter sites and other leaves, by name."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.compile.fingerprint import Fingerprint
from pyrogen.compile.value_kinds import OpaqueProgram
from pyrogen.pyro_tools.param_store import ScopedParamStore
from pyrogen.pyro_tools.parameters import modules_of, unique, weights_of
from pyrogen.pyro_tools.programs import Program


class Owned:
    """The parameters of a pair, whoever holds them.

    Args:
        model, guide: the pair.
        loss: what it is trained by.
        shared: whether the sites are Pyro's global ones.

    Attributes:
        networks: that the programs are, are methods of or refer to directly, by name.
        sites: ``pyro.param`` and ``pyro.module`` sites.
        strays: leaves of the loss that no network and no site owns.
    """

    def __init__(self, model: Program, guide: Program, loss: Any, shared: bool) -> None:
        self.sites = ScopedParamStore(shared)
        self.networks = modules_of(model, "model")
        known = {id(m) for m in self.networks.values()}
        self.networks |= {name: m for name, m in modules_of(guide, "guide").items() if id(m) not in known}
        if isinstance(loss, nn.Module):  # an objective with a schedule keeps its place in it
            self.networks["loss"] = loss
        self.strays: dict[str, Tensor] = {}
        self._reach = Fingerprint(model, guide, loss, lenient=True)

    def modules(self) -> Iterator[nn.Module]:
        """Every network that is reached, and its parts."""
        found = {id(part): part for module in self.networks.values() for part in module.modules()}
        if self._look():
            found |= {id(module): module for module in self._reach.modules}
        yield from found.values()

    def weights(self) -> dict[str, Tensor]:
        """All that was learned, by name; the live tensors."""
        sites = {f"param.{name}": t for name, t in self.sites.params.items()}
        return unique(weights_of(self.networks) | sites | self.strays | self._stray_buffers())

    def _stray_buffers(self) -> dict[str, Tensor]:
        """What networks that are only found by looking, in a list for example, keep beside their parameters."""
        if not self._look():
            return {}
        parts = [(m, m._non_persistent_buffers_set) for m in self._reach.modules]
        kept = {id(b) for m, passing in parts for n, b in m._buffers.items() if b is not None and n not in passing}
        return {f"leaf.{path}": t for path, t in self._reach.named_tensors().items() if id(t) in kept}

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return next((t.device for t in self.weights().values()), torch.device("cpu"))

    def name_strays(self, found: Iterable[Tensor]) -> None:
        """Give a name to leaves that no network and no site owns: where the programs hold them, if that is seen."""
        owned = {id(t) for t in self.weights().values()}
        paths = self._paths()
        for tensor in found:
            if id(tensor) not in owned:
                owned.add(id(tensor))
                name = paths.get(id(tensor), str(len(self.strays)))
                self.strays[f"leaf.{name}"] = tensor

    def _look(self) -> bool:
        """Whether all that the programs reach is seen; it is then up to date."""
        try:
            self._reach.update(self.sites.params, self.sites.constraints)
        except OpaqueProgram:
            return False
        return True

    def reached(self) -> list[Tensor]:
        """Every tensor that the programs hold and that requires a gradient."""
        return [t for t in self._reach.tensors if t.requires_grad] if self._look() else []

    def _paths(self) -> dict[int, str]:
        return {id(t): path for path, t in self._reach.named_tensors().items()} if self._look() else {}

    def find_strays(self, weights: Iterable[str]) -> None:
        """Take up the strays among the names of saved weights, from where the programs hold them."""
        wanted = {name for name in weights if name.startswith("leaf.")} - self.strays.keys()
        if wanted and self._look():
            held = {f"leaf.{path}": t for path, t in self._reach.named_tensors().items()}
            self.strays |= {name: held[name] for name in weights if name in wanted and name in held}
