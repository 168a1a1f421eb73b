"""Autoregressive densities: who sees whom, that the mass is one, and that sampling and density agree."""

import pytest
import torch
from scipy.stats import chisquare

import pyrogen
from pyrogen import fit
from pyrogen.data import Space
from pyrogen.errors import ConfigError
from pyrogen.explicit import (
    MADE,
    BernoulliLikelihood,
    DiscretizedLogisticLikelihood,
    Gaussian,
    MixtureLikelihood,
    PixelCNN,
)
from pyrogen.explicit.mixture_likelihood import likelihood_for
from pyrogen.nn.masked import MaskedMLP
from pyrogen.random import scoped_seed
from pyrogen.recipes.autoregressive import made, pixelcnn

LIKELIHOODS = {
    "bernoulli": BernoulliLikelihood,
    "gaussians": lambda: MixtureLikelihood(3),
    "levels": lambda: MixtureLikelihood(3, levels=17),
    "logistic": lambda: DiscretizedLogisticLikelihood(17),
}
MODELS = {
    "made": lambda likelihood: MADE((1, 3, 4), (24, 24), likelihood),
    "pixelcnn": lambda likelihood: PixelCNN((1, 3, 4), 6, 2, likelihood, 3),
    "pixelcnn-colours": lambda likelihood: PixelCNN((3, 2, 3), 6, 2, likelihood, 3),
}


def some(make, seed=0):
    """A model whose conditionals differ."""
    with scoped_seed(seed):
        model = make()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture(params=sorted(MODELS))
def make(request):
    return MODELS[request.param]


@pytest.fixture(params=sorted(LIKELIHOODS))
def likelihood(request):
    return LIKELIHOODS[request.param]()


def order(shape):
    """The place in the chain of every value: row by row, and the colours of a pixel in turn."""
    channels, high, wide = shape
    return torch.arange(high * wide * channels).view(high, wide, channels).permute(2, 0, 1).flatten()


def jacobian(model):
    """Whether value j reaches the conditional of value i, ``(d, d)``."""
    shape = model.shape
    x = torch.randn(shape).double()
    model = model.double()
    d = x.numel()
    J = torch.autograd.functional.jacobian(lambda v: model.network(v[None])[0], x).view(-1, d, d)  # outputs, i, j
    return J.abs().sum(0) > 0


def test_conditionals_see_what_is_before_them(make):
    model = some(lambda: make(MixtureLikelihood(3)))
    # A MADE takes the flattened image in its own order; the convolutions go pixel by pixel.
    place = torch.arange(12) if isinstance(model, MADE) else order(model.shape)
    seen = jacobian(model)
    before = place[None, :] < place[:, None]
    assert not (seen & ~before).any()
    if isinstance(model, MADE) or model.shape[0] == 1:  # wide enough a view for so small an image: all is seen
        assert torch.equal(seen, before)


def test_pixelcnn_has_no_blind_spot():
    model = some(lambda: PixelCNN((1, 5, 9), 4, 3, BernoulliLikelihood(), 3))
    seen = jacobian(model).view(5, 9, 5, 9)
    radius = model.network.radius
    rows, columns = torch.arange(5), torch.arange(9)
    di = rows[:, None, None, None] - rows[None, None, :, None]
    dj = columns[None, :, None, None] - columns[None, None, None, :]
    near = (di <= radius) & (dj.abs() <= radius)
    assert torch.equal(seen, near & ((di > 0) | ((di == 0) & (dj > 0))))


@pytest.mark.parametrize("dims", [1, 2, 3, 7])
@pytest.mark.parametrize("hidden", [(), (5,), (16, 16, 16)])
def test_masks_of_any_size(dims, hidden):
    network = some(lambda: MaskedMLP(dims, hidden, 2)).double()
    J = torch.autograd.functional.jacobian(lambda v: network(v[None])[0], torch.randn(dims).double())
    assert not torch.triu(J.abs().sum(0)).any()
    x = torch.randn(4, dims).double()
    whole = network(x)
    for i in range(dims):
        later = x.clone()
        later[:, i:] = 7.0
        assert torch.allclose(network.at(later, i)[:, :, 0], whole[:, :, i])


@torch.no_grad()
def test_sampling_uses_the_same_conditionals(make, likelihood):
    model = some(lambda: make(likelihood))
    x = torch.rand(3, *model.shape).round()
    whole = model.network(x).view(3, likelihood.outputs, *model.shape)
    if isinstance(model, MADE):
        for i in range(12):
            assert torch.allclose(model.network.at(x, i)[:, :, 0], whole.flatten(2)[:, :, i], atol=1e-5)
        return
    _, high, wide = model.shape
    for i in range(high):
        for j in range(wide):
            part = model.network.at(x, i, j).view(3, likelihood.outputs, model.shape[0])
            assert torch.allclose(part, whole[:, :, :, i, j], atol=1e-5)


