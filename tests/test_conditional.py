"""Conditional models: p(x | y) against densities known in closed form, its marginal, and who refuses y."""

from functools import partial

import pytest
import torch
from helpers import empty
from pyro.infer import TraceEnum_ELBO
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal
from torch.optim import Adam

import pyrogen
from pyrogen import SVI, fit
from pyrogen.data import Split
from pyrogen.errors import ConfigError
from pyrogen.explicit import (
    CVAE,
    MADE,
    PPCA,
    VAE,
    VQVAE,
    Attributes,
    BernoulliLikelihood,
    Flow,
    Gaussian,
    GaussianMixture,
    Histogram,
    KernelDensity,
    Label,
    LadderVAE,
    MixtureLikelihood,
    PartialImage,
    PixelCNN,
    PPCAMixture,
    Spline,
)
from pyrogen.explicit.flow import autoregressive, coupling, multiscale
from pyrogen.hybrid import AAE, VAEGAN
from pyrogen.implicit import DCGAN, GAN, WGAN
from pyrogen.measure.evaluate import evaluate, likelihood_scores
from pyrogen.random import scoped_seed
from pyrogen.recipes.densities import mixture
from pyrogen.recipes.flows import realnvp
from pyrogen.recipes.setup import cosine_schedule
from pyrogen.testing import check_density, check_pair, check_sampler
from pyrogen.training.checkpoint import restore, save

COUNTS = torch.tensor([5.0, 2.0, 3.0])
MEANS = torch.tensor([[3.0, 0.0], [-3.0, 1.0], [0.0, -4.0]])
FACTORS = torch.tensor([[[0.5, 0.0], [0.3, 0.4]], [[1.0, 0.0], [-0.8, 0.3]], [[0.4, 0.0], [0.0, 0.9]]])


def flow(maps, condition, base=None):
    return Flow((2,), maps(context=0 if condition is None else condition.features), base, condition)


PLANE = {
    "coupling": lambda c: flow(partial(coupling, (2,), 6, (32,)), c),
    "autoregressive": lambda c: flow(partial(autoregressive, (2,), 2, (32,)), c),
    "conditional-base": lambda c: flow(
        partial(autoregressive, (2,), 1, (32,)), c, MADE((2,), (32,), MixtureLikelihood(3), condition=Label(3))
    ),
    "spline": lambda c: flow(partial(autoregressive, (2,), 2, (32,), Spline(8, 8.0)), c),
    "spline-coupling": lambda c: flow(partial(coupling, (2,), 4, (32,), Spline(8, 8.0)), c),
    "made": lambda c: MADE((2,), (32,), MixtureLikelihood(3), condition=c),
    "mixture": lambda c: GaussianMixture((2,), 6, "full", condition=c),
    "mppca": lambda c: PPCAMixture((2,), 6, 1, condition=c),
    "mixture-diagonal": lambda c: GaussianMixture((2,), 6, condition=c),
}
IMAGE = (1, 4, 4)
PICTURES = {
    "multiscale": lambda c: Flow(IMAGE, multiscale(IMAGE, 1, 4, 1, context=c.features), condition=c),
    "pixelcnn": lambda c: PixelCNN(IMAGE, 4, 2, MixtureLikelihood(3), condition=c),
    "pixelcnn-colours": lambda c: PixelCNN((3, 2, 2), 6, 2, MixtureLikelihood(3), condition=c),
    "made-image": lambda c: MADE(IMAGE, (16,), MixtureLikelihood(3), condition=c),
}
MODELS = PLANE | PICTURES


def some(name, condition=None, seed=0):
    """A conditional model with no parameter at its default."""
    with scoped_seed(seed):
        model = MODELS[name](condition or Label(3, COUNTS)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def some_data(model, n=6):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, *model.shape, generator=generator), torch.randint(3, (n,), generator=generator)


def likelihood(model, **options):
    """A step of maximum likelihood."""
    enumerated = TraceEnum_ELBO(max_plate_nesting=1) if isinstance(model, GaussianMixture) else None
    return SVI(model.model, loss=enumerated, **options)


