"""A constraint that a checkpoint could not store is supplied by the ``pyro.param`` statement of its site alone."""

import pyro
import pytest
import torch
from pyro.distributions import constraints
from torch.distributions import transform_to
from torch.distributions.transforms import ExpTransform

from pyrogen.errors import ConfigError
from pyrogen.pyro_tools.param_store import ScopedParamStore, describe, rebuild


def restored():
    """A restored store with a site whose constraint could not be stored, and that constraint."""

    class Local(constraints.Constraint):
        def check(self, value):
            return value > 0

    transform_to.register(Local)(lambda constraint: ExpTransform())
    sites = ScopedParamStore()
    sites.load_state_dict({"s": {"constraint": None, "weight": "param.s"}}, {"param.s": torch.tensor(2.0)}, "cpu")
    return sites, Local()


def test_a_statement_without_a_constraint_does_not_make_the_site_real():
    sites, local = restored()
    with sites, pytest.raises(ConfigError, match="could not store this site's constraint"):
        pyro.param("s")  # Pyro's default is ``real``
    with sites:
        assert pyro.param("s", torch.tensor(1.0), constraint=local).item() == pytest.approx(torch.tensor(2.0).exp())
    with sites:
        assert pyro.param("s").item() == pytest.approx(torch.tensor(2.0).exp())


def test_the_statement_of_another_site_changes_nothing():
    sites, local = restored()
    with sites:
        pyro.param("other", torch.tensor(1.0), constraint=local)
    with sites, pytest.raises(ConfigError, match="could not store"):
        pyro.param("s")


def test_a_constraint_once_known_is_kept():
    sites, local = restored()
    for constraint in (local, constraints.positive):
        with sites:
            pyro.param("s", constraint=constraint)
    assert sites.constraints["s"] is local


def test_what_cannot_be_described_is_none():
    local = restored()[1]
    assert describe(local) is None
    assert describe(constraints.independent(local, 1)) is None
    assert describe(constraints.stack([constraints.positive, local])) is None
    with pytest.raises(KeyError, match="'Gone' does not exist"):
        rebuild({"class": "Gone", "attributes": {}})


def test_removing_a_site_leaves_nothing_of_it():
    sites, _ = restored()
    sites.remove("s")
    sites.remove("never there")
    assert sites.copy() == ({"_params": {}, "_constraints": {}, "_param_to_name": {}}, {"s"})
