"""Programs that stand for a guide or a module of Pyro's: EasyGuide, AutoIAF, AutoLaplace, a conditional flow, a GP."""

import pyro
import pyro.distributions as dist
import torch
from pyro.contrib import gp
from pyro.contrib.easyguide import easy_guide
from pyro.distributions.transforms import conditional_spline
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoIAFNormal, AutoLaplaceApproximation
from torch.distributions import constraints


def schools(y):
    """Groups with effects of their own."""
    mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    spread = pyro.sample("spread", dist.LogNormal(0.0, 0.5))
    with pyro.plate("groups", len(y)):
        effect = pyro.sample("effect", dist.Normal(mean, spread))
        pyro.sample("y", dist.Normal(effect, 0.5), obs=y)


def easy():
    """The globals jointly normal, each group's effect by itself."""

    @easy_guide(schools)
    def guide(self, y):
        globals_ = self.group(match="mean|spread")
        loc = pyro.param("loc", torch.zeros(globals_.event_shape))
        tril = pyro.param(
            "tril", lambda: 0.3 * torch.eye(globals_.event_shape[0]), constraint=constraints.lower_cholesky
        )
        globals_.sample("globals", dist.MultivariateNormal(loc, scale_tril=tril))
        with self.plate("groups", len(y)):
            centre = pyro.param("centre", torch.zeros(len(y)))
            pyro.sample("effect", dist.Normal(centre, 0.3))

    return schools, guide, (torch.tensor([0.3, -1.0, 2.0, 0.7, 1.1]),), None


def logistic(x, y):
    """Logistic regression with an intercept."""
    weight = pyro.sample("weight", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    start = pyro.sample("start", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Bernoulli(logits=x @ weight + start), obs=y)


def separated():
    x = torch.randn(25, 3)
    return x, torch.bernoulli(torch.sigmoid(x[:, 0] - x[:, 1]))


def autoregressive_guide():
    return logistic, AutoIAFNormal(logistic, hidden_dim=[8], num_transforms=2), separated(), None


def laplace():
    return logistic, AutoLaplaceApproximation(logistic), separated(), None


def conditional_flow():
    """The density of y given x by a spline whose knots are a network's."""
    flow = conditional_spline(2, context_dim=3, hidden_dims=[8], count_bins=4, order="quadratic")

    def model(x, y):
        pyro.module("flow", flow)
        base = dist.Normal(torch.zeros(2), 1.0).to_event(1)
        density = dist.ConditionalTransformedDistribution(base, [flow]).condition(x)
        with pyro.plate("data", len(x)):
            pyro.sample("y", density, obs=y)

    return model, lambda x, y: None, (torch.randn(12, 3), torch.randn(12, 2)), Trace_ELBO()


def sparse_process():
    """A sparse Gaussian process of labels, as Pyro ships it: it holds its data, and is called without any."""
    x = torch.linspace(-2, 2, 20)
    labels = torch.bernoulli(torch.sigmoid(3 * (2 * x).sin()))
    kernel = gp.kernels.RBF(1, lengthscale=torch.tensor(0.7))
    likelihood = gp.likelihoods.Binary()
    process = gp.models.VariationalSparseGP(x, labels, kernel, Xu=x[::4].clone(), likelihood=likelihood, jitter=1e-4)
    return process.model, process.guide, (), TraceMeanField_ELBO()


GUIDED = {
    "EasyGuide": easy,
    "AutoIAFNormal": autoregressive_guide,
    "AutoLaplaceApproximation": laplace,
    "conditional spline": conditional_flow,
    "sparse Gaussian process": sparse_process,
}
