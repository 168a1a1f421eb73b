"""A latent-variable model: a small VAE that can be read and sampled."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

import pyrogen


class Small(nn.Module):
    def __init__(self, shape):
        super().__init__()
        dims = torch.Size(shape).numel()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(dims, 16), nn.Tanh(), nn.Linear(16, 6))
        self.decoder = nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.1), nn.Linear(16, dims), nn.Unflatten(1, shape))

    def given(self, z):
        return dist.Normal(self.decoder(z).float(), 0.3).to_event(3)

    def posterior(self, x):
        loc, log_scale = self.encoder(x).float().chunk(2, -1)
        return dist.Normal(loc, log_scale.exp()).to_event(1)

    def model(self, x, y=None):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 3), 1.0).to_event(1))
            pyro.sample("x", self.given(z), obs=x)

    def guide(self, x, y=None):
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x))

    def encode(self, x, y=None):
        return self.posterior(x).mean

    def decode(self, z, y=None):
        return self.given(z).mean

    @torch.no_grad()
    def sample(self, n, y=None):
        return self.given(torch.randn(n, 3)).sample()


def make(data):
    model = Small(data.shape)
    return model, pyrogen.SVI(model.model, model.guide)
