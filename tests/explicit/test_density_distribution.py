"""What every tractable density keeps, whatever its form. A new one is a line in ``PLANE``."""

import pytest
import torch
from helpers import Couple
from scipy.stats import chisquare

from pyrogen import SVI
from pyrogen.data import Split
from pyrogen.explicit import (
    MADE,
    PPCA,
    Flow,
    Gaussian,
    GaussianMixture,
    Histogram,
    KernelDensity,
    MixtureLikelihood,
    Spline,
)
from pyrogen.explicit.flow import autoregressive, coupling
from pyrogen.explicit.transforms import Affine
from pyrogen.random import scoped_seed
from pyrogen.testing import check_density, check_pair

PLANE = {
    "gaussian": lambda: Gaussian((2,), "full"),
    "ppca": lambda: PPCA((2,), 1),
    "mixture-diagonal": lambda: GaussianMixture((2,), 5),
    "mixture-full": lambda: GaussianMixture((2,), 5, "full"),
    "kde": lambda: KernelDensity(torch.randn(50, 2), 0.3),
    "histogram": lambda: Histogram.from_data(torch.randn(500, 2), 8, background=0.1),
    "realnvp": lambda: Flow((2,), coupling((2,), 4, (8,))),
    "nice": lambda: Flow((2,), coupling((2,), 4, (8,), Affine(scale=False))),
    "maf": lambda: Flow((2,), autoregressive((2,), 2, (8,))),
    "maf-mixture": lambda: Flow((2,), autoregressive((2,), 1, (8,)), MADE((2,), (8,), MixtureLikelihood(3))),
    "spline-autoregressive": lambda: Flow((2,), autoregressive((2,), 2, (8,), Spline(6))),
    "spline-coupling": lambda: Flow((2,), coupling((2,), 2, (8,), Spline(6))),
    "made": lambda: MADE((2,), (8,), MixtureLikelihood(3), torch.ones(2), 0.8 * torch.ones(2)),
}
NOT_TRAINED = ("kde", "histogram")


def some(make, seed=0):
    """A density with no parameter at its default."""
    with scoped_seed(seed):
        model = make().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture(params=sorted(PLANE))
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return some(PLANE[name])


def plane(side, ticks):
    """The midpoints of a fine grid over [-side, side]², and the area of its squares."""
    step = 2 * side / ticks
    line = torch.arange(ticks) * step + step / 2 - side
    return torch.cartesian_prod(line, line), step**2


@torch.no_grad()
def test_integrates_to_one(model):
    x, area = plane(12, 800)
    total = sum(float(model.log_prob(part).exp().double().sum()) for part in x.split(100_000)) * area
    assert total == pytest.approx(1, abs=1e-2)


@torch.no_grad()
def test_samples_follow_the_density(model):
    """Pearson's test of the counts in squares of side 1 against their probabilities."""
    n, side, fine = 4000, 6, 40
    x, area = plane(side, 2 * side * fine)
    mass = (model.log_prob(x).exp() * area).view(2 * side, fine, 2 * side, fine).sum((1, 3)).flatten().double()
    with scoped_seed(1):
        drawn = model.sample(n)
    assert drawn.shape == (n, 2)
    place = (drawn + side).floor().long()
    inside = ((place >= 0) & (place < 2 * side)).all(1)
    counts = torch.bincount((place * torch.tensor([2 * side, 1])).sum(1)[inside], minlength=len(mass)).double()
    large = mass * n >= 5
    observed = [*counts[large].tolist(), n - float(counts[large].sum())]
    expected = [*(n * mass[large]).tolist(), n - n * float(mass[large].sum())]
    if expected[-1] < 1:  # all but nothing is in large squares
        observed, expected = observed[:-1], expected[:-1]
        expected = [e * sum(observed) / sum(expected) for e in expected]
    assert len(observed) > 4
    assert chisquare(observed, expected).pvalue > 0.01


def test_a_biased_sampler_would_be_found():
    model = some(PLANE["gaussian"])
    draw = model.sample
    model.sample = lambda n: draw(n) + 0.3
    with pytest.raises(AssertionError):
        test_samples_follow_the_density(model)


def test_log_prob_is_one_number_for_each_datum(model):
    check_density(model, Split(torch.randn(7, 2)))


def test_the_program_is_the_density(name, model):
    pair = Couple(model.model) if name in NOT_TRAINED else SVI(model.model)
    check_pair(pair, Split(torch.randn(7, 2)), model)


def test_weights_are_all_there_is(name, model):
    other = some(PLANE[name], seed=5)
    x = torch.randn(7, 2)
    assert not torch.allclose(other.log_prob(x), model.log_prob(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.log_prob(x), model.log_prob(x))


@torch.no_grad()
def test_mixed_precision_ends_before_the_likelihood(model):
    x = torch.randn(50, 2)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model.log_prob(x)
    assert mixed.dtype == torch.float32
    assert mixed.mean().item() == pytest.approx(model.log_prob(x).mean().item(), rel=0.05)


class LogProb(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.inner = model

    def forward(self, x):
        return self.inner.log_prob(x)


def test_log_prob_is_one_graph(model):
    x = torch.randn(7, 2)
    program = torch.export.export(LogProb(model), (x,), strict=False)
    assert torch.allclose(program.module()(x), model.log_prob(x), atol=1e-5)