def gaussians(n, seed=0):
    """Labels by ``COUNTS``, and data from a Gaussian for each."""
    with scoped_seed(seed):
        y = torch.multinomial(COUNTS, n, replacement=True)
        return MEANS[y] + (FACTORS[y] @ torch.randn(n, 2, 1))[..., 0], y


def truth(x, y):
    return MultivariateNormal(MEANS[y], scale_tril=FACTORS[y]).log_prob(x)


@pytest.fixture(params=sorted(MODELS))
def name(request):
    return request.param


@pytest.mark.parametrize("name", ["coupling", "autoregressive", "spline", "made", "mixture"])
def test_training_approaches_class_conditional_gaussians(name):
    """All of these contain the truth, but the splines; the entropy of the data given their labels is known."""
    with scoped_seed(1):
        model = PLANE[name](Label(3, COUNTS))
    step = likelihood(model, optim=partial(Adam, lr=1e-2), schedule=cosine_schedule(600), clip_norm=10.0)
    x, y = gaussians(4000)
    for _ in fit(step, (x, y), steps=600, batch_size=500):
        pass
    x, y = gaussians(2000, seed=2)
    with torch.no_grad():
        gap = (truth(x, y) - model.log_prob(x, y)).mean().item()
        assert -0.02 < gap < (0.2 if name in ("spline", "coupling") else 0.1)
        exact = MixtureSameFamily(
            Categorical(COUNTS), MultivariateNormal(MEANS, scale_tril=FACTORS, validate_args=False)
        ).log_prob(x)
        label = model.condition
        label.set_frequencies(COUNTS)
        assert -0.02 < (exact - model.log_prob(x)).mean().item() < gap + 0.05
        for k in range(3):
            with scoped_seed(k):
                drawn = model.sample(2000, torch.tensor([k]))
            assert torch.allclose(drawn.mean(0), MEANS[k], atol=0.2)
            assert torch.allclose(drawn.T.cov(), FACTORS[k] @ FACTORS[k].T, atol=0.3)


def test_the_marginal_sums_over_the_labels(name):
    model = some(name)
    x, y = some_data(model)
    each = torch.stack([model.log_prob(x, torch.tensor([k])) for k in range(3)])
    assert torch.allclose(model.log_prob(x), (each + (COUNTS / 10).log()[:, None]).logsumexp(0), atol=1e-4)
    assert torch.allclose(model.log_prob(x, y), each.gather(0, y[None])[0], atol=1e-4)
    assert not torch.allclose(each[0], each[1], atol=1e-2)


def test_every_conditional_sees_y(name):
    """From the first value on: no part of x is independent of y by construction."""
    model = some(name)
    with scoped_seed(0):
        many = [model.sample(1500, torch.tensor([k])).flatten(1) for k in (0, 1)]
    apart = (many[0].mean(0) - many[1].mean(0)).abs() + (many[0].std(0) - many[1].std(0)).abs()
    assert (apart > 0.01).all()


def test_contract(name):
    model = some(name)
    x, y = some_data(model, 16)
    split = Split(x, y)
    check_sampler(model, split)
    check_density(model, split)
    check_pair(SVI(model.model), split, model)
    check_sampler(model, Split(x, y, side_fn=lambda x, y: y))


def test_rows_of_y(name):
    model = some(name)
    with scoped_seed(0):
        one = model.sample(4, torch.tensor([2]))
    with scoped_seed(0):
        four = model.sample(4, torch.full((4,), 2))
    assert one.shape == (4, *model.shape)
    assert torch.equal(one, four)
    x, _ = some_data(model)
    for call in (lambda y: model.sample(6, y), lambda y: model.log_prob(x, y), lambda y: model.model(x, y)):
        with pytest.raises(ConfigError, match="1 or 6 rows; got 2"):
            call(torch.tensor([0, 1]))


def test_every_weight_that_sees_y_learns(name):
    model = some(name)
    x, y = some_data(model, 64)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    likelihood(model)(x, y)
    assert [key for key, p in model.named_parameters() if torch.equal(p, before[key])] == []


