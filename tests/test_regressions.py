"""What a careful reader once found wrong, each with the answer it should have given."""

import json

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import config_enumerate
from torch import nn

import pyrogen
from pyrogen import SVI, AdversarialGame, evaluate, recipes
from pyrogen.data import Dataset, Measure, Split
from pyrogen.errors import ConfigError, DataError
from pyrogen.explicit import CVAE, VAE, DiscretizedLogisticLikelihood, Gaussian, GaussianLikelihood, Label
from pyrogen.infer import GradientPenalty
from pyrogen.measure.evaluate import likelihood_scores
from pyrogen.measure.likelihood import bounds, structure
from pyrogen.measure.neighbours import nearest_distance
from pyrogen.nn.kernel import best_bandwidth, log_density
from pyrogen.random import scoped_seed


def points(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def normal(x, mean=0.0, variance=1.0):
    return dist.Normal(mean, variance**0.5).log_prob(x)


def empty(*_):
    pass


class Couple:
    def __init__(self, model, guide=empty):
        self.model, self.guide = model, guide

    def sample(self, n, y=None):
        return torch.randn(n, 2)


def test_latent_without_a_guide_is_refused():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 0.01))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    with pytest.raises(ConfigError, match="'z'"):
        bounds(Couple(model), points(6))


@pytest.mark.parametrize("without", ["model", "guide"])
def test_latent_in_the_plate_on_one_side_only_is_refused(without):
    def model(x):
        if without == "model":
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        else:
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        if without == "guide":
            pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))
        else:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))

    with pytest.raises(ConfigError, match="'z'"):
        bounds(Couple(model, guide), points(6))


def test_sequential_enumeration_is_summed_out_or_refused():
    mix, locs = torch.tensor([0.3, 0.7]), torch.tensor([-3.0, 3.0])

    @config_enumerate(default="sequential")
    def model(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(mix))
            pyro.sample("x", dist.Normal(locs[k], 1.0), obs=x)

    x = points(6)
    exact = torch.logsumexp(mix.log() + normal(x[:, None], locs), 1)
    try:
        value = bounds(Couple(model), x)[1]
    except ConfigError:
        return
    assert torch.allclose(value, exact, atol=1e-5)


@pytest.mark.parametrize("components", [1, 2, 3, 6])
@pytest.mark.parametrize("n", [1, 2, 6])
def test_global_latent_in_a_plate_of_its_own(components, n):
    def model(x):
        with pyro.plate("components", components):
            loc = pyro.sample("loc", dist.Normal(0.0, 5.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc.mean(), 1.0), obs=x)

    def guide(x):
        with pyro.plate("components", components):
            pyro.sample("loc", dist.Normal(0.0, 1.0))

    x = points(n)
    pair = Couple(model, guide)
    assert structure(pair, x).shared
    assert torch.allclose(bounds(pair, x, k=1000)[1], normal(x, 0.0, 1 + 1 / components), atol=0.1)


@pytest.mark.parametrize(("n", "pixels"), [(2, 2), (3, 3)])
def test_outer_pixel_plate_as_large_as_the_batch(n, pixels):
    means = torch.arange(float(pixels))

    def model(x):
        with pyro.plate("pixels", pixels, dim=-2), pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(means[:, None], 1.0), obs=x.T)

    x = points(n, pixels)
    assert torch.allclose(bounds(Couple(model), x)[1], normal(x, means).sum(1), atol=1e-5)


def test_deterministic_sites_are_no_observations():
    def inside(x):
        with pyro.plate("data", len(x)):
            logits = pyro.deterministic("logits", torch.zeros(len(x)))
            pyro.sample("x", dist.Bernoulli(logits=logits), obs=x)

    x = (points(4) > 0).float()
    assert structure(Couple(inside), x).kind == "mass"


def test_deterministic_sites_outside_the_plate():
    def outside(x):
        logit = pyro.deterministic("logit", pyro.param("l", torch.zeros(())) + 0.0)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Bernoulli(logits=logit), obs=x)

    x = (points(4) > 0).float()
    step = SVI(outside)
    step(x)
    assert step.sample(3).shape == (3,)  # infer/predictive.py: "expected one observed site"
    assert torch.allclose(bounds(Couple(outside), x)[1], torch.full((4,), -np.log(2.0).item(), dtype=torch.float32))


@pytest.mark.parametrize("size", [10, 1000])
def test_subsampled_plate_smaller_than_data_times_particles(size):
    def plate(x):
        return pyro.plate("data", size, subsample_size=len(x))

    def model(x):
        with plate(x):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with plate(x):
            pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))

    x = points(10)
    assert torch.allclose(bounds(Couple(model, guide), x, k=200)[1], normal(x, 0.0, 2.0), atol=1e-4)