@torch.no_grad()
def test_cropping_to_the_view_changes_nothing():
    model = some(lambda: PixelCNN((1, 12, 12), 4, 2, BernoulliLikelihood(), 3))
    assert model.network.radius == 4
    x = torch.randn(2, 1, 12, 12)
    whole = model.network(x)
    for i in range(12):
        for j in range(12):
            assert torch.allclose(model.network.at(x, i, j)[:, :, 0, 0], whole[:, :, i, j], atol=1e-5)


@torch.no_grad()
def test_log_prob_is_the_sum_of_the_conditionals(make, likelihood):
    model = some(lambda: make(likelihood))
    x = torch.rand(4, *model.shape)
    x = x.round() if model.probability == "mass" else x
    if isinstance(model, MADE):
        parts = [likelihood(model.network.at(x, i)).log_prob(x.flatten(1)[:, i, None, None]) for i in range(12)]
    else:
        _, high, wide = model.shape
        pixels = [(i, j) for i in range(high) for j in range(wide)]
        parts = [likelihood(model.network.at(x, i, j)).log_prob(x[:, :, i, j, None, None]) for i, j in pixels]
    expected = sum(part.flatten(1).sum(1) for part in parts)
    assert torch.allclose(model.log_prob(x), expected, atol=1e-4)


BINARY = {
    "made": lambda: MADE((7,), (16,), BernoulliLikelihood()),
    "pixelcnn": lambda: PixelCNN((1, 2, 3), 6, 2, BernoulliLikelihood(), 3),
    "pixelcnn-colours": lambda: PixelCNN((3, 1, 2), 6, 1, BernoulliLikelihood(), 3),
}


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(BINARY))
def test_masses_sum_to_one_and_samples_follow_them(name):
    model = some(BINARY[name])
    d = torch.Size(model.shape).numel()
    every = torch.cartesian_prod(*d * [torch.tensor([0.0, 1.0])])
    mass = model.log_prob(every.view(-1, *model.shape)).exp().double()
    assert mass.sum().item() == pytest.approx(1, abs=1e-5)
    with scoped_seed(0):
        drawn = model.sample(5000).flatten(1)
    counts = torch.bincount((drawn @ 2.0 ** torch.arange(d - 1, -1, -1)).long(), minlength=2**d)
    common = 5000 * mass > 5
    observed = [*counts[common].tolist(), int(counts[~common].sum())]
    expected = [*(5000 * mass[common] / mass.sum()).tolist(), float(5000 * mass[~common].sum() / mass.sum())]
    keep = [i for i, e in enumerate(expected) if e > 0]
    assert chisquare([observed[i] for i in keep], [expected[i] for i in keep]).pvalue > 0.01


@torch.no_grad()
def test_a_mixture_of_levels_is_a_density_on_the_box():
    likelihood = MixtureLikelihood(4, levels=17)
    with scoped_seed(0):
        distribution = likelihood(torch.randn(1, 12, 1))
        drawn = distribution.sample((20_000,)).flatten()
    x = (torch.arange(17) + 0.5) / 17
    mass = distribution.log_prob(x[:, None, None]).exp().flatten() / 17
    assert mass.sum().item() == pytest.approx(1, abs=1e-5)
    counts = torch.bincount((drawn * 17).long(), minlength=17)
    assert (counts / 20_000 - mass).abs().max() < 0.015


def test_the_conditional_suits_the_measure():
    assert isinstance(likelihood_for(Space("binary"), 5), BernoulliLikelihood)
    assert [likelihood_for(m, 5).levels for m in (Space("unit", 17), Space("logit", 17), Space("real"))] == [
        17,
        0,
        0,
    ]


@pytest.mark.parametrize(("recipe", "options"), [(made, {"hidden": (64,)}), (pixelcnn, {"width": 8, "layers": 2})])
@pytest.mark.parametrize("name", ["digits", "digits-binary"])
def test_training_passes_the_floor_on_digits(recipe, options, name):
    """Better than the full Gaussian, or than independent pixels."""
    data = pyrogen.load(name)
    train, test = data.train.tensors()[0], data.test.tensors()[0]
    with scoped_seed(0):
        setup = recipe(data, steps=200, lr=1e-2, **options)
    for _ in fit(setup.step, data.train, steps=200, batch_size=64):
        pass
    if setup.model.probability == "mass":
        p = train.mean(0).clamp(1e-3, 1 - 1e-3)
        floor = (test * p.log() + (1 - test) * (1 - p).log()).flatten(1).sum(1).mean()
    else:
        floor = Gaussian.from_data(train, "full").log_prob(test).mean()
    with torch.no_grad():
        assert setup.model.log_prob(test).mean() > floor + 1


def test_bad_input_is_named():
    with pytest.raises(ConfigError, match=r"pixelcnn needs images.*\(2,\)"):
        pixelcnn(pyrogen.load("moons"))
    with pytest.raises(ConfigError, match="odd kernel; got 2 and 4"):
        PixelCNN((1, 8, 8), 4, 2, BernoulliLikelihood(), 4)
    with pytest.raises(ConfigError, match="components must be greater than 0; got 0"):
        made(pyrogen.load("moons"), components=0)
