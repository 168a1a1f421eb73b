"""Opaque programs run eagerly, with correct losses and one logged line that gives the reason.

All but the last tests replace the code generator by one that runs the traced graph itself (see ``hosts.interpret``).
"""

import logging
import random
import re
from functools import partial

import numpy as np
import pyro
import pytest
import stale_networks  # noqa: F401 (its cases join the others)
import torch
from hosts import HOSTS, interpret, program
from opaque_cases import OPAQUE
from stale_cases import CASES
from torch import nn
from torch.optim import SGD

from pyrogen import SVI
from pyrogen.random import scoped_seed

X = torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.7, 1.5]])


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", interpret)


def train(host, make, compile, steps=6):
    pyro.clear_param_store()
    random.seed(0)
    np.random.seed(0)
    step, refused = HOSTS[host](make(), compile, 0.05)
    losses = []
    for t in range(steps):
        with scoped_seed(t):
            losses.append(step(X))
    return losses, refused()


@pytest.mark.filterwarnings("ignore:unclosed file")
@pytest.mark.parametrize("name", OPAQUE)
def test_an_opaque_program_runs_eagerly_and_says_why(quick, name, caplog):
    make, why = OPAQUE[name]
    eager, _ = train("SVI", make, False)
    with caplog.at_level(logging.WARNING, "pyrogen"):
        values, refused = train("SVI", make, True)
    assert values == eager
    assert re.fullmatch(why, refused or ""), refused
    assert [refused in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("host", ["Pyro's SVI", "GradientStep", "game"])
def test_every_step_runs_an_opaque_program_eagerly(quick, host):
    for name in ("python random", "iterator", "counts in a variable"):
        make, why = OPAQUE[name]
        eager, _ = train(host, make, False)
        values, refused = train(host, make, True)
        assert values == eager
        assert re.fullmatch(why, refused or ""), refused


@pytest.mark.parametrize(
    ("name", "constant"),
    [
        ("large array", "table"),
        ("array of objects", "table"),
        ("cached function", "scale"),
        ("of a context", "variable"),
        ("environment", "environ"),
        ("clock", "time"),
    ],
)
def test_constants_declared_by_the_user_are_not_checked(quick, name, constant):
    make, _ = OPAQUE[name]
    step = SVI(*program(make()), optim=partial(SGD, lr=0.0), compile=True, constant=[constant])
    losses = [step.step(X) for _ in range(3)]
    assert step.refused is None
    assert losses[1] == losses[2]


def test_changes_are_followed_by_compiled_code():
    """With the real compiler."""

    def losses(compile):
        steps, found = CASES["frozen and unfrozen"](), []
        step, refused = HOSTS["SVI"](next(steps), compile, 0.05)
        while True:
            for _ in range(3):
                with scoped_seed(len(found)):
                    found.append(step(X))
            if next(steps, "end") == "end":
                assert refused() is None
                return found

    assert losses(True) == pytest.approx(losses(False), rel=1e-4)


def test_a_network_in_a_list_can_be_frozen_and_unfrozen():
    """With the real compiler: frozen weights stay bit-identical and train again once unfrozen."""
    nets = [nn.Linear(2, 2)]
    step = SVI(*program(lambda x: nets[0](x)), optim=partial(SGD, lr=0.05), compile=True)
    for _ in range(3):
        step.step(X)
    nets[0].weight.requires_grad_(False)
    before = nets[0].weight.detach().clone(), nets[0].bias.detach().clone()
    for _ in range(3):
        step.step(X)
    assert torch.equal(nets[0].weight, before[0])
    assert not torch.equal(nets[0].bias, before[1])
    nets[0].weight.requires_grad_(True)
    step.step(X)
    assert not torch.equal(nets[0].weight, before[0])
    assert step.refused is None
