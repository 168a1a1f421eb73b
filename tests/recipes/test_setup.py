"""What recipes share: schedules, learning rates, penalties and units in exact values."""

from dataclasses import replace
from functools import partial
from math import cos, pi

import pytest
import torch
from recipe_cases import of, small, suited
from torch import nn
from torch.optim import Adam, RMSprop

import pyrogen
from pyrogen import SVI, AdversarialGame
from pyrogen.data import Dataset, Space, Split
from pyrogen.data.step_arguments import select_arguments
from pyrogen.errors import ConfigError
from pyrogen.explicit.likelihoods import BernoulliLikelihood, DiscretizedLogisticLikelihood, GaussianLikelihood
from pyrogen.explicit.mixture_likelihood import MixtureLikelihood
from pyrogen.implicit import GAN
from pyrogen.objectives import GradientPenalty, Hinge, LeastSquares, Minimax, NonSaturating, R1Penalty, Wasserstein
from pyrogen.recipes import RECIPES, TrainingSetup
from pyrogen.recipes.adversarial import (
    LOSSES,
    adversarial_setup,
    classes_for,
    log_linear,
    optimizer_pair,
    r1_penalty,
)
from pyrogen.recipes.autoregressive import _centring
from pyrogen.recipes.flows import to_real_line
from pyrogen.recipes.setup import (
    adam_without_momentum,
    cosine_schedule,
    data_mean,
    in_unit_interval,
    label_counts,
    network_for,
    observation_model,
    require_images,
    require_labels,
)


def dataset(support="real", shape=(2,), levels=0, labels=None, n=60):
    x = torch.randn(n, *shape, generator=torch.Generator().manual_seed(0)) * 3 + 1
    x = {"unit": x.sigmoid(), "binary": (x > 0).float()}.get(support, x)
    y = None if labels is None else torch.arange(n) % labels
    names = tuple(str(i) for i in range(labels or 0))
    return Dataset("some", *[Split(x, y)] * 3, shape, Space(support, levels), names)


IMAGES = partial(dataset, "unit", (1, 8, 8))


def rates(make, steps):
    """The learning rates of so many steps, in units of the given one."""
    optimizer = Adam([nn.Parameter(torch.zeros(()))], lr=2.0)
    schedule = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"] / 2)
        optimizer.step()
        schedule.step()
    return found


def test_cosine_in_closed_form():
    short = [min(1, (t + 1) / 11) * 0.5 * (1 + cos(pi * t / 100)) for t in range(101)]
    assert rates(cosine_schedule(100), 101) == pytest.approx(
        short, abs=1e-6
    )  # the warm-up is a tenth, and one step more
    assert rates(cosine_schedule(100, warmup=4), 5) == pytest.approx(
        [min(1, (t + 1) / 4) * 0.5 * (1 + cos(pi * t / 100)) for t in range(5)], abs=1e-6
    )
    long = rates(cosine_schedule(10_000), 300)
    assert long[:201] == pytest.approx(
        [min(1, (t + 1) / 200) * 0.5 * (1 + cos(pi * t / 10_000)) for t in range(201)], abs=1e-6
    )
    assert rates(cosine_schedule(3), 6)[3:] == pytest.approx([0, 0, 0], abs=1e-7)


def test_log_linear_in_closed_form():
    assert [log_linear(16.0, 100)(t) for t in (0, 15, 30, 60, 90)] == pytest.approx([16, 8, 4, 1, 1])
    assert log_linear(0.25, 10)(3) == pytest.approx(0.5)


def test_optimisers():
    (group,) = adam_without_momentum(0.3)([nn.Parameter(torch.zeros(()))]).param_groups
    assert (group["lr"], group["betas"]) == (0.3, (0.0, 0.9))
    groups = [make([nn.Parameter(torch.zeros(()))]).param_groups[0] for make in optimizer_pair(0.3, 4.0)]
    assert [g["lr"] for g in groups] == pytest.approx([0.3, 1.2])
    assert {g["betas"] for g in groups} == {(0.0, 0.9)}


def players(setup):
    """The optimisers of a setup, by the name of what they train."""
    steps = getattr(setup.step, "steps", {"": setup.step})
    found = {}
    for name, step in steps.items():
        game = getattr(step, "game", step)
        if isinstance(game, AdversarialGame):
            found |= game.optimizers
        elif isinstance(game, SVI):
            batch = setup.data.train.read(slice(0, 4), torch.Generator().manual_seed(0))
            game.setup(*select_arguments(game, batch))
            found[name or "svi"] = game.optimizer
        else:
            found[name or "descent"] = game.optimizer
    return found


