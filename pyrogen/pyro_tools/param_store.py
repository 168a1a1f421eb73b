"""A parameter store for one step, which a checkpoint can restore without running the program."""

import sys
from typing import Any, NoReturn

import pyro
import torch
from pyro.distributions import constraints
from pyro.params.param_store import ParamStoreDict
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import transform_to
from torch.distributions.constraints import Constraint, real

from pyrogen.errors import ConfigError

Description = dict[str, Any]
FIELDS = ("_params", "_param_to_name", "_constraints")
"""The dictionaries of Pyro's parameter store."""


def _constraint_classes() -> dict[str, type[Constraint]]:
    """Return the constraint classes of torch and Pyro by name."""
    found = [*vars(torch.distributions.constraints).values(), *vars(constraints).values()]
    return {c.__name__: c for c in found if isinstance(c, type) and issubclass(c, Constraint)}


class UnknownConstraint(Constraint):
    """Placeholder for a constraint that a checkpoint could not store, until ``pyro.param`` supplies it."""


@transform_to.register(UnknownConstraint)
def _raise_unknown(constraint: UnknownConstraint) -> NoReturn:
    raise ConfigError(
        "the checkpoint could not store this site's constraint, whose class is defined inside a function: call "
        "`step.setup(*batch)` first, or define the class at the top level of a module"
    )


def _find_class(name: str) -> type[Constraint] | None:
    """Find a constraint class by name, or by ``module:qualified_name`` if it is the user's own."""
    module, _, qualified = name.rpartition(":")
    if not module:
        return _constraint_classes().get(name)
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Constraint) else None


def describe(constraint: Any) -> Description | None:
    """Describe a constraint by plain values; ``None`` if its class or an attribute has no such form."""
    cls = type(constraint)
    name = next((n for n in (cls.__name__, f"{cls.__module__}:{cls.__qualname__}") if _find_class(n) is cls), None)
    if name is None or cls is UnknownConstraint:
        return None
    attributes: Description = {}
    for attribute, value in vars(constraint).items():
        if isinstance(value, Constraint):
            attributes[attribute] = {"constraint": describe(value)}
            if attributes[attribute]["constraint"] is None:
                return None
        elif isinstance(value, list | tuple) and all(isinstance(v, Constraint) for v in value):
            attributes[attribute] = {"constraints": [describe(v) for v in value]}
            if None in attributes[attribute]["constraints"]:
                return None
        elif isinstance(value, bool | int | float | str | Tensor | type(None)) or value is NotImplemented:
            attributes[attribute] = None if value is NotImplemented else value
        elif isinstance(value, list | tuple) and all(isinstance(v, int) for v in value):
            attributes[attribute] = {"numbers": list(value)}
        else:
            return None
    return {"class": name, "attributes": attributes}


def rebuild(description: Description) -> Constraint:
    """Rebuild a constraint from what ``describe`` returned.

    Raises:
        KeyError: if its class does not exist.
    """
    cls = _find_class(description["class"])
    if cls is None:
        raise KeyError(f"the constraint class {description['class']!r} does not exist: import its module, then restore")
    constraint: Constraint = cls.__new__(cls)
    for name, value in description["attributes"].items():
        if isinstance(value, dict):
            if "constraint" in value:
                value = rebuild(value["constraint"])
            elif "constraints" in value:
                value = [rebuild(v) for v in value["constraints"]]
            else:
                value = value["numbers"]
        vars(constraint)[name] = value
    return constraint


