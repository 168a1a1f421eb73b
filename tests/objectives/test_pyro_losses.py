"""Losses of other forms, as ``SVI`` takes them."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import ELBO, RenyiELBO, Trace_ELBO
from torch.optim import SGD

from pyrogen import SVI
from pyrogen.errors import ConfigError
from pyrogen.objectives import BetaELBO
from pyrogen.objectives.pyro_losses import FunctionLoss, as_loss


def model(x, shift=0.0):
    loc = pyro.param("loc", torch.tensor(1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc + shift, 1.0), obs=x)


def guide(x, shift=0.0):
    pass


def squared(model, guide, x, shift=0.0):
    model(x, shift=shift)
    return (pyro.param("loc") + shift - x).square().sum()


def test_an_elbo_is_taken_as_it_is():
    for loss in (Trace_ELBO(), RenyiELBO(num_particles=2), BetaELBO()):
        assert as_loss(loss) is loss

    class Own:
        def loss(self, *args):
            return 0.0

    with pytest.raises(ConfigError, match=r"loss must be a Pyro ELBO or a function.*got Own"):
        as_loss(Own())
    own = Own()
    own.differentiable_loss = own.loss
    assert as_loss(own) is own
    own = Own()
    own.loss_and_grads = own.loss
    assert as_loss(own) is own
    with pytest.raises(ConfigError, match="got int"):
        as_loss(3)


def test_a_function_is_differentiated():
    found = as_loss(squared)
    assert isinstance(found, FunctionLoss)
    assert found.loss is found.differentiable_loss is squared
    assert not hasattr(found, "loss_and_grads")
    assert not isinstance(found, ELBO)
    step = SVI(model, guide, partial(SGD, lr=0.1), squared)
    x = torch.tensor([0.0, 3.0])
    logs = step(x, shift=1.0)
    assert logs["loss"].item() == pytest.approx((4 + 1) / 2)
    assert step.param("loc").item() == pytest.approx(1 - 0.1 * 2 * (2 - 1))


def test_a_function_that_computes_its_gradients():
    calls = []

    def with_gradients(model, guide, x, shift=0.0):
        calls.append(shift)
        loss = squared(model, guide, x, shift)
        (3 * loss).backward()
        return loss.item()

    found = as_loss(squared, with_gradients)
    assert found.loss_and_grads is with_gradients
    assert found.loss is squared
    assert not hasattr(found, "differentiable_loss")
    step = SVI(model, guide, partial(SGD, lr=0.1), squared, with_gradients)
    x = torch.tensor([0.0, 3.0])
    assert step.step(x, shift=1.0) == pytest.approx(5.0)
    assert calls == [1.0]
    assert step.param("loc").item() == pytest.approx(1 - 0.1 * 3 * 2 * (2 - 1))
    assert step.evaluate_loss(x) == pytest.approx(float((step.param("loc").detach() - x).square().sum()))
    assert calls == [1.0]


def test_traces_of_an_objective_are_those_of_model_and_guide():
    def latent(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def posterior(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.5))

    x = torch.arange(3.0)
    joint, given = BetaELBO()._get_trace(latent, posterior, (x,), {})
    assert set(joint.nodes) >= {"z", "x"}
    assert "x" not in given.nodes
    assert torch.equal(joint.nodes["z"]["value"], given.nodes["z"]["value"])
