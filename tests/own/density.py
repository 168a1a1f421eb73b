"""A tractable density: independent values, by maximum likelihood."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

import pyrogen


class Independent(nn.Module):
    probability = "density"

    def __init__(self, shape):
        super().__init__()
        self.loc, self.log_scale = nn.Parameter(torch.rand(shape)), nn.Parameter(torch.zeros(shape))

    def value(self):
        return dist.Normal(self.loc, self.log_scale.exp()).to_event(self.loc.ndim)

    def model(self, x, y=None):
        with pyro.plate("data", len(x)):
            pyro.sample("x", self.value(), obs=x)

    def log_prob(self, x, y=None):
        return self.value().log_prob(x)

    @torch.no_grad()
    def sample(self, n, y=None):
        return self.value().sample((n,))


def make(data):
    model = Independent(data.shape)
    return model, pyrogen.SVI(model.model)
