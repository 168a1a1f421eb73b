"""Every step that compiles, built around one function of the data, and a replacement for the code generator."""

from functools import partial

import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.optim import SGD

from pyrogen import SVI, AdversarialGame
from pyrogen.compile import CompiledTrace_ELBO
from pyrogen.random import scoped_seed
from pyrogen.steps import GradientStep


def interpret(graph, inputs, options=None):
    """Replace ``torch._inductor.compile``: return the traced graph itself, which needs no compilation."""
    return lambda *tensors: graph(*tensors)


def program(f, registered=False):
    """A Pyro pair with one parameter site whose model computes ``f``."""

    def model(x):
        if registered and isinstance(f, nn.Module):
            pyro.module("f", f)
        loc = pyro.param("loc", torch.zeros(2))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc + f(x), 1.0).to_event(1), obs=x)

    return model, lambda x: None


def svi(f, compile, lr):
    step = SVI(*program(f), optim=partial(SGD, lr=lr), compile=compile)
    return lambda x: step.step(x), lambda: step.refused


def registered_svi(f, compile, lr):
    """A pair whose network is found as the owner of a method and by ``pyro.module``."""

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc, self.f = nn.Parameter(torch.zeros(2)), f

        def model(self, x):
            pyro.module("pair", self)
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(self.loc + self.f(x), 1.0).to_event(1), obs=x)

    step = SVI(Pair().model, optim=partial(SGD, lr=lr), compile=compile)
    return lambda x: step.step(x), lambda: step.refused


def pyro_svi(f, compile, lr):
    pyro.clear_param_store()
    loss = CompiledTrace_ELBO() if compile else pyro.infer.Trace_ELBO()
    step = pyro.infer.SVI(*program(f, registered=True), pyro.optim.SGD({"lr": lr}), loss)
    return step.step, lambda: loss.refused if compile else None


def descent(f, compile, lr):
    class Losses(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc, self.f = nn.Parameter(torch.zeros(2)), f

        def forward(self, x):
            apart = (self.loc + self.f(x) - x).square().sum()
            return {"apart": apart.detach(), "loss": 0.5 * apart}

    step = GradientStep(Losses(), partial(SGD, lr=lr), compile=compile)
    return lambda x: float(step(x)["loss"]), lambda: step._verified.refused


def game(f, compile, lr):
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc, self.f = nn.Parameter(torch.ones(2)), f

        def forward(self, x):
            return (self.loc * self.f(x)).sum(1)

    with scoped_seed(0):
        generator = nn.Linear(1, 2)
    step = AdversarialGame(
        generator,
        Critic(),
        lambda n: torch.linspace(-1.0, 1.0, n, dtype=torch.float32)[:, None],
        optim=partial(SGD, lr=lr),
        compile=compile,
        noise=lambda t: 0.1,
    )

    def call(x):
        logs = step(x)
        return float(logs["critic_loss"] + logs["generator_loss"])

    return call, lambda: step._verified["critic"].refused or step._verified["generator"].refused


HOSTS = {"SVI": svi, "registered": registered_svi, "Pyro's SVI": pyro_svi, "GradientStep": descent, "game": game}
