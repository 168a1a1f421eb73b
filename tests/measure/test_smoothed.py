"""Log-likelihoods of models with added Gaussian noise: in closed form, by annealing, and by quadrature."""

from math import hypot, log, pi

import pytest
import torch
from torch import Tensor, nn

from pyrogen.data import Dataset, Split
from pyrogen.data.space import Space
from pyrogen.errors import ConfigError
from pyrogen.explicit import PPCA, Gaussian, GaussianMixture, KernelDensity, PPCAMixture
from pyrogen.explicit.likelihoods import DiscretizedLogistic
from pyrogen.measure import Annealing
from pyrogen.measure.annealing import common_noise, smoothed_score
from pyrogen.measure.evaluate import likelihood_scores

SIGMA = 0.4


def plane(n: int = 60) -> Dataset:
    torch.manual_seed(0)
    x = torch.randn(3, n, 3) * torch.tensor([1.0, 0.5, 0.2])
    return Dataset("plane", *map(Split, x), (3,), Space("real"))


def noisy_samples_mean(model: Gaussian | PPCA | GaussianMixture | PPCAMixture | KernelDensity, x: Tensor) -> float:
    """E log p_σ(x) with p_σ(x) = E N(x; v, σ² I), by many samples v of the model."""
    torch.manual_seed(1)
    v = model.sample(200_000)
    each = -0.5 * torch.cdist(x.double(), v.double()).square() / SIGMA**2
    return float((each.logsumexp(1) - log(len(v)) - 1.5 * log(2 * pi * SIGMA**2)).mean())


def test_closed_forms_equal_averages_over_samples() -> None:
    data = plane()
    x = data.train.tensors()[0]
    models = [
        Gaussian.from_data(x, "full"),
        PPCA.from_data(x, 1),
        GaussianMixture.from_em(x, components=2),
        PPCAMixture.from_clusters(x, 2, 1),
        KernelDensity(x, 0.3),
    ]
    test = data.test.tensors()
    for model in models:
        score = smoothed_score(model, data, test, SIGMA, Annealing())
        assert score.kind == "exact"
        assert score.value == pytest.approx(noisy_samples_mean(model, test[0]), abs=0.02)
        assert score.detail["noise"] == SIGMA


class Line(nn.Module):
    """Points on a line: PPCA without its noise."""

    latent = 1

    def __init__(self, model: PPCA) -> None:
        super().__init__()
        self.model = model

    def generator(self, z: Tensor) -> Tensor:
        return self.model.decode(z)

    def sample(self, n: int) -> Tensor:
        return self.generator(torch.randn(n, 1))


def test_implicit_and_explicit_models_stand_on_one_axis() -> None:
    """With noise added, points on a line have the density of PPCA with that noise alone."""
    data = plane()
    ppca = PPCA.from_data(data.train.tensors()[0], 1).requires_grad_(False)
    settings = Annealing(gap=0.1, smoothed=SIGMA, noise=SIGMA)
    implicit = likelihood_scores(Line(ppca), data, annealing=settings)
    explicit = likelihood_scores(ppca, data, annealing=Annealing(gap=0.1, smoothed=SIGMA))
    own = hypot(float(ppca.log_sigma.exp()), SIGMA)
    assert explicit["smoothed_log_likelihood"].kind == "exact"
    assert implicit["smoothed_log_likelihood"].kind == "lower_bound"
    with torch.no_grad():
        ppca.log_sigma.fill_(log(SIGMA))
    expected = float(ppca.log_prob(data.test.tensors()[0]).mean())
    assert implicit["smoothed_log_likelihood"].value == pytest.approx(expected, abs=0.05)
    with torch.no_grad():
        ppca.log_sigma.fill_(log(own))
    expected = float(ppca.log_prob(data.test.tensors()[0]).mean())
    assert explicit["smoothed_log_likelihood"].value == pytest.approx(expected, abs=1e-3)


def test_common_noise_is_the_best_bandwidth_of_the_training_data() -> None:
    data = plane()
    sigma = common_noise(data)
    valid = data.valid.tensors()[0]
    values = {s: float(KernelDensity(data.train.tensors()[0], s).log_prob(valid).mean()) for s in (sigma, 0.8 * sigma)}
    assert values[sigma] > values[0.8 * sigma]
    assert sigma == common_noise(data)


def test_noise_on_grey_levels_equals_quadrature() -> None:
    levels = 17
    given = DiscretizedLogistic(torch.tensor([0.1, 0.5, 0.99]), torch.tensor([0.05, 0.2, 0.01]), levels)
    fine = (torch.arange(17_000, dtype=torch.float64) + 0.5) / 17_000
    density = given.log_prob(fine[:, None].expand(-1, 3).float()).double().exp()
    for x in (-0.2, 0.0, 0.31, 1.0):
        weight = torch.exp(-0.5 * ((x - fine) / 0.1) ** 2) / (0.1 * (2 * pi) ** 0.5)
        expected = (density * weight[:, None]).mean(0).log()
        found = given.convolved_log_prob(torch.full((3,), x), 0.1)
        assert torch.allclose(found.double(), expected, atol=2e-3)
    with pytest.raises(ConfigError, match="at most 64 grey levels; there are 256"):
        DiscretizedLogistic(torch.zeros(1), torch.ones(1), 256).convolved_log_prob(torch.zeros(1), 0.1)
