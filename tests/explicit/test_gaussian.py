"""The Gaussian: closed form, maximum likelihood by SVI, and the two against each other."""

from functools import partial

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

import pyrogen
from pyrogen import SVI, Density, fit
from pyrogen.errors import ConfigError, DataError
from pyrogen.explicit import Gaussian
from pyrogen.random import scoped_seed


def draw(n, *shape, seed=0):
    """Correlated data of unequal scales."""
    generator = torch.Generator().manual_seed(seed)
    d = torch.Size(shape).numel()
    mix = torch.randn(d, d, generator=generator) * torch.logspace(-1, 1, d)[:, None]
    return (torch.randn(n, d, generator=generator) @ mix.T + 3).view(n, *shape)


def exact(x, covariance, jitter=0.0):
    """The distribution with the moments of ``x``, in float64."""
    flat = x.flatten(1).double()
    mean = flat.mean(0)
    cov = (flat - mean).T @ (flat - mean) / len(flat)
    cov = cov + jitter * torch.eye(len(cov), dtype=torch.float64)
    return MultivariateNormal(mean, cov if covariance == "full" else cov.diagonal().diag())


def some(covariance, shape=(2,), seed=0):
    """A Gaussian whose every parameter is off its default."""
    with scoped_seed(seed):
        model = Gaussian(shape, covariance, torch.randn(shape), torch.rand(shape) + 0.5)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.4 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("shape", [(1,), (4,), (1, 3, 3), (3, 2, 1)])