def test_masked_enumerated_site_counts_nothing():
    mix, locs = torch.tensor([0.3, 0.7]), torch.tensor([-3.0, 3.0])

    @config_enumerate
    def model(x):
        with pyro.plate("data", len(x)), poutine.mask(mask=x > 0):
            k = pyro.sample("k", dist.Categorical(mix))
            pyro.sample("x", dist.Normal(locs[k], 1.0), obs=x)

    x = points(9)
    exact = torch.logsumexp(mix.log() + normal(x[:, None], locs), 1)
    assert torch.allclose(bounds(Couple(model), x)[1], torch.where(x > 0, exact, 0.0), atol=1e-5)  # log 2 too much
    # pyro.infer.TraceEnum_ELBO(max_plate_nesting=1).loss(...) gives the sum of these.


def test_evaluation_leaves_the_parameter_store_alone():
    pyro.clear_param_store()
    x = pyrogen.load("digits-binary").train.tensors(0)[0][:32]
    bounds(VAE(x.shape[1:], 2, (8,)), x)
    left = list(pyro.get_param_store().keys())
    pyro.clear_param_store()
    assert left == []


def test_samples_of_a_model_that_observes_the_transpose():
    def model(x):
        offset = pyro.param("offset", torch.zeros(()))
        with pyro.plate("pixels", 3, dim=-2), pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(100.0 * torch.arange(3.0)[:, None] + offset, 1.0), obs=x.T)

    step = SVI(model)
    step(points(10, 3))
    drawn = step.sample(200)
    assert torch.allclose(drawn.mean(0), torch.tensor([0.0, 100.0, 200.0]), atol=1)


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))

    def model(self, x, y=None):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(self.net(x * 0), 1.0).to_event(1), obs=x)


@pytest.mark.parametrize("how", ["step", "holder"])
def test_evaluate_does_not_change_networks_inside_what_is_no_module(how):
    noisy = Noisy()
    model = SVI(noisy.model)
    if how == "holder":
        model = Couple(lambda x, y=None: noisy.model(x))
        model.noisy = noisy
    else:
        model(points(10, 2))
    before = {name: t.clone() for name, t in noisy.state_dict().items()}
    evaluate(model, Split(points(20, 2)))
    assert all(torch.equal(t, before[name]) for name, t in noisy.state_dict().items())


def test_step_scores_as_its_model():
    data = pyrogen.load("digits-binary")
    cvae = CVAE(data.shape, Label(10), 2, (8,))
    step = SVI(cvae.model, cvae.guide)
    step(*data.train.read(slice(0, 64), torch.Generator()))
    a, b = (likelihood_scores(m, data.test, k=2)["log_likelihood"].value for m in (cvae, step))
    assert a == pytest.approx(b, abs=1e-3)


def test_step_of_a_conditional_model_can_be_evaluated():
    data = pyrogen.load("digits-binary")
    cvae = CVAE(data.shape, Label(10), 2, (8,))
    step = SVI(cvae.model, cvae.guide)
    step(*data.train.read(slice(0, 64), torch.Generator()))
    assert "mmd2" in evaluate(step, data, k=2)


@pytest.mark.parametrize("observed", [1, 3])
def test_bits_per_dim_of_a_completion_counts_hidden_pixels(observed):
    plan = recipes.cvae(pyrogen.load("digits"), condition="quadrants", observed=observed, hidden=(8,), latent=2)
    scores = likelihood_scores(plan.model, plan.data, k=2)
    hidden = 64 * (4 - observed) / 4
    expected = (np.log(17) - scores["log_likelihood"].value / hidden) / np.log(2)
    assert "bits_per_dim" not in scores or scores["bits_per_dim"].value == pytest.approx(expected, rel=1e-3)


def test_pair_without_a_sampler_can_be_measured():
    class Bare:
        def model(self, x, y=None):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1), obs=x)

        def guide(self, x, y=None):
            pass

    assert evaluate(Bare(), Split(points(20, 2)))["log_likelihood"].kind == "exact"


def test_absent_label_gives_a_finite_score():
    data = Dataset("d", *[Split((points(30, 2) > 0).float(), torch.arange(30) % 3)] * 3, (2,), Measure("binary"))
    cvae = CVAE((2,), Label(3, torch.tensor([5, 5, 0])), 2, (4,))
    value = likelihood_scores(cvae, data, k=2)["log_likelihood"].value
    json.dumps(value, allow_nan=False)


