"""What Pyro's users do with a step works as in Pyro: losses, optimisers, guides, and programs that are hard to compile.

A stand-in for the code generator runs the traced graphs as they are (see ``hosts.interpret``).
"""

import re
from functools import partial

import pyro
import pyro.contrib.gp as gp
import pyro.distributions as dist
import pytest
import torch
from hosts import interpret
from pyro import infer, poutine
from pyro.contrib.easyguide import EasyGuide
from pyro.distributions import constraints
from pyro.distributions.transforms import Spline
from pyro.infer.autoguide import AutoNormal, AutoNormalMessenger
from pyro.infer.reparam import LocScaleReparam
from torch import nn
from torch.optim import SGD

from pyrogen import SVI
from pyrogen.random import scoped_seed

X = 1 + torch.randn(8, generator=torch.Generator().manual_seed(0))
SLOW = partial(SGD, lr=0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", interpret)
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with scoped_seed(0):
            self.net = nn.Linear(1, 2)

    def model(self, x):
        pyro.module("net", self)
        scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, scale), obs=x)

    def guide(self, x):
        pyro.module("net", self)
        with pyro.plate("data", len(x)):
            loc, raw = self.net(x[:, None]).unbind(1)
            pyro.sample("z", dist.Normal(loc, raw.exp()))


def plain_loss(model, guide, *args):
    return infer.Trace_ELBO().differentiable_loss(model, guide, *args)


def loss_and_grads(model, guide, *args):
    return infer.Trace_ELBO().loss_and_grads(model, guide, *args)


LOSSES = {
    "Trace_ELBO": infer.Trace_ELBO,
    "particles": partial(infer.Trace_ELBO, num_particles=3),
    "TraceMeanField_ELBO": infer.TraceMeanField_ELBO,
    "TraceEnum_ELBO": partial(infer.TraceEnum_ELBO, max_plate_nesting=1),
    "TraceGraph_ELBO": infer.TraceGraph_ELBO,
    "TraceTMC_ELBO": partial(infer.TraceTMC_ELBO, max_plate_nesting=1),
    "RenyiELBO": partial(infer.RenyiELBO, alpha=0.5, num_particles=2),
    "ReweightedWakeSleep": partial(infer.ReweightedWakeSleep, num_particles=2, vectorize_particles=False),
    "EnergyDistance": partial(infer.EnergyDistance, num_particles=2),
    "JitTrace_ELBO": partial(infer.JitTrace_ELBO, ignore_jit_warnings=True),
    "Trace_MMD": partial(infer.Trace_MMD, kernel=gp.kernels.RBF(1), num_particles=2),
    "a function": lambda: plain_loss,
}


REFUSED = {
    "TraceGraph_ELBO": "TraceGraph_ELBO has no differentiable_loss",
    "RenyiELBO": "RenyiELBO has no differentiable_loss",
    "ReweightedWakeSleep": "ReweightedWakeSleep has no differentiable_loss",
    "JitTrace_ELBO": "JitTrace_ELBO has its own compiler: use Trace_ELBO",
    "EnergyDistance": r"Python code depends on the value of a tensor \(energy_distance.py, line \d+\)",
    "spline": r"Python code depends on the value of a tensor \(spline.py, line \d+\)",
}
"""What cannot be compiled, and the line that says so."""


def is_refused(step, name):
    return re.fullmatch(REFUSED[name], step.refused) if name in REFUSED else step.refused is None


