"""Programs that a Pyro user would write, as ``make() -> (model, guide, batch, loss)``."""

from functools import partial

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.transforms import affine_autoregressive
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO, config_enumerate
from pyro.infer.autoguide import (
    AutoDelta,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
    AutoNormalizingFlow,
)
from pyro.nn import PyroModule, PyroSample
from torch import nn
from torch.distributions import constraints
from torch.nn import functional as F


class Regression(PyroModule):
    def __init__(self):
        super().__init__()
        self.linear = PyroModule[nn.Linear](3, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 3]).to_event(2))

    def forward(self, x, y=None):
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        mean = self.linear(x).squeeze(-1)
        with pyro.plate("data", len(x)):
            return pyro.sample("y", dist.Normal(mean, scale), obs=y)


def regression(guide):
    model = Regression()
    x = torch.randn(40, 3)
    return model, guide(model), (x, x @ torch.tensor([1.0, -2.0, 0.5])), None


def hierarchical():
    """Eight schools, the standard deviation of the schools unknown; subsampled."""

    def model(y):
        mu, tau = pyro.sample("mu", dist.Normal(0, 5)), pyro.sample("tau", dist.HalfCauchy(5.0))
        with pyro.plate("schools", 8, subsample_size=4) as index:
            effect = pyro.sample("effect", dist.Normal(mu, tau))
            pyro.sample("y", dist.Normal(effect, 10.0), obs=y[index])

    def guide(y):
        pyro.sample("mu", dist.Normal(pyro.param("m", torch.tensor(0.0)), 1.0))
        tau = pyro.param("t", torch.tensor(1.0), constraint=constraints.positive)
        pyro.sample("tau", dist.LogNormal(tau.log(), 0.3))
        loc = pyro.param("loc", torch.zeros(8))
        with pyro.plate("schools", 8, subsample_size=4) as index:
            pyro.sample("effect", dist.Normal(loc[index], 1.0))

    return model, guide, (torch.tensor([28.0, 8, -3, 7, -1, 1, 18, 12]),), None


def deep_markov():
    """A nonlinear state-space model with a recurrent guide, unrolled over time."""
    steps, latent = 4, 3
    transition, emission = nn.Linear(latent, 2 * latent), nn.Linear(latent, 5)
    rnn, combine = nn.RNN(5, 6, batch_first=True), nn.Linear(6 + latent, 2 * latent)

    def model(x):
        for name, net in (("transition", transition), ("emission", emission)):
            pyro.module(name, net)
        z = torch.zeros(len(x), latent)
        with pyro.plate("data", len(x)):
            for t in pyro.markov(range(steps)):
                loc, raw = transition(z).chunk(2, -1)
                z = pyro.sample(f"z{t}", dist.Normal(loc, F.softplus(raw) + 0.1).to_event(1))
                pyro.sample(f"x{t}", dist.Bernoulli(logits=emission(z)).to_event(1), obs=x[:, t])

    def guide(x):
        for name, net in (("rnn", rnn), ("combine", combine)):
            pyro.module(name, net)
        h, _ = rnn(x.flip(1))
        z = torch.zeros(len(x), latent)
        with pyro.plate("data", len(x)):
            for t in pyro.markov(range(steps)):
                loc, raw = combine(torch.cat([h[:, steps - 1 - t], z], -1)).chunk(2, -1)
                z = pyro.sample(f"z{t}", dist.Normal(loc, F.softplus(raw) + 0.1).to_event(1))

    return model, guide, (torch.bernoulli(torch.full((6, steps, 5), 0.4)),), None


def semi_supervised():
    """A VAE with an unobserved class, summed out."""
    encode_y, encode_z, decode = nn.Linear(8, 3), nn.Linear(8 + 3, 4), nn.Linear(2 + 3, 8)

    def model(x):
        pyro.module("decode", decode)
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.OneHotCategorical(torch.ones(3) / 3))
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            h = torch.cat([z.expand(*y.shape[:-2], len(x), 2), y.expand(*y.shape[:-2], len(x), 3)], -1)
            pyro.sample("x", dist.Bernoulli(logits=decode(h)).to_event(1), obs=x)

    @config_enumerate
    def guide(x):
        pyro.module("encode_y", encode_y)
        pyro.module("encode_z", encode_z)
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.OneHotCategorical(logits=encode_y(x)))
            h = torch.cat([x.expand(*y.shape[:-2], len(x), 8), y.expand(*y.shape[:-2], len(x), 3)], -1)
            loc, raw = encode_z(h).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))

    return model, guide, (torch.bernoulli(torch.full((6, 8), 0.5)),), TraceEnum_ELBO(max_plate_nesting=1)


