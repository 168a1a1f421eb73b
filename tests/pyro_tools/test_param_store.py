"""A constraint that a checkpoint could not hold is taken from the statement that makes the site, and no other."""

import pyro
import pytest
import torch
from pyro.distributions import constraints
from torch.distributions import transform_to
from torch.distributions.transforms import ExpTransform

from pyrogen.errors import ConfigError
from pyrogen.pyro_tools.param_store import Sites, describe, rebuild


def restored():
    """Sites with one of value exp(2), whose constraint is of a class that no name leads to; and that constraint."""

    class Local(constraints.Constraint):
        def check(self, value):
            return value > 0

    transform_to.register(Local)(lambda constraint: ExpTransform())
    sites = Sites()
    sites.load_state_dict({"s": {"constraint": None, "weight": "param.s"}}, {"param.s": torch.tensor(2.0)}, "cpu")
    return sites, Local()


def test_a_statement_without_a_constraint_does_not_say_that_there_is_none():
    sites, local = restored()
    with sites, pytest.raises(ConfigError, match="cannot hold this site's constraint"):
        pyro.param("s")  # Pyro's default is ``real``
    with sites:
        assert pyro.param("s", torch.tensor(1.0), constraint=local).item() == pytest.approx(torch.tensor(2.0).exp())
    with sites:
        assert pyro.param("s").item() == pytest.approx(torch.tensor(2.0).exp())


def test_a_statement_of_another_site_says_nothing_of_this_one():
    sites, local = restored()
    with sites:
        pyro.param("other", torch.tensor(1.0), constraint=local)
    with sites, pytest.raises(ConfigError, match="cannot hold"):
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
    with pytest.raises(KeyError, match="no class of constraints 'Gone'"):
        rebuild({"class": "Gone", "attributes": {}})


def test_forgetting_a_site_leaves_nothing_of_it():
    sites, _ = restored()
    sites.forget("s")
    sites.forget("never there")
    assert sites.copy() == ({"_params": {}, "_constraints": {}, "_param_to_name": {}}, {"s"})