def test_from_data_has_the_moments_of_the_data(covariance, shape):
    x = draw(200, *shape)
    model = Gaussian.from_data(x, covariance)
    assert isinstance(model, Density)
    target = exact(x, covariance)
    log_prob = model.log_prob(x)
    assert log_prob.shape == (200,)
    assert torch.allclose(log_prob.double(), target.log_prob(x.flatten(1).double()), rtol=1e-4, atol=1e-3)
    double = model.double()
    distribution = double.distribution()
    assert torch.allclose(distribution.mean, target.mean, rtol=1e-5)
    scale = target.variance.sqrt()
    found = distribution.covariance_matrix if covariance == "full" else distribution.variance.diag()
    assert torch.allclose(found / scale / scale[:, None], target.covariance_matrix / scale / scale[:, None], atol=1e-5)
    assert torch.allclose(double.log_prob(x.double()), target.log_prob(x.flatten(1).double()), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("shape", [(2,), (1, 2, 3)])
def test_log_prob_is_that_of_the_distribution(covariance, shape):
    model = some(covariance, shape)
    x = draw(5, *shape)
    expected = model.distribution().log_prob(x.flatten(1))
    assert torch.allclose(model.log_prob(x), expected, rtol=1e-4)
    assert torch.allclose(model.log_prob(x[:1]), expected[:1], rtol=1e-4)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_parameters_are_those_of_the_whitening_map(covariance):
    model = some(covariance, (3,))
    x = draw(5, 3)
    W = model.log_diagonal.exp().diag() + (model.lower_triangle.tril(-1) if covariance == "full" else 0)
    white = ((x - model.mean) / model.scale) @ W.T - model.shift
    expected = Normal(0.0, 1.0).log_prob(white).sum(1) + torch.logdet(W / model.scale)
    assert torch.allclose(model.log_prob(x), expected, rtol=1e-4)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_integrates_to_one(covariance):
    model = some(covariance).double()
    ticks = torch.linspace(-25, 25, 801, dtype=torch.float64)
    area = (ticks[1] - ticks[0]) ** 2
    total = model.log_prob(torch.cartesian_prod(ticks, ticks)).exp().sum() * area
    assert float(total.detach()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("shape", [(2,), (3, 1, 2)])
def test_samples_have_the_moments_of_the_density(covariance, shape):
    model = some(covariance, shape)
    n = 40_000
    with scoped_seed(3):
        x = model.sample(n)
    assert x.shape == (n, *shape)
    assert not x.requires_grad
    distribution = model.distribution()
    white = (x.flatten(1) - distribution.mean.detach()) / distribution.variance.detach().sqrt()
    assert white.mean(0).abs().max() < 5 / n**0.5
    cov = distribution.covariance_matrix if covariance == "full" else distribution.variance.diag()
    scale = distribution.variance.sqrt()
    assert (white.T.cov() - (cov / scale / scale[:, None]).detach()).abs().max() < 5 * (2 / n) ** 0.5


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_svi_reaches_the_closed_form_on_digits(covariance):
    data = pyrogen.load("digits")
    x = data.train.tensors(0)[0]
    closed = Gaussian.from_data(x, covariance).log_prob(x).mean().item()
    flat = x.flatten(1)
    start = (flat.mean(0), flat.std(0)) if covariance == "full" else (None, None)
    model = Gaussian(data.shape, covariance, *start)
    assert closed - model.log_prob(x).mean().item() > 10
    step = SVI(model.model, optim=partial(Adam, lr=0.1), schedule=partial(CosineAnnealingLR, T_max=300))
    *_, (_, logs) = fit(step, x, steps=300, batch_size=len(x))
    assert model.log_prob(x).mean().item() == pytest.approx(closed, abs=0.01)
    assert -logs["loss"].item() == pytest.approx(closed, abs=0.01)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_svi_finds_mean_and_deviation_in_one_dimension(covariance):
    x = 3 + 2 * torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
    model = Gaussian((1,), covariance)
    step = SVI(model.model, optim=partial(Adam, lr=0.2), schedule=partial(CosineAnnealingLR, T_max=400))
    for _ in fit(step, x, steps=400, batch_size=len(x)):
        pass
    distribution = model.distribution()
    assert distribution.mean.item() == pytest.approx(x.mean().item(), abs=1e-4)
    assert distribution.stddev.item() == pytest.approx(x.std(correction=0).item(), abs=1e-4)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_constant_dimension_needs_jitter(covariance):
    x = draw(50, 3)
    x[:, 1] = 0.1
    with pytest.raises(DataError, match=r"1 of 3 dimensions.*jitter"):
        Gaussian.from_data(x, covariance)
    fitted = Gaussian.from_data(x, covariance, jitter=0.01)
    target = exact(x, covariance, 0.01)
    assert torch.allclose(fitted.log_prob(x).double(), target.log_prob(x.double()), rtol=1e-4, atol=1e-3)


def test_fewer_rows_than_dimensions_need_jitter():
    x = draw(5, 40)
    with pytest.raises(DataError, match=r"5 data in 40 dimensions.*jitter"):
        Gaussian.from_data(x, "full")
    fitted = Gaussian.from_data(x, "full", jitter=0.1)
    target = exact(x, "full", 0.1)
    assert torch.allclose(fitted.log_prob(x).double(), target.log_prob(x.double()), rtol=1e-3)
    diagonal = Gaussian.from_data(x).log_prob(x).double()
    assert torch.allclose(diagonal, exact(x, "diagonal").log_prob(x.double()), rtol=1e-4, atol=1e-3)


def test_one_datum_needs_jitter():
    x = torch.tensor([[1.0, -2.0]])
    with pytest.raises(DataError, match=r"2 of 2 dimensions.*jitter"):
        Gaussian.from_data(x)
    expected = 2 * Normal(0.0, 0.5).log_prob(torch.zeros(()))
    assert Gaussian.from_data(x, jitter=0.25).log_prob(x).item() == pytest.approx(expected.item(), rel=1e-5)


def test_unknown_covariance_is_named():
    with pytest.raises(ConfigError, match=r"'diag'; did you mean 'diagonal'"):
        Gaussian((2,), "diag")


def test_full_covariance_on_mnist(mnist_root):
    data = pyrogen.load("mnist", mnist_root)
    model = Gaussian.from_data(data.train.tensors(0)[0], "full")
    assert len(data.train) == 50_000
    with torch.no_grad():
        value = model.log_prob(data.test.tensors()[0]).mean().item()
    assert value == pytest.approx(1471, abs=3)


@pytest.mark.parametrize(("n", "d"), [(3, 3), (63, 64), (64, 64)])
def test_singular_covariance_is_always_seen(n, d):
    for seed in range(10):
        with pytest.raises(DataError, match="jitter"):
            Gaussian.from_data(draw(n, d, seed=seed), "full")


def test_collinear_dimensions_are_seen():
    x = draw(100, 2)
    with pytest.raises(DataError, match="jitter"):
        Gaussian.from_data(torch.cat([x, 2 * x[:, :1]], 1), "full")


@pytest.mark.parametrize("bad", [torch.full((4, 2), torch.nan), torch.zeros(0, 2)], ids=["nan", "empty"])
def test_bad_data_are_not_called_constant(bad):
    with pytest.raises(DataError) as error:
        Gaussian.from_data(bad)
    assert "0 of 2 dimensions are constant" not in str(error.value)


def test_gaussian_leaves_bfloat16_before_its_likelihood():
    model = Gaussian.from_data(draw(500, 3) + 5, "full")
    with torch.no_grad():
        model.shift.copy_(torch.tensor([1.2346, 2.3456, 0.5678]))
        exact = model.distribution().loc
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.allclose(model.distribution().loc, exact, atol=1e-5)