@pytest.mark.parametrize("name", ["made", "mixture", "mppca"])
def test_a_compiled_step_takes_y(name):
    curves = []
    for compiled in (False, True):
        model = some(name)
        x, y = some_data(model, 32)
        step = likelihood(model, optim=partial(Adam, lr=1e-3), compile=compiled)
        curves.append([float(step(x, y.roll(t))["loss"]) for t in range(6)])
        assert step.refused is None
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)


def test_weights_and_frequencies_are_restored(name, tmp_path):
    model, other = some(name), some(name, Label(3), seed=5)
    save(tmp_path, t=1, model=model)
    restore(tmp_path, model=other)
    x, y = some_data(model)
    assert torch.equal(model.log_prob(x), other.log_prob(x))
    assert torch.equal(model.log_prob(x, y), other.log_prob(x, y))


@pytest.mark.parametrize("name", ["coupling", "autoregressive", "spline"])
def test_codes_given_y(name):
    model = some(name)
    x, y = some_data(model)
    z = model.encode(x, y)
    assert torch.allclose(model.decode(z, y), x, atol=1e-4)
    assert not torch.allclose(model.encode(x, y.flip(0)), z, atol=1e-3)


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"conditional-base", "mppca"}))  # these are given labels
def test_attributes(name):
    """A real vector y: the same models, without a marginal, as there is no p(y) to sum over."""
    model = some(name, Attributes(3))
    x, labels = some_data(model)
    y = torch.eye(3)[labels]
    assert torch.allclose(model.log_prob(x, y), some(name).log_prob(x, labels), atol=1e-5)
    assert model.sample(6, y).shape == x.shape
    for call in (model.log_prob, model.model, lambda x: model.sample(len(x))):
        with pytest.raises(ConfigError, match="is conditional: pass its side information y; expected 1 or 6 rows"):
            call(x)


def test_a_regression_is_learned():
    """x | y ~ N(2 y - 1, 0.25²): the network sees the value of y."""
    with scoped_seed(0):
        y = torch.rand(2000, 1)
        x = 2 * y - 1 + 0.25 * torch.randn(2000, 1)
        model = MADE((1,), (32,), MixtureLikelihood(1), condition=Attributes(1))
    step = SVI(model.model, optim=partial(Adam, lr=1e-2), schedule=cosine_schedule(300))
    for _ in fit(step, (x, y), steps=300, batch_size=500):
        pass
    with torch.no_grad():
        exact = Normal(2 * y - 1, 0.25).log_prob(x).sum(1)
        assert (exact - model.log_prob(x, y)).mean().item() == pytest.approx(0, abs=0.03)


def test_marginal_likelihood_without_labels_trains_too():
    model = some("mixture")
    x, _ = gaussians(300)
    step = SVI(model.marginal)
    assert step.evaluate(x)["loss"].item() == pytest.approx(-model.log_prob(x).mean().item(), rel=1e-4)


def test_scores_are_of_the_marginal():
    """An exact log p(x) by the density; by its Pyro program log p(y) + log p(x | y), which lies below."""
    model = some("made")
    x, y = gaussians(200)
    split = Split(x, y)
    exact = likelihood_scores(model, split)["log_likelihood"]
    assert exact.kind == "exact"
    assert exact.value == pytest.approx(model.log_prob(x).mean().item(), abs=1e-4)
    step = SVI(model.model)
    step.setup(x, y)
    bound = likelihood_scores(step, split)["log_likelihood"]
    assert bound.kind == "lower_bound"
    assert bound.value == pytest.approx((model.log_prob(x, y) + (COUNTS / 10).log()[y]).mean().item(), abs=1e-4)
    assert bound.value < exact.value
    given = some("made", Attributes(3))
    score = likelihood_scores(given, Split(x, torch.eye(3)[y]))["log_likelihood"]
    assert score.value == pytest.approx(model.log_prob(x, y).mean().item(), abs=1e-4)


