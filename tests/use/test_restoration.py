"""Restoration where p(x | y) is known in closed form, and what cannot be restored."""

import pytest
import torch
from helpers import points
from torch import nn

from pyrogen.errors import ConfigError, DataError
from pyrogen.explicit import CVAE, MADE, PPCA, VAE, BernoulliLikelihood, Gaussian, GaussianMixture, PixelCNN
from pyrogen.implicit import GAN
from pyrogen.nn.conditions import Label, PartialImage
from pyrogen.use import Downsample, Grey, Mask, Noise, restore
from pyrogen.use.operators import adjoint, matrix

SHAPE = (2, 4, 4)
X = (points(400, 32, seed=3) @ torch.linalg.qr(points(32, 32)).Q * torch.linspace(2, 0.3, 32)).view(-1, *SHAPE)
HALF = torch.zeros(SHAPE, dtype=torch.bool)
HALF[:, :2] = True
OPERATORS = [(Mask(HALF), 0.0), (Downsample(2), 0.1), (Grey(), 0.0), (Noise(), 0.5), (lambda x: x.cumsum(-1), 0.2)]


def conditional(mean, covariance, y, a, noise):
    """Mean and covariance of x given y, by the joint Gaussian of both."""
    seen = a @ covariance @ a.T + noise**2 * torch.eye(len(a)).double()
    gain = torch.linalg.solve(seen, a @ covariance).T
    return mean + (y - mean @ a.T) @ gain.T, covariance - gain @ a @ covariance


@pytest.mark.parametrize(("operator", "noise"), OPERATORS)
@pytest.mark.parametrize("model", [Gaussian.from_data(X, "full"), PPCA.from_data(X, 5)])
def test_gaussians_equal_the_closed_form(model, operator, noise):
    a = matrix(operator, X[0].double())
    y = operator(X[:3])
    found = restore(model, y, operator, SHAPE, noise=noise, draws=20_000)
    p_x = model.distribution()
    mean, covariance = conditional(p_x.mean.double(), p_x.covariance_matrix.double(), y.flatten(1).double(), a, noise)
    assert found.method == "closed form"
    torch.testing.assert_close(found.mean.flatten(1).double(), mean, atol=1e-4, rtol=0)
    draws = found.draws[0].flatten(1).double()
    torch.testing.assert_close(draws.mean(0), mean[0], atol=0.06, rtol=0)
    torch.testing.assert_close(draws.T.cov(), covariance, atol=0.15, rtol=0)
    if not noise:
        torch.testing.assert_close(operator(found.draws[:, 0]), y, atol=1e-3, rtol=0)


def test_a_mixture_weighs_its_components_by_what_is_seen():
    model = GaussianMixture((2,), 2, min_std=1e-3)
    with torch.no_grad():
        model.loc.copy_(torch.tensor([[-2.0, 1.0], [2.0, -1.0]]))
        model.log_diagonal.fill_(-1.0)
        model.logits.copy_(torch.tensor([0.3, -0.3]))
    operator = Mask(torch.tensor([True, False]))
    y = torch.tensor([[-1.5], [0.1], [2.0]])
    found = restore(model, y, operator, (2,), draws=4000)
    weight = (model.logits - 0.5 * ((y - model.loc[:, 0]) / model.diagonal[:, 0]).square()).softmax(1)
    expected = weight @ model.loc[:, 1]
    torch.testing.assert_close(found.mean[:, 1], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.draws[..., 1].mean(1), expected, atol=0.1, rtol=0)
    assert bool((found.draws[..., 0] - y).abs().max() < 1e-4)


class AsDecoder(nn.Module):
    """A PPCA that does not say that it is one."""

    def __init__(self, ppca):
        super().__init__()
        self.latent, self.decode, self.observation_dist = ppca.latent, ppca.decode, ppca.observation_dist


@pytest.mark.parametrize(("operator", "noise"), OPERATORS[:2])
def test_hmc_over_the_codes_agrees_with_the_closed_form(operator, noise):
    ppca = PPCA.from_data(X, 3)
    y = operator(X[:10])
    exact, found = (restore(m, y, operator, SHAPE, noise=noise, draws=120) for m in (ppca, AsDecoder(ppca)))
    assert found.method == "HMC"
    assert 0.6 < found.detail["acceptance"] < 0.97
    spread = exact.draws.std(1)
    error = ((found.mean - exact.mean) / spread.clamp_min(1e-3)).square().mean().sqrt()
    assert error < 0.2
    hidden = spread > 1e-3
    torch.testing.assert_close(found.draws.std(1)[hidden], spread[hidden], rtol=0.4, atol=0.02)


class Classes(nn.Module):
    """One Gaussian for each label, which is a mixture where the label is not given."""

    latent = 1

    def __init__(self):
        super().__init__()
        self.condition = Label(3, torch.tensor([0.2, 0.3, 0.5]))
        self.means, self.directions = 3 * points(3, 4, seed=1), points(3, 4, seed=2)

    def decode(self, z, y):
        return self.means[y] + z * self.directions[y]


