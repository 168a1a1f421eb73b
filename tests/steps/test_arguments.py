"""What a step is given it passes on, eagerly and compiled.

A stand-in for the code generator runs the traced graphs as they are (see ``hosts.interpret``).
"""

from argparse import Namespace
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from hosts import interpret
from pyro import infer
from torch.optim import SGD

from pyrogen import SVI
from pyrogen.compile import CompiledTrace_ELBO

X = 1 + torch.randn(8, generator=torch.Generator().manual_seed(0))
SLOW = partial(SGD, lr=0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", interpret)
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


def model(x, scale=1.0, *, shift=0.0):
    loc = pyro.param("loc", torch.zeros(()))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc + shift, scale), obs=x)


def of_dict(batch):
    model(batch["x"][0], batch["rest"]["scale"], shift=batch["shift"])


def of_namespace(batch):
    model(batch.x, batch.scale)


def nats(loc, scale):
    return float(-dist.Normal(loc, scale).log_prob(X).mean())


CALLS = {
    "a number": (model, (X, 10.0), {}, nats(0.0, 10.0)),
    "a number by name": (model, (X,), {"scale": 10.0, "shift": 2.0}, nats(2.0, 10.0)),
    "a tensor by name": (model, (X,), {"shift": torch.tensor(2.0)}, nats(2.0, 1.0)),
    "all by name": (model, (), {"x": X, "scale": torch.tensor(3.0)}, nats(0.0, 3.0)),
    "nested": (of_dict, ({"x": [X], "rest": {"scale": 2.0}, "shift": torch.tensor(1.0)},), {}, nats(1.0, 2.0)),
    "an object": (of_namespace, (Namespace(x=X, scale=4.0),), {}, nats(0.0, 4.0)),
    "none": (lambda: model(X, 5.0), (), {}, nats(0.0, 5.0)),
}


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_a_step_passes_on_what_it_is_given(name, compile):
    program, args, kwargs, expected = CALLS[name]
    step = SVI(program, lambda *_, **__: None, optim=partial(SGD, lr=0.0), compile=compile)
    for _ in range(3):
        assert float(step(*args, **kwargs)["loss"]) == pytest.approx(expected, rel=1e-5)
    assert float(step.evaluate(*args, **kwargs)["loss"]) == pytest.approx(expected, rel=1e-5)
    assert step.evaluate_loss(*args, **kwargs) == pytest.approx(expected * len(X), rel=1e-5)
    assert step.refused is None


def test_a_number_that_is_another_in_each_call_is_to_be_a_tensor():
    step = SVI(model, lambda *_: None, optim=SLOW, compile=True)
    twin = SVI(model, lambda *_: None, optim=SLOW, compile=False)
    for t in range(8):
        assert step.step(X, 1.0 + t) == pytest.approx(twin.step(X, 1.0 + t), rel=1e-5)
    assert step.refused == "argument 2 is a different float in each call: pass a tensor"


def test_pyros_step_takes_the_compiled_loss_with_all_arguments():
    loss = CompiledTrace_ELBO()
    step = infer.SVI(model, lambda *_, **__: None, pyro.optim.SGD({"lr": 0.0}), loss)
    for _ in range(3):
        assert step.step(X, 10.0, shift=torch.tensor(2.0)) == pytest.approx(nats(2.0, 10.0) * len(X), rel=1e-5)
    assert loss.refused is None
