"""Programs of time: hidden Markov model, linear-Gaussian state space, recurrent VAE, survival times."""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from pyro.infer.autoguide import AutoDelta, AutoNormal
from torch import nn
from torch.distributions import constraints


def hidden_markov():
    """Sequences of several lengths, the state summed out, its probabilities by maximum a posteriori."""
    states, kinds = 3, 5

    def model(x, lengths):
        move = pyro.sample("move", dist.Dirichlet(torch.eye(states) * 2 + 0.5).to_event(1))
        emit = pyro.sample("emit", dist.Dirichlet(torch.ones(states, kinds)).to_event(1))
        with pyro.plate("sequences", len(x)):
            z = torch.tensor(0)
            for t in pyro.markov(range(x.shape[1])):
                with poutine.mask(mask=t < lengths):
                    z = pyro.sample(f"z{t}", dist.Categorical(move[z]), infer={"enumerate": "parallel"})
                    pyro.sample(f"x{t}", dist.Categorical(emit[z]), obs=x[:, t])

    guide = AutoDelta(poutine.block(model, expose=["move", "emit"]))
    lengths = torch.tensor([5, 2, 5, 4, 3, 1, 4])
    return model, guide, (torch.randint(kinds, (7, 5)), lengths), TraceEnum_ELBO(max_plate_nesting=1)


def linear_gaussian():
    """A state-space model by exact maximum likelihood: its states are integrated out in parallel over time."""

    def model(x):
        turn = pyro.param("turn", 0.9 * torch.eye(2))
        look = pyro.param("look", torch.randn(2, 3))
        noise = pyro.param("noise", torch.ones(3), constraint=constraints.positive)
        start = dist.MultivariateNormal(torch.zeros(2), torch.eye(2))
        moved = dist.Normal(torch.zeros(2), 0.5).to_event(1)
        seen = dist.Normal(torch.zeros(3), noise).to_event(1)
        with pyro.plate("sequences", len(x)):
            pyro.sample("x", dist.GaussianHMM(start, turn, moved, look, seen, duration=x.shape[1]), obs=x)

    return model, lambda x: None, (torch.randn(4, 6, 3).cumsum(1),), None


class Sentences(nn.Module):
    """A variational autoencoder of short sentences: one recurrent network reads, another one writes."""

    def __init__(self, words=11, latent=3, hidden=8):
        super().__init__()
        self.latent = latent
        self.embed = nn.Embedding(words, 4)
        self.read = nn.GRU(4, hidden, batch_first=True)
        self.write = nn.GRU(4, hidden, batch_first=True)
        self.encode, self.begin = nn.Linear(hidden, 2 * latent), nn.Linear(latent, hidden)
        self.words = nn.Linear(hidden, words)

    def model(self, x, lengths):
        pyro.module("sentences", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), self.latent), 1.0).to_event(1))
            before = self.embed(nn.functional.pad(x[:, :-1], (1, 0)))
            h, _ = self.write(before, self.begin(z).tanh()[None])
            there = torch.arange(x.shape[1]) < lengths[:, None]
            pyro.sample("x", dist.Categorical(logits=self.words(h)).mask(there).to_event(1), obs=x)

    def guide(self, x, lengths):
        pyro.module("sentences", self)
        h, _ = self.read(self.embed(x))
        last = h[torch.arange(len(x)), lengths - 1]
        loc, raw = self.encode(last).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, nn.functional.softplus(raw) + 1e-3).to_event(1))


def sentences():
    net = Sentences()
    return net.model, net.guide, (torch.randint(11, (6, 7)), torch.tensor([7, 3, 5, 7, 2, 6])), Trace_ELBO()


def survival():
    """Weibull times that depend on covariates; of some it is only known that they are longer."""

    def model(x, time, died):
        shape = pyro.sample("shape", dist.LogNormal(0.0, 0.5))
        weight = pyro.sample("weight", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        scale = (x @ weight).exp()
        with pyro.plate("patients", len(x)):
            with poutine.mask(mask=died):
                pyro.sample("time", dist.Weibull(scale, shape), obs=time)
            with poutine.mask(mask=~died):
                pyro.factor("longer", -((time / scale) ** shape))

    x = torch.randn(30, 3)
    time = torch.distributions.Weibull((x @ torch.tensor([0.5, -0.5, 0.0])).exp(), torch.tensor(1.5)).sample()
    return model, AutoNormal(model), (x, time.clamp(max=1.5), time < 1.5), None


SEQUENCES = {
    "hidden Markov model of several lengths": hidden_markov,
    "linear-Gaussian state space": linear_gaussian,
    "recurrent VAE": sentences,
    "survival with censoring": survival,
}
