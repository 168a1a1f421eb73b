"""Programs of Pyro's users: a compiled step gives the losses of Pyro's own SVI, or says in a line why it is eager."""

import logging
from functools import partial

import pyro
import pytest
import torch
from pyro import infer
from torch.optim import Adam
from user_programs import USER_PROGRAMS

from pyrogen import SVI

QUICK = ["factor analysis"]
"""What a compiler is done with in seconds; tests/compile/test_compiled.py has more of the kind."""


def made(name):
    torch.manual_seed(0)
    pyro.clear_param_store()
    model, guide, batch, loss = USER_PROGRAMS[name]()
    return model, guide, batch, loss or infer.Trace_ELBO()


def stock(name, steps):
    model, guide, batch, loss = made(name)
    step = infer.SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), loss)
    torch.manual_seed(1)
    return torch.tensor([step.step(*batch) for _ in range(steps)], dtype=torch.float64)


def ours(name, steps, compile):
    model, guide, batch, loss = made(name)
    # As Pyro's: Adam in one call rounds otherwise, of which 300 steps of a spline make a difference that is seen.
    step = SVI(model, guide, partial(Adam, lr=1e-2, fused=False), loss, compile=compile)
    torch.manual_seed(1)
    return torch.tensor([step.step(*batch) for _ in range(steps)], dtype=torch.float64), step


def agree(name, steps, tolerance, caplog):
    expected = stock(name, steps)
    eager, _ = ours(name, steps, False)
    torch.testing.assert_close(eager, expected, rtol=tolerance, atol=0)
    with caplog.at_level(logging.WARNING, "pyrogen"):
        compiled, step = ours(name, steps, True)
    torch.testing.assert_close(compiled, expected, rtol=tolerance, atol=0)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("pyrogen")]
    if step.refused is None:
        assert lines == []
    else:
        assert len(lines) == 1
        assert step.refused in lines[0]


@pytest.mark.parametrize("name", USER_PROGRAMS)
def test_a_few_steps_of_the_traced_graph(name, caplog, monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", lambda traced, *_, **__: traced)  # no code is generated
    agree(name, 5, 1e-4, caplog)


@pytest.mark.parametrize("name", QUICK)
def test_a_few_steps_of_generated_code(name, caplog):
    agree(name, 12, 1e-4, caplog)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", USER_PROGRAMS)
def test_three_hundred_steps(name, caplog):
    agree(name, 300, 1e-5, caplog)
