"""The VAE: its contract, its bounds where the marginal is known, and its training against stock Pyro."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch.optim import Adam

import pyrogen
from pyrogen import SVI
from pyrogen.data import Split
from pyrogen.errors import ConfigError
from pyrogen.explicit import VAE, GaussianLikelihood
from pyrogen.explicit.likelihoods import make_likelihood
from pyrogen.measure.likelihood import bounds
from pyrogen.random import scoped_seed
from pyrogen.testing import check_latent_variable, check_pair, check_sampler

LIKELIHOODS = ("bernoulli", "gaussian", "discretized_logistic")
NETWORKS = [(network, shape) for network in ("mlp", "conv") for shape in ((1, 8, 8), (3, 9, 11))] + [("mlp", (5,))]


def make(shape, network="mlp", likelihood="bernoulli", **options):
    with scoped_seed(0):
        return VAE(shape, 4, (8, 6), make_likelihood(likelihood, 17), network, **options)


def some_data(n, shape, likelihood):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))
    return (x > 0.5).float() if likelihood == "bernoulli" else x


class LinearGaussian:
    """z ~ N(0, I), x | z ~ N(W z + b, s² I), of which everything is known; ``spread`` spoils the guide."""

    W = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.2, -1.1]])
    b = torch.tensor([0.5, -1.0, 2.0])
    s = 0.7

    def __init__(self, spread=1.0):
        self.spread = spread
        precision = torch.eye(2) + self.W.T @ self.W / self.s**2
        self.to_mean = torch.linalg.inv(precision) @ self.W.T / self.s**2
        self.factor = torch.linalg.cholesky(torch.linalg.inv(precision))
        self.marginal = dist.MultivariateNormal(self.b, self.W @ self.W.T + self.s**2 * torch.eye(3))

    def model(self, x, y=None):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.W.T + self.b, self.s).to_event(1), obs=x)

    def guide(self, x, y=None):
        with pyro.plate("data", len(x)):
            mean = (x - self.b) @ self.to_mean.T
            pyro.sample("z", dist.MultivariateNormal(mean, scale_tril=self.spread * self.factor))


def linear_vae(latent=2, shape=(1, 2, 3), s=0.6):
    """A VAE without hidden layers, whose encoder is the true posterior; with its marginal distribution."""
    dims = torch.Size(shape).numel()
    with scoped_seed(4):
        vae = VAE(shape, latent, (), GaussianLikelihood(s, unit=False), mean=torch.randn(shape))
        orthogonal, _ = torch.linalg.qr(torch.randn(dims, latent))
    size = torch.linspace(0.5, 1.5, latent)
    W, precision = orthogonal * size, 1 + size.square() / s**2
    decode, encode = vae.decoder[0][0], vae.encoder[1][0]
    with torch.no_grad():
        decode.weight.copy_(W)
        mean = decode.bias + vae.offset.flatten()
        to_mean = W.T / s**2 / precision[:, None]
        encode.weight.copy_(torch.cat([to_mean, torch.zeros_like(to_mean)]))
        encode.bias.copy_(torch.cat([-to_mean @ mean, -0.5 * precision.log()]))
        return vae.eval(), dist.MultivariateNormal(mean, W @ W.T + s**2 * torch.eye(dims))


@pytest.mark.parametrize(("network", "shape"), NETWORKS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("n", [1, 3])
def test_contract(network, shape, likelihood, n):
    vae = make(shape, network, likelihood)
    x = some_data(n, shape, likelihood)
    for check in (check_sampler, check_pair, check_latent_variable):
        check(vae, Split(x))
    assert vae.encode(x).shape == (n, 4)
    drawn, mean = vae.sample(n), vae.sample_mean(n)
    assert mean.shape == x.shape
    assert not mean.requires_grad
    if likelihood == "bernoulli":
        assert set(drawn.unique().tolist()) <= {0.0, 1.0}
    assert mean.min() >= 0
    assert mean.max() <= 1
    *_, what = bounds(vae, x, k=1)
    assert (what.latent, what.shared, what.probability) == (True, False, vae.likelihood.probability)


@pytest.mark.parametrize(("network", "shape"), NETWORKS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_decoder_starts_at_the_mean_of_the_data(network, shape, likelihood):
    mean = some_data(1, shape, "gaussian")[0] * 0.98 + 0.01
    vae = make(shape, network, likelihood, mean=mean)
    for parameter in vae.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    atol = 0.1 if likelihood == "discretized_logistic" else 1e-5
    assert torch.allclose(vae.decode(torch.randn(2, 4)), mean.expand(2, *shape), atol=atol)


def test_every_parameter_gets_a_gradient():
    for network in ("mlp", "conv"):
        vae = make((1, 8, 8), network, "gaussian")
        step = SVI(vae.model, vae.guide)
        before = {name: p.detach().clone() for name, p in vae.named_parameters()}
        with scoped_seed(0):
            step(some_data(4, (1, 8, 8), "gaussian"))
        assert [name for name, p in vae.named_parameters() if torch.equal(p, before[name])] == []


def test_samples_are_drawn_under_the_seed():
    vae = make((5,), likelihood="gaussian")
    drawn = []
    for _ in range(2):
        with scoped_seed(7):
            drawn.append(vae.sample(6))
    assert torch.equal(*drawn)
    assert not torch.equal(vae.sample(6), drawn[0])
    assert vae.training


def test_bounds_approach_the_exact_marginal():
    pair = LinearGaussian(spread=2.0)
    x = pair.b + torch.randn(400, 3, generator=torch.Generator().manual_seed(1))
    exact = pair.marginal.log_prob(x).mean()
    elbo = bounds(pair, x, k=100)[0].mean()
    iwae = [bounds(pair, x, k=k)[1].mean() for k in (1, 5, 25, 500)]
    assert elbo < exact - 0.5
    assert iwae[0] == pytest.approx(float(elbo), abs=0.6)
    assert iwae[0] < iwae[1] < iwae[2] < iwae[3]
    assert iwae[3] == pytest.approx(float(exact), abs=0.02)
    # KL(q || p) of Gaussians with one mean and covariances c² Σ and Σ in two dimensions: c² - 1 - 2 log c.
    gap = 4 - 1 - 2 * torch.tensor(2.0).log()
    assert elbo == pytest.approx(float(exact - gap), abs=0.1)


def test_bounds_are_exact_under_the_true_posterior():
    pair = LinearGaussian()
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    for k in (1, 7):
        elbo, iwae, _ = bounds(pair, x, k=k)
        assert torch.allclose(elbo, pair.marginal.log_prob(x), atol=1e-4)
        assert torch.allclose(iwae, pair.marginal.log_prob(x), atol=1e-4)


def test_linear_vae_has_its_known_marginal():
    vae, marginal = linear_vae()
    x = torch.randn(20, 1, 2, 3, generator=torch.Generator().manual_seed(1))
    elbo, iwae, _ = bounds(vae, x, k=3)
    assert torch.allclose(elbo, marginal.log_prob(x.flatten(1)), atol=1e-3)
    assert torch.allclose(iwae, marginal.log_prob(x.flatten(1)), atol=1e-3)
    n = 40_000
    with scoped_seed(0):
        drawn = vae.sample(n).flatten(1)
    assert (drawn.mean(0) - marginal.mean).abs().max() < 5 * (marginal.variance.max() / n) ** 0.5
    assert (drawn.T.cov() - marginal.covariance_matrix).abs().max() < 5 * marginal.variance.max() * (2 / n) ** 0.5


def test_linear_vae_cannot_exceed_its_marginal():
    vae, marginal = linear_vae()
    torch.nn.init.normal_(vae.encoder[1][0].weight, 0, 0.1, generator=torch.Generator().manual_seed(0))
    x = torch.randn(500, 1, 2, 3, generator=torch.Generator().manual_seed(1))
    exact = marginal.log_prob(x.flatten(1)).mean()
    elbo, iwae, _ = bounds(vae, x, k=50)
    assert elbo.mean() < iwae.mean() < exact + 0.01


@pytest.mark.parametrize("loss", [Trace_ELBO, TraceMeanField_ELBO])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_same_trajectory_as_stock_pyro(loss, network):
    x = pyrogen.load("digits-binary").train.tensors(0)[0][:64]
    ours, theirs = (make(x.shape[1:], network) for _ in range(2))
    pyro.clear_param_store()
    stock = pyro.infer.SVI(theirs.model, theirs.guide, pyro.optim.Adam({"lr": 3e-3}), loss())
    step = SVI(ours.model, ours.guide, optim=partial(Adam, lr=3e-3), loss=loss())
    curve = []
    for t in range(15):
        with scoped_seed(t):
            expected = stock.step(x) / len(x)
        with scoped_seed(t):
            curve.append(float(step(x)["loss"]))
        assert curve[-1] == pytest.approx(expected, rel=1e-4)
    pyro.clear_param_store()
    assert curve[-1] < curve[0] - 1


def test_likelihood_in_the_model_covers_every_value_once():
    vae = make((3, 9, 11), likelihood="gaussian")
    x = some_data(2, (3, 9, 11), "gaussian")
    site = poutine.trace(vae.model).get_trace(x).nodes["x"]
    assert site["fn"].log_prob(x).shape == (2,)
    assert site["fn"].event_shape == (3, 9, 11)


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match=r"'convolutional'.*known: conv, mlp"):
        VAE((1, 8, 8), network="convolutional")
    with pytest.raises(ConfigError, match="8 x 8"):
        VAE((1, 7, 9), hidden=(4,), network="conv")


@pytest.mark.filterwarnings("error")
def test_fixed_sigma_trains_without_a_warning():
    vae = VAE((2,), 2, (4,), GaussianLikelihood(0.1, unit=False))
    SVI(vae.model, vae.guide)(torch.randn(8, 2))


def test_convolutions_on_vectors_are_refused_with_one_sentence():
    with pytest.raises(ConfigError):
        VAE((5,), network="conv")
