"""Bayesian regressions and latent variables of persons and items, most with an automatic guide."""

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import transforms
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoGuideList, AutoNormal
from pyro.nn import PyroModule, PyroSample
from torch import nn
from torch.distributions import constraints


class BayesianNetwork(PyroModule):
    """Two layers whose weights are random."""

    def __init__(self, hidden=5):
        super().__init__()
        self.first, self.second = PyroModule[nn.Linear](2, hidden), PyroModule[nn.Linear](hidden, 1)
        self.first.weight = PyroSample(dist.Normal(0.0, 1.0).expand([hidden, 2]).to_event(2))
        self.first.bias = PyroSample(dist.Normal(0.0, 1.0).expand([hidden]).to_event(1))
        self.second.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, hidden]).to_event(2))

    def forward(self, x, y=None):
        noise = pyro.sample("noise", dist.Gamma(2.0, 5.0))
        mean = self.second(self.first(x).tanh()).squeeze(-1)
        with pyro.plate("data", len(x)):
            return pyro.sample("y", dist.Normal(mean, noise), obs=y)


def bayesian_network():
    model, x = BayesianNetwork(), torch.randn(20, 2)
    return model, AutoDiagonalNormal(model), (x, x.sin().sum(1)), None


def horseshoe():
    """A sparse linear regression; weights centred on zero with half-Cauchy scales."""

    def model(x, y):
        shrink = pyro.sample("shrink", dist.HalfCauchy(0.5))
        noise = pyro.sample("noise", dist.HalfCauchy(1.0))
        with pyro.plate("features", x.shape[1]):
            local = pyro.sample("local", dist.HalfCauchy(1.0))
            raw = pyro.sample("raw", dist.Normal(0.0, 1.0))
        mean = x @ (shrink * local * raw)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(mean, noise), obs=y)

    x = torch.randn(25, 6)
    return model, AutoNormal(model), (x, 2 * x[:, 0] + 0.1 * torch.randn(25)), None


def causal_effect():
    """CEVAE as Pyro ships it, with its own loss.

    Model and guide have layers of the same names; side by side, Pyro's ``SVI`` would train only one of each.
    """
    from pyro.contrib.cevae import Guide, Model, TraceCausalEffect_ELBO

    config = {"feature_dim": 4, "latent_dim": 2, "hidden_dim": 6, "num_layers": 2, "num_samples": 10}
    config["outcome_dist"] = "bernoulli"
    x = torch.randn(12, 4)
    treated = torch.bernoulli(torch.sigmoid(x[:, 0]))
    cured = torch.bernoulli(torch.sigmoid(x[:, 1] + treated))
    both = PyroModule("cevae")
    both.model, both.guide = Model(config), Guide(config)
    return both.model, both.guide, (x, treated, cured), TraceCausalEffect_ELBO()


def item_response():
    """The two-parameter logistic model of answers by students to questions."""

    def model(answers):
        students, items = answers.shape
        with pyro.plate("items", items, dim=-1):
            hardness = pyro.sample("hardness", dist.Normal(0.0, 1.0))
            sharpness = pyro.sample("sharpness", dist.LogNormal(0.0, 0.5))
        with pyro.plate("students", students, dim=-2):
            ability = pyro.sample("ability", dist.Normal(0.0, 1.0))
            with pyro.plate("answers", items, dim=-1):
                pyro.sample("answer", dist.Bernoulli(logits=sharpness * (ability - hardness)), obs=answers)

    return model, AutoNormal(model), (torch.bernoulli(torch.full((9, 5), 0.6)),), Trace_ELBO()


def ordinal():
    """Grades from worst to best by an ordered logistic regression, its thresholds random."""

    def model(x, grade):
        order = transforms.OrderedTransform()
        cuts = pyro.sample("cuts", dist.TransformedDistribution(dist.Normal(torch.zeros(3), 1.0).to_event(1), [order]))
        weight = pyro.sample("weight", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("grade", dist.OrderedLogistic(x @ weight, cuts), obs=grade)

    x = torch.randn(20, 2)
    return model, AutoNormal(model), (x, (x[:, 0] > -0.5).long() + (x[:, 0] > 0.3)), None


def dirichlet_process():
    """An infinite mixture cut at six parts, sticks broken by Beta draws, each datum's part summed out."""
    parts = 6

    def weights(stick):
        return torch.cat([stick, torch.ones(1)]) * torch.cat([torch.ones(1), (1 - stick).cumprod(0)])

    def model(x):
        with pyro.plate("sticks", parts - 1):
            stick = pyro.sample("stick", dist.Beta(1.0, 2.0))
        with pyro.plate("parts", parts):
            loc = pyro.sample("loc", dist.MultivariateNormal(torch.zeros(2), 4 * torch.eye(2)))
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(weights(stick)), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.MultivariateNormal(loc[k], torch.eye(2)), obs=x)

    def guide(x):
        second = pyro.param("second", lambda: torch.ones(parts - 1) + torch.rand(parts - 1), constraints.positive)
        centre = pyro.param("centre", lambda: torch.randn(parts, 2))
        with pyro.plate("sticks", parts - 1):
            pyro.sample("stick", dist.Beta(torch.ones(parts - 1), second))
        with pyro.plate("parts", parts):
            pyro.sample("loc", dist.MultivariateNormal(centre, 0.1 * torch.eye(2)))

    x = torch.randn(24, 2) + 3 * torch.randint(-1, 2, (24, 1))
    return model, guide, (x,), TraceEnum_ELBO(max_plate_nesting=1)


def factors():
    """Factor analysis: loadings by maximum a posteriori, the factors of each datum by mean field."""

    def model(x):
        loading = pyro.sample("loading", dist.Normal(torch.zeros(2, 5), 1.0).to_event(2))
        noise = pyro.sample("noise", dist.HalfNormal(torch.ones(5)).to_event(1))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ loading, noise).to_event(1), obs=x)

    guide = AutoGuideList(model)
    guide.append(AutoDelta(pyro.poutine.block(model, expose=["loading", "noise"])))
    guide.append(AutoNormal(pyro.poutine.block(model, expose=["z"])))
    return model, guide, (torch.randn(15, 5),), None


REGRESSIONS = {
    "Bayesian neural network": bayesian_network,
    "horseshoe regression": horseshoe,
    "causal effect VAE": causal_effect,
    "item response": item_response,
    "ordinal regression": ordinal,
    "Dirichlet-process mixture": dirichlet_process,
    "factor analysis": factors,
}
