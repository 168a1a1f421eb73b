"""What adversarial recipes hand to the step: each player's optimiser, penalty and schedule."""

import pytest
import torch
from torch.optim import Adam, RMSprop

import pyrogen
from pyrogen.errors import ConfigError
from pyrogen.objectives import (
    GradientPenalty,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    R1Penalty,
    Relativistic,
    Wasserstein,
)
from pyrogen.recipes import recipe
from pyrogen.recipes.adversarial import log_linear

RATES = {  # a recipe by Adam: learning rates of generator and critic in units of the option lr
    "gan": (1, 1),
    "cgan": (1, 1),
    "dcgan": (1, 1),
    "wgan-gp": (1, 1),
    "sngan": (1, 1),
    "packed-gan": (1, 1),
    "relativistic-gan": (1, 2),
    "aae": (2, 2),
    "vaegan": (1 / 5, 1 / 5),
}
SMALL = {"width": 4}


@pytest.fixture(scope="module")
def digits():
    return pyrogen.load("digits")


def made(name, data, **options):
    known = {option.name for option in recipe(name).options}
    return recipe(name)(data, **{key: value for key, value in SMALL.items() if key in known} | options)


def game_of(setup):
    """The adversarial step within a recipe's step."""
    step = setup.step.steps["game"] if hasattr(setup.step, "steps") else setup.step
    return getattr(step, "game", step)


def check_optimizers(game, generator_rate, critic_rate, kind=Adam):
    for player, rate in (("generator", generator_rate), ("critic", critic_rate)):
        optimizer = game.optimizers[player]
        (group,) = optimizer.param_groups
        assert type(optimizer) is kind
        assert group["initial_lr"] == pytest.approx(rate), player
        assert [id(p) for p in group["params"]] == [id(p) for p in game._networks[player].parameters()]
        if kind is Adam:
            assert group["betas"] == (0.0, 0.9)


@pytest.mark.parametrize("name", RATES)
def test_both_players_learn_by_adam_without_momentum(name, digits):
    generator, critic = RATES[name]
    check_optimizers(game_of(made(name, digits, lr=0.003)), 0.003 * generator, 0.003 * critic)


@pytest.mark.parametrize("name", ["gan", "dcgan", "relativistic-gan"])
def test_the_critic_has_critic_rate_times_the_learning_rate(name, digits):
    setup = made(name, digits, lr=0.002, critic_rate=3.0)
    game = game_of(setup)
    assert game._networks["generator"] is setup.model.generator
    check_optimizers(game, 0.002, 0.006)


def test_wgan_learns_by_rmsprop_if_clipped_and_by_adam_if_penalised(digits):
    clipped, penalised = made("wgan", digits, lr=0.003, clip=0.03), made("wgan", digits, lr=0.003, lipschitz="penalty")
    check_optimizers(clipped.step, 0.003, 0.003, RMSprop)
    check_optimizers(penalised.step, 0.003, 0.003)
    assert (clipped.step.clip, penalised.step.clip) == (0.03, None)
    assert max(p.abs().max() for p in clipped.model.critic.parameters()) <= 0.03


LOSSES = {
    "gan": (NonSaturating, None),
    "dcgan": (NonSaturating, None),
    "wgan": (Wasserstein, None),
    "wgan-gp": (Wasserstein, GradientPenalty(2.5)),
    "sngan": (Hinge, None),
    "packed-gan": (NonSaturating, R1Penalty(0.25)),
    "relativistic-gan": (Relativistic, R1Penalty(0.25, samples=True)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_penalty_of_a_recipe(name, digits):
    loss, penalty = LOSSES[name]
    given = {"penalty": 2.5} if name == "wgan-gp" else {"r1": 0.25} if penalty else {}
    terms = game_of(made(name, digits, critic_steps=3, **given)).terms
    assert (type(terms.loss), terms.penalty) == (loss, penalty)


BY_NAME = {"non_saturating": NonSaturating, "minimax": Minimax, "hinge": Hinge, "least_squares": LeastSquares}


@pytest.mark.parametrize(("word", "loss"), BY_NAME.items())
def test_losses_by_name(word, loss, digits):
    assert type(made("gan", digits, loss=word).step.terms.loss) is loss


@pytest.mark.parametrize("name", ["gan", "packed-gan", "relativistic-gan"])
def test_r1_has_its_weight_on_standardised_data(name):
    grid = pyrogen.load("grid")
    penalty = made(name, grid, r1=0.5).step.terms.penalty
    assert penalty.weight == 0.5
    assert penalty.samples == (name == "relativistic-gan")
    given = {"r1_start": 0.0} if name == "relativistic-gan" else {}
    assert made(name, grid, r1=0.0, **given).step.terms.penalty is None


@pytest.mark.parametrize("name", ["gan", "relativistic-gan"])
def test_r1_falls_from_its_start(name):
    step = made(name, pyrogen.load("ring"), r1=0.01, r1_start=1.0, steps=100).step
    assert [round(step.penalty_schedule(t), 6) for t in (0, 30, 60, 99)] == [100, 10, 1, 1]
    assert log_linear(4.0, 10)(3) == pytest.approx(2.0)
    assert made(name, pyrogen.load("ring"), r1=0.01, r1_start=0.0).step.penalty_schedule is None
    with pytest.raises(ConfigError, match="r1_start needs r1"):
        made(name, pyrogen.load("ring"), r1=0.0, r1_start=1.0)


def test_a_game_of_pairs_reports_the_share_of_pairs(digits):
    setup = made("relativistic-gan", digits)
    x = digits.train.read(slice(0, 32), torch.Generator())[0]
    fixed = setup.model.prior(32)
    setup.step.terms.prior = lambda n: fixed
    with torch.no_grad():
        modules = setup.model.critic, setup.model.generator
        expected = (modules[0](x) > modules[0](modules[1](fixed))).float().mean()
    assert setup.step(x)["critic_accuracy"] == expected


@pytest.mark.parametrize(("data", "kind"), [("grid", "MLPCritic"), ("digits", "ConvCritic")])
def test_networks_of_the_relativistic_gan(data, kind):
    critic = made("relativistic-gan", pyrogen.load(data)).model.critic
    assert type(critic).__name__ == kind
    assert not [part for part in critic.modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)]
    with pytest.raises(ConfigError, match="needs images"):
        made("relativistic-gan", pyrogen.load("grid"), network="conv")