def test_bandwidth_in_one_dimension():
    samples, valid = points(10_000, 1), points(1000, 1, seed=1)
    chosen = float(log_density(valid, samples, best_bandwidth(valid, samples)).mean())
    best = max(float(log_density(valid, samples, h).mean()) for h in np.geomspace(0.01, 1, 30))
    assert chosen == pytest.approx(best, abs=0.05)


@pytest.mark.parametrize("dims", [32, 128])
def test_bandwidth_in_many_dimensions(dims):
    samples, valid = points(1500, dims), points(300, dims, seed=1)
    chosen = float(log_density(valid, samples, best_bandwidth(valid, samples)).mean())
    best = max(float(log_density(valid, samples, h).mean()) for h in np.geomspace(0.3, 3, 80))
    assert chosen == pytest.approx(best, abs=0.1)


def test_nearest_distance_among_close_points():
    toy = pyrogen.load("ring")
    train, x = toy.train.x, toy.test.x[:300]
    exact = torch.cat(
        [
            torch.cdist(part.double(), train.double(), compute_mode="donot_use_mm_for_euclid_dist").min(1).values
            for part in x.split(50)
        ]
    )
    assert nearest_distance(x, train).mean().item() == pytest.approx(exact.mean().item(), rel=0.01)


def adversary(generator=None, critic=None, **options):
    return AdversarialGame(
        generator or nn.Linear(3, 2), critic or nn.Linear(2, 1), lambda n: torch.randn(n, 3), **options
    )


def test_frozen_layers_are_left_out():
    critic = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))
    critic[0].requires_grad_(False)
    adversary(critic=critic)(points(8, 2))


def test_gradient_penalty_in_double_precision():
    critic = nn.Linear(2, 1).double()
    assert GradientPenalty()(critic, points(4, 2).double(), points(4, 2, seed=1).double()).isfinite()


@pytest.mark.parametrize("critic_steps", [0, -1])
def test_impossible_numbers_of_critic_steps_are_refused(critic_steps):
    with pytest.raises(ConfigError, match="critic_steps"):
        adversary(critic_steps=critic_steps)


def test_negative_clip_is_refused():
    with pytest.raises(ConfigError, match="clip"):
        adversary(clip=-1.0)


def test_optional_second_argument_is_not_taken_for_labels():
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 1)

        def forward(self, x, features=False):
            return x if features else self.net(x)

    adversary(critic=Critic())(points(4, 2), torch.arange(4))


def test_generator_loss_is_not_reported_before_it_exists():
    logs = adversary(critic_steps=3)(points(4, 2))
    assert "generator_loss" not in logs or logs["generator_loss"].isnan() or logs["generator_loss"] != 0


@pytest.mark.parametrize(("n", "d"), [(3, 3), (63, 64), (64, 64)])
def test_singular_covariance_is_always_seen(n, d):
    for seed in range(10):
        with pytest.raises(DataError, match="jitter"):
            Gaussian.from_data(points(n, d, seed=seed), "full")


def test_collinear_dimensions_are_seen():
    x = points(100, 2)
    with pytest.raises(DataError, match="jitter"):
        Gaussian.from_data(torch.cat([x, 2 * x[:, :1]], 1), "full")


@pytest.mark.parametrize("bad", [torch.full((4, 2), torch.nan), torch.zeros(0, 2)], ids=["nan", "empty"])
def test_bad_data_are_not_called_constant(bad):
    with pytest.raises(DataError) as error:
        Gaussian.from_data(bad)
    assert "0 of 2 dimensions are constant" not in str(error.value)


@pytest.mark.filterwarnings("error")
def test_fixed_sigma_trains_without_a_warning():
    vae = VAE((2,), 2, (4,), GaussianLikelihood(0.1, unit=False))
    SVI(vae.model, vae.guide)(points(8, 2))


def test_convolutions_on_vectors_are_refused_with_one_sentence():
    with pytest.raises(ConfigError):
        VAE((5,), network="conv")


def test_mean_of_the_discretised_logistic():
    likelihood = DiscretizedLogisticLikelihood(17)
    h = torch.tensor([[-0.45, 2.0]])
    with scoped_seed(0):
        drawn = likelihood(h).sample((100_000,)).mean()
    assert likelihood.mean(h).item() == pytest.approx(drawn.item(), abs=0.03)


def test_gaussian_leaves_bfloat16_before_its_likelihood():
    model = Gaussian.from_data(points(500, 3) + 5, "full")
    with torch.no_grad():
        model.shift.copy_(torch.tensor([1.2346, 2.3456, 0.5678]))
        exact = model.distribution().loc
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.allclose(model.distribution().loc, exact, atol=1e-5)


# ---------------------------------------------------------------- test_nn.py