def same_as_pyro(ours, theirs, calls=4):
    """Losses of ``step.step``, ``evaluate_loss`` and ``run`` under the same seeds."""
    for t in range(calls):
        with scoped_seed(t):
            expected = theirs.step(X)
        with scoped_seed(t):
            assert ours.step(X) == pytest.approx(expected, rel=1e-4)
    with scoped_seed(9):
        expected = theirs.evaluate_loss(X)
    with scoped_seed(9):
        assert ours.evaluate_loss(X) == pytest.approx(expected, rel=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_pyros(name, compile):
    a, b = Net(), Net()
    theirs = infer.SVI(a.model, a.guide, pyro.optim.Adam({"lr": 0.01}), LOSSES[name]())
    ours = SVI(b.model, b.guide, pyro.optim.Adam({"lr": 0.01}), LOSSES[name](), compile=compile)
    same_as_pyro(ours, theirs)
    assert not compile or is_refused(ours, name)
    assert float(ours.param("scale")) == pytest.approx(float(pyro.param("scale")), rel=1e-4)


def test_a_function_with_its_own_gradients():
    a, b = Net(), Net()
    theirs = infer.SVI(a.model, a.guide, pyro.optim.Adam({"lr": 0.01}), plain_loss, loss_and_grads)
    ours = SVI(b.model, b.guide, pyro.optim.Adam({"lr": 0.01}), plain_loss, loss_and_grads)
    same_as_pyro(ours, theirs)


def by_name(name):
    return {"lr": 0.1 if name == "scale" else 0.01}


OPTIMISERS = {
    "ClippedAdam": lambda: pyro.optim.ClippedAdam({"lr": 0.05, "clip_norm": 0.1, "lrd": 0.9}),
    "by name": lambda: pyro.optim.Adam(by_name),
    "clipped": lambda: pyro.optim.SGD({"lr": 0.05}, {"clip_norm": 0.1}),
    "clipped by value": lambda: pyro.optim.SGD({"lr": 0.05}, {"clip_value": 0.1}),
    "schedule": lambda: pyro.optim.ExponentialLR({"optimizer": SGD, "optim_args": {"lr": 0.05}, "gamma": 0.3}),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_are_pyros(name):
    a, b = Net(), Net()
    optims = OPTIMISERS[name](), OPTIMISERS[name]()
    theirs = infer.SVI(a.model, a.guide, optims[0], infer.Trace_ELBO())
    ours = SVI(b.model, b.guide, optims[1])
    for _ in range(3):
        same_as_pyro(ours, theirs, calls=2)
        if name == "schedule":
            for optim in optims:
                optim.step()


def schools(x):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    with pyro.plate("data", 8, subsample_size=4) as index:
        theta = pyro.sample("theta", dist.Normal(mu, 2.0))
        pyro.sample("x", dist.Normal(theta, 1.0), obs=x[index])


class Easy(EasyGuide):
    def guide(self, x):
        self.map_estimate("mu")
        with self.plate("data", 8, subsample_size=4):
            pyro.sample("theta", dist.Normal(pyro.param("t_loc", torch.zeros(())), 1.0))


def reparametrised(x):
    with poutine.reparam(config={"theta": LocScaleReparam(0.5)}):
        return schools(x)


GUIDED = {
    "subsample": (schools, AutoNormal),
    "reparametrised": (reparametrised, AutoNormal),
    "EasyGuide": (schools, Easy),
    "messenger": (schools, AutoNormalMessenger),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("name", GUIDED)
def test_guides_are_pyros(name, compile):
    program, guide = GUIDED[name]
    theirs = infer.SVI(program, guide(program), pyro.optim.Adam({"lr": 0.01}), infer.Trace_ELBO())
    ours = SVI(program, guide(program), pyro.optim.Adam({"lr": 0.01}), compile=compile)
    same_as_pyro(ours, theirs)
    assert is_refused(ours, name)


@pytest.mark.parametrize("particles", [1, 10, 30])
def test_sequential_particles_take_one_graph(particles):
    losses = {}
    for compile in (False, True):
        net = Net()
        step = SVI(net.model, net.guide, SLOW, infer.Trace_ELBO(num_particles=particles), compile=compile)
        losses[compile] = []
        for t in range(4):
            with scoped_seed(t):
                losses[compile].append(step.step(X))
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)
    assert step.refused is None
    assert sum(len(trusted.graphs) for trusted in step._compiled._verified.values()) == 1


def correlated(x):
    chol = pyro.sample("chol", dist.LKJCholesky(3, torch.tensor(2.0)))
    with pyro.plate("data", 5):
        pyro.sample("x", dist.MultivariateNormal(torch.zeros(3), scale_tril=chol), obs=x)


def spline():
    flow = Spline(1, count_bins=4, bound=3.0, order="linear")

    def program(x):
        pyro.module("flow", flow)
        base = dist.Normal(torch.zeros(1), 1.0).to_event(1)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.TransformedDistribution(base, [flow]), obs=x[:, None])

    return program, lambda x: None, X


def process(sparse):
    inputs = torch.linspace(0, 1, 8)
    kernel = gp.kernels.RBF(1)
    if sparse:
        made = gp.models.SparseGPRegression(inputs, X, kernel, Xu=inputs[::3].clone(), jitter=1e-4)
    else:
        made = gp.models.GPRegression(inputs, X, kernel, jitter=1e-4)
    return made.model, made.guide


HARD = {
    "LKJCholesky": lambda: (correlated, AutoNormal(correlated), torch.randn(5, 3)),
    "spline": spline,
    "GPRegression": lambda: process(False),
    "SparseGPRegression": lambda: process(True),
}


@pytest.mark.parametrize("name", HARD)
def test_harder_programs_compile_or_say_why_not(name):
    losses = {}
    for compile in (False, True):
        with scoped_seed(0):
            program, guide, *args = HARD[name]()
        step = SVI(program, guide, SLOW, compile=compile)
        losses[compile] = []
        for t in range(5):
            with scoped_seed(t):
                losses[compile].append(step.step(*args))
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)
    assert is_refused(step, name)