@pytest.mark.parametrize("name", [n for n in RECIPES if "lr" in RECIPES[n].schema.model_fields and n != "ppca"])
def test_learning_rates_and_momentum(name):
    options = small(name) | {"lr": 0.01, "steps": 50}
    if "pretraining" in options:
        options |= {"pretraining": 50, "steps": 100}  # each phase has 50 steps
    setup = RECIPES[name](suited(name), **options)
    known = {
        "aae": {"generator": 2, "critic": 2},
        "vaegan": {"generator": 0.2, "critic": 0.2},
        "relativistic-gan": {"critic": 2},
    }
    factors = known.get(name, {})
    for player, optimizer in players(setup).items():
        (group,) = optimizer.param_groups
        assert group["initial_lr"] == pytest.approx(0.01 * factors.get(player, 1)), player
        assert group["lr"] == pytest.approx(group["initial_lr"] / 6)  # the first of six steps of warm-up
        if name == "wgan":
            assert isinstance(optimizer, RMSprop)
        else:
            assert isinstance(optimizer, Adam)
            assert group["betas"] == ((0.0, 0.9) if player in ("generator", "critic") else (0.9, 0.999))


@pytest.mark.parametrize("name", ["gan", "dcgan"])
def test_the_critic_has_a_rate_of_its_own(name):
    setup = RECIPES[name](suited(name), **small(name), lr=0.01, critic_rate=3.0)
    found = {player: optimizer.param_groups[0]["initial_lr"] for player, optimizer in players(setup).items()}
    assert found == pytest.approx({"generator": 0.01, "critic": 0.03})


@pytest.mark.parametrize("name", of(family="explicit"))
def test_clipped_gradients(name):
    step = RECIPES[name](suited(name), **small(name)).step
    clipped = ("realnvp", "maf", "spline", "made", "pixelcnn")
    if isinstance(step, SVI):
        assert step._update.optimizer.clip_norm == (10.0 if name in clipped else None)


def test_losses_by_name():
    assert {
        "non_saturating": NonSaturating,
        "minimax": Minimax,
        "hinge": Hinge,
        "least_squares": LeastSquares,
    } == LOSSES
    for name in ("gan", "cgan", "sngan"):
        for loss, kind in LOSSES.items():
            assert type(RECIPES[name](suited(name), **small(name), loss=loss).step.terms.loss) is kind
    usual = {"dcgan": NonSaturating, "packed-gan": NonSaturating, "wgan": Wasserstein, "wgan-gp": Wasserstein}
    for name, kind in usual.items():
        assert type(RECIPES[name](suited(name), **small(name)).step.terms.loss) is kind


def test_no_r1_without_weight():
    assert r1_penalty(0.0) is None
    assert r1_penalty(0.4).weight == 0.4
    assert r1_penalty(0.4, samples=True).samples


def test_penalties_and_clipping_of_the_wasserstein_games():
    clipped = RECIPES["wgan"](suited("wgan"), **small("wgan"), clip=0.07).step
    assert (clipped.clip, clipped.terms.penalty) == (0.07, None)
    penalised = RECIPES["wgan"](suited("wgan"), **small("wgan"), lipschitz="penalty", penalty=3.0).step
    assert penalised.clip is None
    assert isinstance(penalised.terms.penalty, GradientPenalty)
    assert penalised.terms.penalty.weight == 3.0
    assert isinstance(penalised.optimizers["critic"], Adam)
    bursts = RECIPES["wgan"](suited("wgan"), **small("wgan"), bursts=True, critic_steps=4).step
    assert [bursts.critic_steps(t) for t in (0, 24, 25, 499, 500)] == [100, 100, 4, 4, 100]
    assert RECIPES["wgan-gp"](suited("wgan-gp"), **small("wgan-gp"), penalty=3.0).step.terms.penalty.weight == 3.0
    falling = RECIPES["gan"](suited("gan"), **small("gan"), r1=0.5, r1_start=8.0, steps=100).step
    assert isinstance(falling.terms.penalty, R1Penalty)
    assert [falling.penalty_schedule(t) for t in (0, 30, 60)] == pytest.approx([16, 4, 1])
    assert RECIPES["gan"](suited("gan"), **small("gan")).step.penalty_schedule is None


def test_classes():
    labelled, bare = dataset(labels=3), dataset()
    assert [classes_for(labelled, how) for how in ("label", "none", "auto")] == [3, 0, 3]
    assert [classes_for(bare, how) for how in ("none", "auto")] == [0, 0]
    with pytest.raises(ConfigError, match="condition=label needs labels"):
        classes_for(bare, "label")
    with pytest.raises(ConfigError, match="cgan needs labels"):
        classes_for(bare, "label", "cgan")
    uneven = replace(labelled, train=Split(torch.zeros(4, 2), torch.tensor([0, 1, 1, 1])))
    assert label_counts(uneven).tolist() == [1, 3, 0]