UNCONDITIONAL = {
    "gaussian": lambda: Gaussian(IMAGE),
    "ppca": lambda: PPCA(IMAGE, 2),
    "histogram": lambda: Histogram(IMAGE, 2, "mass"),
    "kde": lambda: KernelDensity(torch.rand(5, *IMAGE)),
    "mixture": lambda: GaussianMixture(IMAGE, 2),
    "mppca": lambda: PPCAMixture(IMAGE, 2, 3),
    "flow": lambda: Flow(IMAGE, coupling(IMAGE, 2, (4,))),
    "made": lambda: MADE(IMAGE, (4,)),
    "pixelcnn": lambda: PixelCNN(IMAGE, 4, 2, BernoulliLikelihood()),
    "vae": lambda: VAE((1, 8, 8), 2, (4,)),
    "ladder": lambda: LadderVAE((1, 8, 8), (2, 2), (4, 4)),
    "vqvae": lambda: VQVAE((1, 8, 8), 4, 2),
    "gan": lambda: GAN((1, 8, 8), 2, (4,)),
    "wgan": lambda: WGAN((1, 8, 8), 2, (4,)),
    "dcgan": lambda: DCGAN((1, 8, 8), 2, 4),
    "aae": lambda: AAE((1, 8, 8), 2, (4,)),
    "vaegan": lambda: VAEGAN((1, 8, 8), 2, (4,)),
}


@pytest.mark.parametrize("kind", sorted(UNCONDITIONAL))
def test_an_unconditional_model_refuses_y(kind):
    model = UNCONDITIONAL[kind]()
    x = model.sample(2)
    y = torch.tensor([0, 1])
    calls = [lambda: model.sample(2, y)]
    calls += [partial(getattr(model, m), x, y) for m in ("log_prob", "model", "guide") if hasattr(model, m)]
    calls += [lambda: model.sample_mean(2, y)] if hasattr(model, "sample_mean") else []
    for call in calls:
        with pytest.raises(ConfigError, match=rf"this {type(model).__name__} is unconditional.*y of shape \(2,\)"):
            call()


@pytest.mark.parametrize("kind", sorted(UNCONDITIONAL))
def test_an_unconditional_model_is_measured_on_labelled_data(kind):
    model = UNCONDITIONAL[kind]()
    with scoped_seed(0):
        x = model.sample(16).clamp(0, 1)
    y = torch.arange(16) % 3
    plain, labelled = (evaluate(model, split, k=2) for split in (Split(x), Split(x, y)))
    assert plain == labelled


def test_a_user_s_density_is_given_what_it_takes():
    class WithY(nn.Module):
        condition = None  # says nothing to the library

        def log_prob(self, x, y=None):
            assert y is not None
            return -x.square().sum(1) - y

    class WithoutY(nn.Module):
        def log_prob(self, x):
            return -x.square().sum(1)

    x, y = torch.ones(4, 2), torch.arange(4)
    assert likelihood_scores(WithY(), Split(x, y))["log_likelihood"].value == pytest.approx(-3.5)
    assert likelihood_scores(WithoutY(), Split(x, y))["log_likelihood"].value == pytest.approx(-2)
    step = SVI(WithY().log_prob, empty)
    assert step.takes["model"] == 2


@pytest.mark.parametrize("model", [CVAE((1, 8, 8), Label(3), 2, (4,)), GAN((1, 8, 8), 2, (4,), classes=3)])
def test_one_check_of_rows_for_all_families(model):
    for y in (torch.tensor([1]), torch.tensor([1, 1, 1])):
        assert model.sample(3, y).shape == (3, 1, 8, 8)
    with pytest.raises(ConfigError, match="1 or 3 rows; got 2"):
        model.sample(3, torch.tensor([0, 1]))


def test_what_no_density_can_be_given_is_named():
    with pytest.raises(ConfigError, match="MADE cannot be conditioned on a part of x"):
        MADE(IMAGE, (4,), condition=PartialImage(IMAGE))
    digits, moons = pyrogen.load("digits"), pyrogen.load("moons")
    with pytest.raises(ConfigError, match="condition=label needs labels; 'moons' has none"):
        realnvp(moons, condition="label")
    with pytest.raises(ConfigError, match="did you mean 'label'"):
        mixture(digits, condition="labels")
