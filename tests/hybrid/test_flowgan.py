"""A flow as a generator: what it draws has the density that it says, and either loss trains it."""

import pytest
import torch

import pyrogen
from pyrogen.explicit import Flow
from pyrogen.explicit.flow import coupling
from pyrogen.hybrid import FlowGAN
from pyrogen.implicit.mlp import MLPCritic
from pyrogen.pyro_tools.decoders import as_decoder
from pyrogen.random import scoped_seed
from pyrogen.recipes import recipe


@pytest.fixture
def model():
    with scoped_seed(0):
        made = FlowGAN(Flow((2,), coupling((2,), 4, (8,))), MLPCritic((2,), (8,)))
        for p in made.generator.parameters():
            torch.nn.init.normal_(p, std=0.3)
    return made


def test_the_generator_inverts_the_density_and_carries_a_gradient(model):
    z = model.prior(6)
    assert z.shape == (6, 2)
    assert not z.requires_grad
    x = model.generator(z)
    torch.testing.assert_close(model.encode(x), z, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.decode(z), x)
    x.sum().backward()
    assert all(p.grad is not None for p in model.generator.parameters())
    jacobian = torch.autograd.functional.jacobian(lambda z: model.generator(z[None])[0], z[0])
    log_base = torch.distributions.Normal(0, 1).log_prob(z[0]).sum()
    log_p = model.log_prob(model.generator(z[:1]))[0]
    assert as_decoder(model, x).size == 2
    assert log_p.item() == pytest.approx((log_base - jacobian.det().abs().log()).item(), abs=1e-4)


def test_a_small_weight_of_the_likelihood_is_enough_to_keep_it():
    data, budget = pyrogen.load("moons"), {"steps": 150, "batch_size": 64, "hidden": (16,), "critic": (16,)}
    found = {}
    for weight in (0.0, 1.0):
        with scoped_seed(0):
            setup = recipe("flow-gan")(data, weight=weight, **budget)
        logs = [dict(row) for _, row in pyrogen.fit(setup.step, data.train, steps=150, batch_size=64)]
        assert ("generator_penalty" in logs[-1]) == (weight > 0)
        found[weight] = pyrogen.evaluate(setup.model, data.test)["log_likelihood"]
        assert found[weight].kind == "exact"
    assert found[1.0].value > found[0.0].value + 0.2


def test_its_flow_is_that_of_realnvp():
    data, options = pyrogen.load("digits"), {"layers": 2, "hidden": (8,)}
    with scoped_seed(0):
        flow = recipe("realnvp")(data, **options).model
    with scoped_seed(0):
        game = recipe("flow-gan")(data, **options).model
    ours = game.generator.flow.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in flow.state_dict().items())
