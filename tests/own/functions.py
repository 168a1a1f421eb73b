"""Two Pyro functions: factor analysis with parameters of Pyro's store; the step stands for them."""

import pyro
import pyro.distributions as dist
import torch

import pyrogen


def model(x):
    load = pyro.param("load", lambda: 0.1 * torch.randn(x[0].numel(), 4))
    scale = pyro.param("scale", lambda: torch.tensor(0.3), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 4), 1.0).to_event(1))
        pyro.sample("x", dist.Normal((z @ load.T).float(), scale).to_event(1), obs=x.flatten(1))


def guide(x):
    read = pyro.param("read", lambda: 0.1 * torch.randn(x[0].numel(), 4))
    width = pyro.param("width", lambda: torch.ones(4), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal((x.flatten(1) @ read).float(), width).to_event(1))


def make(data):
    return pyrogen.SVI(model, guide)
