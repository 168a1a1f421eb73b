"""Compiled losses of typical Pyro programs: each agrees with the eager loss, or falls back and logs the reason."""

import logging
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from programs import PROGRAMS, normed_vae
from pyro.infer import RenyiELBO, Trace_ELBO
from torch import nn
from torch.optim import Adam

from pyrogen import SVI
from pyrogen.compile.elbo import CompiledELBO, CompiledTrace_ELBO
from pyrogen.steps.sequential import SequentialSteps

STEPS = 12


def losses(make, compile):
    torch.manual_seed(0)
    pyro.clear_param_store()
    model, guide, batch, loss = make()
    step = SVI(model, guide, partial(Adam, lr=1e-2), loss, compile=compile)
    torch.manual_seed(1)
    values = torch.stack([step(*batch)["loss"] for _ in range(STEPS)])
    return values, step


@pytest.mark.parametrize("name", PROGRAMS)
def test_compiled_training_is_eager_training(name):
    eager, _ = losses(PROGRAMS[name], False)
    compiled, step = losses(PROGRAMS[name], True)
    assert step._compiled.refused is None
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-4)


def test_pyro_svi_with_a_compiled_loss():
    def train(loss):
        torch.manual_seed(0)
        pyro.clear_param_store()
        model, guide, batch, _ = normed_vae()
        svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), loss)
        torch.manual_seed(1)
        return [svi.step(*batch) for _ in range(STEPS)]

    compiled = CompiledTrace_ELBO()
    values = train(compiled)
    assert compiled.refused is None
    assert len(graphs_of(compiled)) == 1
    assert values == pytest.approx(train(Trace_ELBO()), rel=1e-4)


def graphs_of(loss):
    return [graph for trusted in loss._verified.values() for graph in trusted.graphs]


def refusing(make, caplog, steps=STEPS):
    """Check that a program which cannot be compiled gives the eager losses; return the logged reason."""
    eager, _ = losses(make, False)
    with caplog.at_level(logging.WARNING, "pyrogen"):
        values, step = losses(make, True)
    assert torch.equal(values, eager)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("pyrogen")] == [
        f"the loss runs eagerly, not compiled: {step._compiled.refused}"
    ]
    return step._compiled.refused


def counting_objects():
    """A small Attend-Infer-Repeat model: a sampled number of parts controls a Python loop."""
    encoder, decoder = nn.Linear(4, 3), nn.Linear(1, 4)

    def model(x):
        pyro.module("decoder", decoder)
        mean = torch.zeros(4)
        for i in range(3):
            if pyro.sample(f"present{i}", dist.Bernoulli(0.6)).item() == 0:
                break
            mean = mean + decoder(pyro.sample(f"z{i}", dist.Normal(torch.zeros(1), 1.0).to_event(1)))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        h = encoder(x.mean(0))
        for i in range(3):
            if pyro.sample(f"present{i}", dist.Bernoulli(torch.sigmoid(h[0]))).item() == 0:
                break
            pyro.sample(f"z{i}", dist.Normal(h[1:2], h[2:].exp()).to_event(1))

    return model, guide, (torch.randn(5, 4),), None


def test_data_dependent_control_flow_falls_back(caplog):
    line = counting_objects.__code__.co_firstlineno + 18
    why = refusing(counting_objects, caplog)
    assert why == f"Python code depends on the value of a tensor (test_compiled.py, line {line})"


def test_a_loss_without_differentiable_loss_stays_eager():
    def make():
        return normed_vae(RenyiELBO(alpha=0.5, num_particles=2, vectorize_particles=True))

    eager, _ = losses(make, False)
    values, step = losses(make, True)
    assert torch.equal(values, eager)
    assert step._compiled.refused == "RenyiELBO has no differentiable_loss"


def test_a_compiled_loss_without_differentiable_loss_trains_in_a_step():
    model, guide, batch, _ = normed_vae()
    loss = CompiledELBO(RenyiELBO(alpha=0.5, num_particles=2, vectorize_particles=True))
    step = SVI(model, guide, partial(Adam, lr=1e-2), loss, compile=True)
    assert all(torch.isfinite(step(*batch)["loss"]) for _ in range(3))


def test_eager_and_compiled_steps_can_be_mixed():
    model, guide, *_ = normed_vae()
    steps = SequentialSteps(one=SVI(model, guide), two=SVI(model, guide))
    steps.compile = False
    assert [step.compile for step in steps.steps.values()] == [False, False]
    assert steps.compile is False