class ScopedParamStore:
    """A parameter store of one step, in use inside its ``with`` block; or Pyro's global store.

    Args:
        shared: use Pyro's global store.
    """

    def __init__(self, shared: bool = False) -> None:
        self.shared = shared
        self._own: dict[str, Any] = {field: {} for field in FIELDS}
        self._unknown_names: set[str] = set()
        self._depth = 0
        self._messenger: Any = None

    @property
    def params(self) -> dict[str, Tensor]:
        """The unconstrained tensors by site name, by reference."""
        return self._field("_params")

    @property
    def constraints(self) -> dict[str, Any]:
        """The constraint of each site."""
        return self._field("_constraints")

    def _field(self, name: str) -> dict[Any, Any]:
        live = self.shared or self._depth
        found: dict[Any, Any] = getattr(pyro.get_param_store(), name) if live else self._own[name]
        return found

    def __enter__(self) -> "ScopedParamStore":
        """Let ``pyro.param`` read and write this store."""
        self._depth += 1
        if self._depth == 1:
            if not self.shared:
                self._swap()
            if self._unknown_names:
                self._messenger = _RestoreConstraints(self._unknown_names)
                self._messenger.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._depth -= 1
        if not self._depth:
            if self._messenger is not None:
                self._messenger.__exit__(*error)
                self._messenger = None
            if not self.shared:
                self._swap()

    def _swap(self) -> None:
        """Swap the dictionaries of Pyro's global store with those of this one."""
        store = vars(pyro.get_param_store())
        for field in FIELDS:
            store[field], self._own[field] = self._own[field], store[field]

    def value(self, name: str) -> Tensor:
        """Return the constrained value of a site.

        Raises:
            KeyError: if there is no such site.
        """
        with self:
            found: Tensor = pyro.get_param_store()[name]
        return found

    def as_pyro(self) -> ParamStoreDict:
        """The sites as a store of Pyro's, with the same tensors."""
        store = ParamStoreDict()
        vars(store).update({field: self._field(field) for field in FIELDS})
        return store

    def copy(self) -> tuple[dict[str, dict[Any, Any]], set[str]]:
        """Return a copy of the contents, for ``restore``."""
        return {field: dict(self._field(field)) for field in FIELDS}, set(self._unknown_names)

    def restore(self, copy: tuple[dict[str, dict[Any, Any]], set[str]]) -> None:
        """Restore the contents from ``copy``."""
        fields, self._unknown_names = copy
        for field, items in fields.items():
            held = self._field(field)
            held.clear()
            held.update(items)

    def remove(self, name: str) -> None:
        """Remove a site if it exists."""
        value = self.params.pop(name, None)
        self.constraints.pop(name, None)
        if value is not None:
            self._field("_param_to_name").pop(value, None)

    def state_dict(self, names: dict[int, str], with_networks: bool) -> dict[str, dict[str, Any]]:
        """Return the constraint of each site and the name of the weight that holds its tensor.

        Args:
            names: the names of all weights, by the ``id`` of their tensors.
            with_networks: whether to include sites whose tensors belong to networks.
        """
        return {
            name: {"constraint": describe(self.constraints[name]), "weight": names[id(tensor)]}
            for name, tensor in self.params.items()
            if with_networks or names[id(tensor)] == f"param.{name}"
        }

    def load_state_dict(self, state: dict[str, dict[str, Any]], weights: dict[str, Tensor], device: Any) -> None:
        """Create the sites that do not exist yet.

        Args:
            state: what ``state_dict`` returned.
            weights: by name, the tensors of networks, which are used as they are, and the values of other sites,
                which are copied.
            device: the device of the copies.
        """
        for name, site in state.items():
            if name in self.params or site["weight"] not in weights:
                continue
            value = weights[site["weight"]]
            if site["weight"] == f"param.{name}":
                value = value.detach().clone().to(device).requires_grad_(value.is_floating_point())
            if site["constraint"] is None:
                self._unknown_names.add(name)
            self.params[name] = value
            self.constraints[name] = UnknownConstraint() if site["constraint"] is None else rebuild(site["constraint"])
            self._field("_param_to_name")[value] = name


class _RestoreConstraints(Messenger):
    """Takes constraints that a checkpoint could not store from the ``pyro.param`` statements of their sites."""

    is_transparent = True

    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self.names = names

    def _pyro_param(self, msg: Any) -> None:
        constraint = msg["kwargs"].get("constraint")
        if msg["name"] in self.names and constraint is not None and constraint is not real:
            pyro.get_param_store()._constraints[msg["name"]] = constraint
            self.names.discard(msg["name"])
