"""The parameter store of one step: its sites, and what is needed to make them again without running a program."""

import sys
from typing import Any, NoReturn

import pyro
import torch
from pyro.distributions import constraints
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import transform_to
from torch.distributions.constraints import Constraint, real

from pyrogen.errors import ConfigError

Description = dict[str, Any]
FIELDS = ("_params", "_param_to_name", "_constraints")
"""What a parameter store of Pyro is made of."""


def _classes() -> dict[str, type[Constraint]]:
    """The classes of torch's and Pyro's constraints by name."""
    found = [*vars(torch.distributions.constraints).values(), *vars(constraints).values()]
    return {c.__name__: c for c in found if isinstance(c, type) and issubclass(c, Constraint)}


class Unknown(Constraint):
    """Stands for a constraint that a checkpoint could not hold, until a ``pyro.param`` statement says it."""


@transform_to.register(Unknown)
def _unknown(constraint: Unknown) -> NoReturn:
    raise ConfigError(
        "a checkpoint cannot hold this site's constraint, which is of a class of your own inside a function: call "
        "`step.setup(*batch)` first, or define the class in a module"
    )


def _found(name: str) -> type[Constraint] | None:
    """A class of constraints by its name, or of the user's own by that of an imported module before it."""
    module, _, qualified = name.rpartition(":")
    if not module:
        return _classes().get(name)
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Constraint) else None


def describe(constraint: Any) -> Description | None:
    """A constraint as plain values; ``None`` for one whose class or attributes cannot be found by name."""
    cls = type(constraint)
    name = next((n for n in (cls.__name__, f"{cls.__module__}:{cls.__qualname__}") if _found(n) is cls), None)
    if name is None or cls is Unknown:
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
    """The constraint that ``describe`` described.

    Raises:
        KeyError: if there is no such class of constraints here.
    """
    cls = _found(description["class"])
    if cls is None:
        raise KeyError(f"there is no class of constraints {description['class']!r}: import its module, then restore")
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


class Sites:
    """Parameter sites that belong to one step, or, if asked, Pyro's global ones.

    Args:
        shared: whether the store is Pyro's global one.
    """

    def __init__(self, shared: bool = False) -> None:
        self.shared = shared
        self._own: dict[str, Any] = {field: {} for field in FIELDS}
        self._unknown: set[str] = set()
        self._inside = 0
        self._late: Any = None

    @property
    def params(self) -> dict[str, Tensor]:
        """The unconstrained values, the live tensors by name."""
        return self._field("_params")

    @property
    def constraints(self) -> dict[str, Any]:
        """The constraint of each site."""
        return self._field("_constraints")

    def _field(self, name: str) -> dict[Any, Any]:
        live = self.shared or self._inside
        found: dict[Any, Any] = getattr(pyro.get_param_store(), name) if live else self._own[name]
        return found

    def __enter__(self) -> "Sites":
        """Make these the sites that ``pyro.param`` finds."""
        self._inside += 1
        if self._inside == 1:
            if not self.shared:
                self._swap()
            if self._unknown:
                self._late = _LateConstraints(self._unknown)
                self._late.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._inside -= 1
        if not self._inside:
            if self._late is not None:
                self._late.__exit__(*error)
                self._late = None
            if not self.shared:
                self._swap()

    def _swap(self) -> None:
        """Exchange the dictionaries of Pyro's store with those held here."""
        store = vars(pyro.get_param_store())
        for field in FIELDS:
            store[field], self._own[field] = self._own[field], store[field]

    def value(self, name: str) -> Tensor:
        """A site's constrained value.

        Raises:
            KeyError: if there is no such site.
        """
        with self:
            found: Tensor = pyro.get_param_store()[name]
        return found

    def copy(self) -> tuple[dict[str, dict[Any, Any]], set[str]]:
        """What is held, for ``put_back``."""
        return {field: dict(self._field(field)) for field in FIELDS}, set(self._unknown)

    def put_back(self, copy: tuple[dict[str, dict[Any, Any]], set[str]]) -> None:
        """Hold again what was held when ``copy`` was called."""
        fields, self._unknown = copy
        for field, items in fields.items():
            held = self._field(field)
            held.clear()
            held.update(items)

    def forget(self, name: str) -> None:
        """Remove a site, if there is one of that name."""
        value = self.params.pop(name, None)
        self.constraints.pop(name, None)
        if value is not None:
            self._field("_param_to_name").pop(value, None)

    def state_dict(self, names: dict[int, str], with_networks: bool) -> dict[str, dict[str, Any]]:
        """The constraint of each site, and the name of the weight that is its tensor.

        Args:
            names: of all weights, by the identity of their tensors.
            with_networks: whether sites are included whose tensors are networks' own.
        """
        return {
            name: {"constraint": describe(self.constraints[name]), "weight": names[id(tensor)]}
            for name, tensor in self.params.items()
            if with_networks or names[id(tensor)] == f"param.{name}"
        }

    def load_state_dict(self, state: dict[str, dict[str, Any]], weights: dict[str, Tensor], device: Any) -> None:
        """Make the sites that are not there yet.

        Args:
            state: what ``state_dict`` gave.
            weights: the tensors of networks, by name, which sites of networks become again; and the values of other
                sites, which are copied.
            device: where the latter shall lie.
        """
        for name, site in state.items():
            if name in self.params or site["weight"] not in weights:
                continue
            value = weights[site["weight"]]
            if site["weight"] == f"param.{name}":
                value = value.detach().clone().to(device).requires_grad_(value.is_floating_point())
            if site["constraint"] is None:
                self._unknown.add(name)
            self.params[name] = value
            self.constraints[name] = Unknown() if site["constraint"] is None else rebuild(site["constraint"])
            self._field("_param_to_name")[value] = name


class _LateConstraints(Messenger):
    """Takes a constraint that a checkpoint could not hold from the ``pyro.param`` statement that names its site."""

    changes_nothing = True

    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self.names = names

    def _pyro_param(self, msg: Any) -> None:
        constraint = msg["kwargs"].get("constraint")
        if msg["name"] in self.names and constraint is not None and constraint is not real:
            pyro.get_param_store()._constraints[msg["name"]] = constraint
            self.names.discard(msg["name"])