class Annealed(nn.Module):
    """A prior whose weight is a Python attribute that changes at every step."""

    def __init__(self):
        super().__init__()
        self.loc, self.weight = nn.Parameter(torch.zeros(3)), 0.0

    def model(self, x):
        self.weight = min(self.weight + 0.05, 1.0)
        with pyro.poutine.scale(scale=max(self.weight, 1e-3)):
            z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        pyro.sample("z", dist.Normal(self.loc, 0.1).to_event(1))


def test_a_model_that_counts_its_own_calls_falls_back(caplog):
    torch.manual_seed(0)
    annealed, x = Annealed(), torch.randn(5, 3)
    step = SVI(annealed.model, annealed.guide, partial(Adam, lr=1e-2), compile=True)
    with caplog.at_level(logging.WARNING, "pyrogen"):
        for _ in range(30):
            step(x)
    assert step.refused == "the program modifies 'Annealed.weight' when it runs, which a compiled graph would not do"


def test_each_setting_has_its_own_graph():
    """Each batch shape, network mode and Python number gets a graph of its own, and graphs are reused."""
    torch.manual_seed(0)
    model, guide, (x,), _ = normed_vae()
    step = SVI(model, guide, partial(Adam, lr=1e-2), CompiledTrace_ELBO(), compile=True)
    networks = {id(m): m for m in step.modules()}.values()
    for batch, training in [(x, True), (x, True), (x[:4], True), (x, False), (x, True), (x[:4], True)]:
        for network in networks:
            network.train(training)
        step(batch)
    assert step._compiled.refused is None
    assert len(graphs_of(step._compiled)) == 3


def test_a_wrong_graph_is_rejected(caplog):
    """An attribute that the user declared constant changes."""
    loc = nn.Parameter(torch.zeros(()))
    scale = [1.0] * 6 + [5.0] * 100

    def model(x):
        scale.pop(0)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, scale[0]), obs=x)

    step = SVI(model, optim=partial(Adam, lr=1e-2), compile=True, constant=["scale"])
    with caplog.at_level(logging.WARNING, "pyrogen"):
        for _ in range(20):
            step(torch.ones(4))
    assert "compiled loss is" in step._compiled.refused


@pytest.mark.parametrize("everywhere", [False, True])
def test_gradients_that_differ_at_a_kink_alone_are_accepted(everywhere):
    loc = nn.Parameter(torch.ones(3))

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    step, x = SVI(model, optim=partial(Adam, lr=0.0), compile=True), torch.zeros(4, 3)
    for _ in range(3):
        step(x)
    graph = next(iter(next(iter(step._compiled._verified.values())).graphs.values())).graph
    run = graph.run

    def differs(*args):
        moved = not torch.equal(loc, torch.ones(3))
        *values, gradient = run(*args)
        return [*values, gradient if moved and not everywhere else 1.01 * gradient]

    graph.run = differs
    for _ in range(8):
        step(x)
    assert (step.refused is not None) == everywhere
    assert torch.equal(loc, torch.ones(3))


def test_graphs_follow_weights_and_constants_that_change_in_place():
    torch.manual_seed(0)
    shift = torch.zeros(())

    def model(x):
        loc = pyro.param("loc", torch.zeros(()))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc + shift, 1.0), obs=x)

    step = SVI(model, optim=partial(Adam, lr=0.0), compile=True)
    x = torch.zeros(4)
    before = [float(step(x)["loss"]) for _ in range(3)][-1]
    shift.fill_(2.0)
    assert float(step(x)["loss"]) == pytest.approx(before + 2.0)
    assert step._compiled.refused is None


def test_a_step_compiles_by_default_after_many_steps(monkeypatch):
    monkeypatch.setattr("pyrogen.compile.verified.COMPILE_AFTER", 5)
    model, guide, batch, _ = normed_vae()
    step = SVI(model, guide, partial(Adam, lr=1e-2))
    for _ in range(5):
        step(*batch)
    assert not graphs_of(step._compiled)
    step(*batch), step(*batch)
    assert len(graphs_of(step._compiled)) == 1


def test_loss_is_a_pyro_elbo():
    model, guide, batch, _ = normed_vae()
    torch.manual_seed(3)
    expected = Trace_ELBO().loss(model, guide, *batch)
    torch.manual_seed(3)
    assert CompiledELBO(Trace_ELBO()).loss(model, guide, *batch) == pytest.approx(expected)