def test_a_game_learns_how_often_labels_occur():
    labelled = replace(dataset(labels=3), train=Split(torch.zeros(4, 2), torch.tensor([0, 1, 1, 1])))
    setup = adversarial_setup(GAN((2,), 3, (4,), False, 3), labelled, Hinge(), 40, 0.01, 0.5, clip=0.3)
    assert setup.model.condition.probs.tolist() == pytest.approx([0.25, 0.75, 0], abs=1e-5)
    assert (setup.average, setup.step.clip, type(setup.step.terms.loss)) == (0.5, 0.3, Hinge)
    (factor,) = setup.step.schedules["critic"].lr_lambdas
    assert [factor(t) for t in range(2)] == rates(cosine_schedule(40), 2)
    unlabelled = adversarial_setup(GAN((2,), 3, (4,), False), dataset(), Hinge(), 40, 0.01, 0.5)
    assert unlabelled.step.optimizers["critic"].param_groups[0]["betas"] == (0.0, 0.9)


def test_the_observation_model_fits_the_space():
    cases = [
        (dataset("binary"), BernoulliLikelihood),
        (dataset("unit"), GaussianLikelihood),
        (dataset("unit", levels=17), DiscretizedLogisticLikelihood),
        (dataset("real"), GaussianLikelihood),
        (dataset("logit", levels=17), GaussianLikelihood),
    ]
    for data, kind in cases:
        assert type(observation_model(data, "auto", "learned")) is kind
    h = torch.tensor([[3.0, 0.0]])
    assert observation_model(dataset("unit"), "gaussian", 0.5).mean(h[:, :1]) == pytest.approx(float(h[0, 0].sigmoid()))
    assert observation_model(dataset("real"), "gaussian", 0.5).mean(h[:, :1]) == pytest.approx(3.0)
    assert observation_model(dataset("real"), "gaussian", 0.5)(h[:, :1]).stddev == pytest.approx(0.5)
    assert observation_model(dataset("unit", levels=17), "auto", "learned").levels == 17
    for support, levels in (("unit", 0), ("real", 17), ("logit", 17)):
        with pytest.raises(ConfigError, match="discretized_logistic"):
            observation_model(dataset(support, levels=levels), "discretized_logistic", "learned")
    for data, levels in ((dataset("unit", levels=17), 17), (dataset("real"), 0), (dataset("unit"), 0)):
        mixture = observation_model(data, "mixture", "learned")
        assert (type(mixture), mixture.levels, mixture.components) == (MixtureLikelihood, levels, 3)
    for name, support in (("bernoulli", "real"), ("gaussian", "binary"), ("mixture", "binary")):
        with pytest.raises(ConfigError, match=name):
            observation_model(dataset(support), name, "learned")


def test_networks_by_name():
    assert [network_for(IMAGES(), name) for name in ("auto", "conv", "mlp")] == ["conv", "conv", "mlp"]
    assert [network_for(dataset(), name) for name in ("auto", "mlp")] == ["mlp", "mlp"]
    with pytest.raises(ConfigError, match="network=conv needs images"):
        network_for(dataset(), "conv")
    with pytest.raises(ConfigError, match="who needs images"):
        require_images(dataset(), "who")
    with pytest.raises(ConfigError, match="who needs labels"):
        require_labels(dataset(), "who")
    require_images(IMAGES(), "who")
    require_labels(dataset(labels=2), "who")


def test_units_of_the_data():
    assert [in_unit_interval(dataset(s)) for s in ("unit", "binary", "real", "logit")] == [True, True, False, False]
    data = dataset()
    assert torch.equal(data_mean(data), data.train.x.mean(0))
    assert all(torch.equal(part, torch.full((1, 8, 8), 0.5)) for part in _centring(IMAGES()).values())
    assert _centring(data) == {}
    assert to_real_line(data) == []
    first, second = to_real_line(dataset("unit"))
    z = second(first(dataset("unit").train.x)[0])[0]
    assert torch.allclose(z.mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(z.std(0, correction=0), torch.ones(2), atol=1e-5)
    with pytest.raises(ConfigError, match="a flow"):
        to_real_line(dataset("binary"))


def test_a_setup_keeps_its_parts():
    data = suited("vae")
    setup = RECIPES["vae"](data, **small("vae"))
    assert isinstance(setup, TrainingSetup)
    assert setup.data is data
    assert setup.average is None
    assert RECIPES["gan"](data, **small("gan"), average=0.25).average == 0.25
    assert pyrogen.recipes.recipe("vae") is RECIPES["vae"]


@pytest.mark.parametrize("name", ["gan", "wgan", "wgan-gp", "packed-gan", "relativistic-gan"])
def test_generators_have_the_range_of_the_data(name):
    data = dataset(shape=(2,), n=64)
    options = {key: value for key, value in small(name).items() if key != "network"}
    torch.manual_seed(0)
    assert RECIPES[name](data, **options).model.sample(500).min() < 0
    drawn = RECIPES[name](IMAGES(), **options).model.sample(20)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