def topics():
    """LDA: topic of each word summed out, topic weights by document amortised."""
    net = nn.Linear(10, 3)

    def model(words):
        topic_words = pyro.sample("topic_words", dist.Dirichlet(torch.ones(3, 10)).to_event(1))
        with pyro.plate("documents", words.shape[1]):
            weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
            with pyro.plate("words", words.shape[0]):
                topic = pyro.sample("topic", dist.Categorical(weights), infer={"enumerate": "parallel"})
                pyro.sample("word", dist.Categorical(topic_words[topic]), obs=words)

    def guide(words):
        pyro.module("net", net)
        posterior = pyro.param("posterior", torch.full((3, 10), 2.0), constraint=constraints.positive)
        pyro.sample("topic_words", dist.Dirichlet(posterior).to_event(1))
        counts = F.one_hot(words, 10).sum(0).float()
        with pyro.plate("documents", words.shape[1]):
            pyro.sample("weights", dist.Dirichlet(F.softplus(net(counts)) + 0.5))

    return model, guide, (torch.randint(10, (7, 5)),), TraceEnum_ELBO(max_plate_nesting=2)


def gaussian_process():
    """Exact GP regression by maximum likelihood of its kernel."""

    def model(x, y):
        scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
        noise = pyro.param("noise", torch.tensor(0.3), constraint=constraints.positive)
        kernel = (-(x[:, None] - x).square() / (2 * scale**2)).exp() + noise * torch.eye(len(x))
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(len(x)), scale_tril=torch.linalg.cholesky(kernel)), obs=y)

    x = torch.linspace(0, 3, 15)
    return model, lambda x, y: None, (x, x.sin()), None


def mixture():
    def model(x):
        weights = pyro.param("weights", torch.ones(3) / 3, constraint=constraints.simplex)
        locs = pyro.param("locs", torch.tensor([-1.0, 0.0, 1.0]))
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(weights), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(locs[k], 0.5), obs=x)

    return model, lambda x: None, (torch.randn(20),), TraceEnum_ELBO(max_plate_nesting=1)


def poisson_factors():
    def model(x):
        with pyro.plate("factors", 2):
            loading = pyro.sample("loading", dist.Gamma(torch.ones(5), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Gamma(torch.ones(2), 1.0).to_event(1))
            pyro.sample("x", dist.Poisson(z @ loading + 1e-3).to_event(1), obs=x)

    def guide(x):
        shape = pyro.param("shape", torch.full((2, 5), 2.0), constraint=constraints.positive)
        local = pyro.param("local", torch.full((6, 2), 2.0), constraint=constraints.positive)
        with pyro.plate("factors", 2):
            pyro.sample("loading", dist.Gamma(shape, 2.0).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Gamma(local, 2.0).to_event(1))

    return model, guide, (torch.poisson(torch.full((6, 5), 2.0)),), None


def normed_vae(loss=None):
    """A VAE with BatchNorm and dropout, some particles."""
    encoder = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 4))
    decoder = nn.Sequential(nn.Linear(2, 8), nn.Softplus(), nn.Linear(8, 12))

    def model(x):
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), torch.ones(len(x), 2)).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        loc, raw = encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))

    return model, guide, (torch.bernoulli(torch.full((10, 12), 0.5)),), loss


def score_function():
    """A latent that is not reparameterised."""

    def model(x):
        with pyro.plate("data", len(x)):
            b = pyro.sample("b", dist.Bernoulli(0.3))
            pyro.sample("x", dist.Normal(b, 1.0), obs=x)

    def guide(x):
        p = pyro.param("p", torch.full((6,), 0.4), constraint=constraints.unit_interval)
        with pyro.plate("data", len(x)):
            pyro.sample("b", dist.Bernoulli(p))

    return model, guide, (torch.randn(6),), None


flow = partial(affine_autoregressive, hidden_dims=[8])
PROGRAMS = {
    "regression, AutoNormal": partial(regression, AutoNormal),
    "regression, AutoMultivariateNormal": partial(regression, AutoMultivariateNormal),
    "regression, AutoLowRank": partial(regression, partial(AutoLowRankMultivariateNormal, rank=2)),
    "regression, AutoDelta": partial(regression, AutoDelta),
    "normalising flow guide": partial(regression, partial(AutoNormalizingFlow, init_transform_fn=flow)),
    "hierarchical, subsampled": hierarchical,
    "deep Markov": deep_markov,
    "semi-supervised VAE": semi_supervised,
    "LDA": topics,
    "Gaussian process": gaussian_process,
    "mixture": mixture,
    "Poisson factors": poisson_factors,
    "BatchNorm and dropout": normed_vae,
    "mean-field loss": lambda: normed_vae(TraceMeanField_ELBO()),
    "vectorised particles": lambda: normed_vae(Trace_ELBO(num_particles=3, vectorize_particles=True)),
    "particles": lambda: normed_vae(Trace_ELBO(num_particles=2)),
    "score function": score_function,
}
