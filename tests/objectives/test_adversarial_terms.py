"""Any generator and any critic play: a user's own, with and without labels, partly frozen, on few data."""

import pytest
import torch
from games import adversary, batch, game, players, prior
from torch import nn

from pyrogen import AdversarialGame
from pyrogen.errors import ConfigError
from pyrogen.hybrid import VAEGAN
from pyrogen.implicit import DCGAN, GAN, WGAN, MLPCritic, Packed, ResGAN
from pyrogen.objectives import MMD, FeatureMatching, GradientPenalty, NonSaturating, Relativistic, Wasserstein
from pyrogen.objectives.adversarial_terms import AdversarialTerms, critic_accuracy
from pyrogen.random import scoped_seed


class OnlyX(nn.Module):
    """A critic that knows nothing of labels; its scores are a column."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 1)

    def forward(self, x):
        return self.net(x)


class WithLabels(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.net, self.seen = nn.Linear(inputs + 1, outputs), []

    def forward(self, x, y):
        self.seen.append(y)
        return self.net(torch.cat([x, y[:, None].float()], 1))


@pytest.mark.parametrize("penalty", [None, GradientPenalty()])
@pytest.mark.parametrize("critic", [OnlyX, lambda: nn.Linear(2, 1), lambda: WithLabels(2, 1)])
@pytest.mark.parametrize("generator", [lambda: nn.Linear(3, 2), lambda: WithLabels(3, 2)])
def test_own_networks_plug_in(generator, critic, penalty):
    g, c = generator(), critic()
    step = AdversarialGame(g, c, prior, penalty=penalty)
    y = torch.arange(16) % 2
    logs = step(batch(), y)
    assert all(value.shape == () and value.isfinite() and not value.requires_grad for value in logs.values())
    assert step.evaluate(batch(), y).keys() == {"critic_loss", "generator_loss"}
    for network in (g, c):
        assert all(torch.equal(seen, y) for seen in getattr(network, "seen", []))
    if not hasattr(g, "seen") and not hasattr(c, "seen"):
        assert step(batch()).keys() == logs.keys()


@pytest.mark.parametrize("n", [1, 2])
def test_small_batches(n):
    for model in (GAN((2,), 3, (4,)), WGAN((2,), 3, (4,))):
        assert adversary(model)(batch(n))["critic_loss"].isfinite()
    for model in (DCGAN((1, 28, 28), 3, 4), WGAN((1, 28, 28), 3, (4,), "conv")):
        assert adversary(model, penalty=GradientPenalty())(torch.rand(n, 1, 28, 28))["penalty"].isfinite()


def test_conditional_players_learn_from_labels():
    model = DCGAN((1, 8, 8), 3, 4, classes=2)
    step = adversary(model, penalty=GradientPenalty())
    x, y = torch.rand(8, 1, 8, 8), torch.arange(8) % 2
    before = {name: t.clone() for name, t in step.weights().items()}
    step(x, y)
    assert not torch.equal(step.weights()["critic.layers.0.weight"], before["critic.layers.0.weight"])
    with pytest.raises(ValueError, match="labels"):
        step(x)


def test_frozen_layers_are_left_out():
    critic = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))
    critic[0].requires_grad_(False)
    AdversarialGame(players()[0], critic, prior)(batch(8))


def test_optional_second_argument_is_not_taken_for_labels():
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 1)

        def forward(self, x, features=False):
            return x if features else self.net(x)

    AdversarialGame(players()[0], Critic(), prior)(batch(4), torch.arange(4))


class Counting(nn.Linear):
    """A critic that notes its inputs and whether its output is differentiated."""

    def __init__(self):
        super().__init__(2, 1)
        self.seen = []

    def forward(self, x):
        score = super().forward(x)
        self.seen.append((x.detach(), score.requires_grad))
        return score


@pytest.mark.parametrize("loss", [NonSaturating(), Wasserstein(), Relativistic()], ids=lambda loss: type(loss).__name__)
def test_only_a_loss_of_both_sides_evaluates_the_critic_on_data_for_the_generator(loss):
    critic, x = Counting(), batch()
    AdversarialTerms(nn.Linear(3, 2), critic, prior, loss, None).generator_terms(x, None)
    on_data = [graph for seen, graph in critic.seen if torch.equal(seen, x)]
    assert on_data == ([False] if loss.uses_real else [])  # and without a gradient
    assert len(critic.seen) == 1 + len(on_data)


def test_a_loss_of_ones_own_sees_both_sides_by_default():
    class Mine:
        def critic(self, real, fake):
            return (fake - real).mean()

        def generator(self, fake, real):
            return (real.mean() - fake.mean()).square()

    generator, critic = players()
    terms = AdversarialTerms(generator, critic, prior, Mine(), None)
    x = batch()
    with scoped_seed(0):
        (loss,) = terms.generator_terms(x, None)
    with scoped_seed(0):
        expected = (critic(x).mean() - critic(generator(prior(16))).mean()).square()
    assert torch.allclose(loss, expected)
    assert AdversarialGame(generator, critic, prior, Mine())(x)["generator_loss"].isfinite()


class WithFeatures(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(2, 5), nn.Linear(5, 1)

    def features(self, x):
        return self.body(x).tanh()

    def forward(self, x):
        return self.head(self.features(x))


def test_losses_on_features_are_given_features():
    critic, x = WithFeatures(), batch()
    generator = nn.Linear(3, 2)
    for loss in (FeatureMatching(), MMD()):
        terms = AdversarialTerms(generator, critic, prior, loss, None)
        with scoped_seed(0):
            (of_generator,), of_critic = terms.generator_terms(x, None), terms.critic_terms(x, None, None)[0]
        with scoped_seed(0):
            first, second = generator(prior(16)), generator(prior(16))
        assert torch.allclose(of_generator, loss.generator(critic.features(first), critic.features(x)))
        given = critic.features if isinstance(loss, MMD) else critic
        assert torch.allclose(of_critic, loss.critic(given(x), given(second)))
        with scoped_seed(0):
            both = terms.losses(x)
        assert torch.allclose(both["generator_loss"], of_generator)
        assert torch.allclose(both["critic_loss"], loss.critic(given(x), given(first)))


def test_a_critic_without_features_is_refused_by_name():
    for loss in (FeatureMatching(), MMD()):
        with pytest.raises(ConfigError, match=rf"{type(loss).__name__} works on features.*got Linear"):
            AdversarialGame(nn.Linear(3, 2), nn.Linear(2, 1), prior, loss)


IMAGE = (1, 8, 8)


def packed():
    model = GAN(IMAGE, 3, (4,))
    model.critic = Packed(MLPCritic((2, 8, 8), (4,)), 2)
    return model


MODELS = {  # how a model of images is made, and the width of its critic's features
    "gan": (lambda: GAN(IMAGE, 3, (6, 4)), 6),
    "packed": (packed, 4),
    "dcgan": (lambda: DCGAN(IMAGE, 3, 4), 32),
    "resgan": (lambda: ResGAN(IMAGE, 3, 4), 4),
    "vaegan": (lambda: VAEGAN(IMAGE, 3, (8,), features=7), 7),
}


@pytest.mark.parametrize("loss", [FeatureMatching(), MMD()], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("name", MODELS)
def test_every_critic_of_the_library_has_features(name, loss):
    make, dims = MODELS[name]
    model = make()
    x = torch.rand(6, *IMAGE)
    assert model.critic.features(x).shape == (3 if name == "packed" else 6, dims)
    step = adversary(model, loss=loss)
    assert all(value.isfinite() for value in step(x).values())
    moved = [name for name, p in model.critic.named_parameters() if p.grad.any()]
    assert moved


@pytest.mark.parametrize("name", ["gan", "dcgan", "resgan"])
def test_scores_are_a_linear_map_of_features(name):
    model = MODELS[name][0]()
    model.critic.eval()
    x = torch.rand(40, *IMAGE)
    with torch.no_grad():
        phi = torch.cat([model.critic.features(x), torch.ones(40, 1)], 1).double()
        score = model.critic(x).double()
    fitted = phi @ torch.linalg.lstsq(phi, score[:, None], driver="gelsd").solution
    assert torch.allclose(fitted[:, 0], score, atol=1e-4 * float(score.abs().max()))


def test_accuracy_of_scores_and_of_pairs():
    real, fake = torch.tensor([1.0, -2.0, 0.3, 5.0]), torch.tensor([0.5, -1.0, 4.0, -1.0])
    assert critic_accuracy(NonSaturating(), real, fake) == 0.5 * (3 / 4 + 2 / 4)
    assert critic_accuracy(Relativistic(), real, fake) == 2 / 4
    assert critic_accuracy(Wasserstein(), real, fake) is None
    on_the_boundary = torch.zeros(3)
    for loss in (NonSaturating(), Relativistic()):
        assert critic_accuracy(loss, on_the_boundary, on_the_boundary) == 0  # a tie is no right answer


@pytest.mark.parametrize("loss", [NonSaturating(), Relativistic()], ids=lambda loss: type(loss).__name__)
def test_scalars_have_the_precision_of_float64_models(loss):
    generator, critic = (network.double() for network in players())
    step = AdversarialGame(
        generator, critic, lambda n: prior(n).double(), loss, penalty=GradientPenalty(),
        penalty_schedule=lambda t: 0.1, noise=lambda t: 0.1,
    )  # fmt: skip
    logs = step(batch().double())
    assert "critic_accuracy" in logs
    assert {value.dtype for value in (*logs.values(), *step.evaluate(batch().double()).values())} == {torch.float64}


def test_schedules_are_not_rounded_to_float32():
    step = AdversarialGame(nn.Linear(3, 2).double(), nn.Linear(2, 1).double(), prior, noise=lambda t: 0.1)
    assert step._value(step.noise, batch().double()).item() == 0.1


def test_a_penalty_of_the_generator_is_added_to_its_loss_and_logged_beside_it():
    def pull(generator, real, *rest):
        return 3 * sum(p.square().sum() for p in generator.parameters())

    plain, pulled = game(), game(generator_penalty=pull)
    x = batch()
    logs = []
    for step in (plain, pulled):
        with scoped_seed(1):
            logs.append(step(x))
    assert set(logs[1]) - set(logs[0]) == {"generator_penalty"}
    assert logs[0]["generator_loss"] == logs[1]["generator_loss"]  # without the penalty, as for the critic
    assert logs[1]["gradient"] > logs[0]["gradient"]
    again = game(generator_penalty=pull)
    expected = pull(again.terms.generator, x).item()
    assert float(again.evaluate(x)["generator_penalty"]) == pytest.approx(expected)
    assert float(logs[1]["generator_penalty"]) == pytest.approx(expected)
    located = []
    for step in (game(), again):
        with scoped_seed(1):
            located += [term.value.item() for term in step.loss_terms(x) if term.name == "generator_loss"]
    assert located[1] == pytest.approx(located[0] + expected)