def test_a_label_that_is_not_given_is_inferred():
    model, mask, noise = Classes(), Mask(torch.tensor([True, False, False, True])), 0.3
    y = model.condition.draw(60)
    x = model.decode(points(60, 1, seed=3), y)
    seen = mask(x) + noise * points(60, 2, seed=4)
    found = restore(model, seen, mask, (4,), noise=noise, draws=64)
    a = torch.eye(4).double()[mask.seen]
    parts = [
        conditional(model.means[k].double(), torch.outer(v, v).double(), seen.double(), a, noise)[0]
        for k, v in enumerate(model.directions)
    ]
    p_y = [
        torch.distributions.MultivariateNormal(
            a @ model.means[k].double(), a @ torch.outer(v, v).double() @ a.T + noise**2 * torch.eye(2).double()
        ).log_prob(seen.double())
        for k, v in enumerate(model.directions)
    ]
    weight = (torch.stack(p_y) + model.condition.probs.log().double()[:, None]).softmax(0)
    exact = torch.einsum("kn,knd->nd", weight, torch.stack(parts))
    assert (found.mean - exact).square().mean().sqrt() < 0.1 * exact.std()
    given = restore(model, seen, mask, (4,), noise=noise, draws=64, side=y).mean
    of_label = torch.stack(parts)[y, torch.arange(60)]
    assert (given - of_label).square().mean().sqrt() < 0.1 * exact.std()


def test_autoregressive_models_complete_in_their_order():
    torch.manual_seed(0)
    made = MADE((3,), (8,), BernoulliLikelihood())
    nn.init.normal_(made.network.head.weight, std=2.0)
    table = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    joint = made.log_prob(table).exp().detach()
    for seen, method in (((True, False, False), "in order"), ((False, True, False), "resampled")):
        mask = torch.tensor(seen)
        y = torch.tensor([[1.0]])
        found = restore(made, y, Mask(mask), (3,), draws=3000)
        assert found.method == method
        given = joint * (table[:, mask][:, 0] == 1)
        expected = (given / given.sum()) @ table
        torch.testing.assert_close(found.draws[0].mean(0), expected, atol=0.04, rtol=0)
        assert bool((found.draws[..., mask] == 1).all())


def test_a_pixelcnn_completes_the_channels_of_a_pixel_last():
    model = PixelCNN((2, 4, 4), 4, 2, BernoulliLikelihood())
    x = (X[:3] > 0).float()
    found = restore(model, Mask(HALF)(x), Mask(HALF), SHAPE, draws=2)
    assert found.method == "in order"
    assert torch.equal(found.draws[:, :, :, :2], x[:, None, :, :2].expand(-1, 2, -1, -1, -1))
    assert restore(model, Mask(~HALF)(x), Mask(~HALF), SHAPE, draws=2).method == "resampled"


def test_a_pair_a_gan_and_a_cvae():
    x = (X[:4] > 0).float()
    vae = VAE(SHAPE, latent=2, hidden=(8,))
    found = restore(vae, Mask(HALF)(x), Mask(HALF), SHAPE, draws=4)
    assert found.draws.shape == (4, 4, *SHAPE)
    assert torch.equal(found.mean[:, :, :2], x[:, :, :2])
    cvae = CVAE(SHAPE, PartialImage(SHAPE), latent=2, hidden=(8,))
    assert restore(cvae, Mask(HALF)(x), Mask(HALF), SHAPE, draws=4).method == "learned"
    gan = GAN(SHAPE, latent=2, hidden=(8,))
    seen = Downsample(2)(x)
    again = [restore(gan, seen, Downsample(2), SHAPE, noise=0.1, draws=2, seed=5).draws for _ in range(2)]
    assert again[0].shape == (4, 2, *SHAPE)
    assert torch.equal(*again)
    with pytest.raises(ConfigError, match="needs noise > 0"):
        restore(gan, seen, Downsample(2), SHAPE)


def test_the_adjoint_and_the_squared_map_of_every_operator():
    for operator, _ in OPERATORS[:4]:
        a, v = matrix(operator, X[0].double()), X[:2].double().square()
        y = operator(v)
        torch.testing.assert_close(adjoint(operator, y, SHAPE).flatten(1), y.flatten(1) @ a)
        torch.testing.assert_close(operator.squared(v).flatten(1), v.flatten(1) @ a.square().T)


def test_what_cannot_be_restored_is_refused():
    gaussian = Gaussian.from_data(X, "full")
    with pytest.raises(DataError, match=r"\(2, 2, 2\) is seen; got y of shape \(3,\)"):
        restore(gaussian, torch.zeros(1, 3), Downsample(2), SHAPE)
    with pytest.raises(ConfigError, match="not linear"):
        restore(gaussian, X[:1].square(), lambda x: x.square(), SHAPE)
    with pytest.raises(DataError, match="multiples of it"):
        restore(gaussian, X[:1], Downsample(3), SHAPE)
    with pytest.raises(ConfigError, match="at least one seen value"):
        Mask(torch.zeros(SHAPE, dtype=torch.bool))
    with pytest.raises(ConfigError, match="determine others"):
        restore(gaussian, torch.cat([X[:1], X[:1]], 1), lambda x: torch.cat([x, x], 1), SHAPE)
    with pytest.raises(ConfigError, match="what a mask hides"):
        restore(PixelCNN(SHAPE, 4, 2, BernoulliLikelihood()), X[:1], Noise(), SHAPE, noise=1.0)
    with pytest.raises(ConfigError, match="disjoint"):
        restore(VAE(SHAPE, latent=2, hidden=(8,)), X[:1].cumsum(-1), lambda x: x.cumsum(-1), SHAPE, noise=0.1)


class Undefined(nn.Module):
    latent = 2

    def decode(self, z):
        return z[:, :1].expand(-1, 32).view(-1, *SHAPE) * torch.nan


def test_a_decoder_without_a_finite_density_is_named():
    with pytest.raises(ConfigError, match="row 1 is not finite for any of 32 draws"):
        restore(Undefined(), Mask(HALF)(X[:2]), Mask(HALF), SHAPE, noise=0.1)
