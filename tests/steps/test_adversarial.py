"""The two-player game: its rules, whose turn it is, and exact continuation."""

import copy
from functools import partial
from itertools import pairwise

import pytest
import torch
from games import adversary, batch, game, players, prior, same
from torch import nn
from torch.optim import SGD, Adam, RMSprop
from torch.optim.lr_scheduler import StepLR

from pyrogen import AdversarialGame, fit
from pyrogen.errors import ConfigError
from pyrogen.implicit import DCGAN, GAN
from pyrogen.objectives import GradientPenalty, NonSaturating, R1Penalty, Wasserstein
from pyrogen.random import EVALUATION, scoped_seed
from pyrogen.steps import wgan_critic_schedule


def weights_of(game, player):
    return {n: t.detach().clone() for n, t in game.weights().items() if n.startswith(player)}


# Rules


def test_penalty_is_added_and_reported():
    step = game(loss=Wasserstein(), penalty=GradientPenalty(5.0), optim=partial(SGD, lr=0.1))
    plain = game(loss=Wasserstein(), optim=partial(SGD, lr=0.1))
    with scoped_seed(0):
        logs = step(batch())
    with scoped_seed(0):
        without = plain(batch())
    assert logs.keys() == {"critic_loss", "generator_loss", "penalty", "std_ratio", "gradient"}
    assert without.keys() == logs.keys() - {"penalty"}
    assert torch.allclose(logs["critic_loss"], without["critic_loss"])
    assert logs["penalty"] > 0
    assert not same(weights_of(step, "critic"), weights_of(plain, "critic"))


@pytest.mark.parametrize("compile", [False, True])
def test_second_derivatives_of_convolutions_reach_their_weights(compile):
    """They come in another order of memory than the weights, which a fused optimiser does not look at."""

    def after_two_steps(penalty, compile):
        with scoped_seed(0):
            model = DCGAN((1, 8, 8), 4, 4, norm="layer")
            pair = model.generator, model.critic, model.prior
            step = AdversarialGame(*pair, penalty=penalty, optim=partial(Adam, lr=0.01), compile=compile)
            for _ in range(2):  # the second one by a graph
                step(torch.rand(8, 1, 8, 8))
        return step.weights()

    without, with_none = after_two_steps(None, False), after_two_steps(R1Penalty(1e-12), compile)
    for name, weight in without.items():
        assert torch.allclose(weight, with_none[name], atol=1e-3), name


def test_penalty_makes_the_critic_lipschitz():
    generator, critic = players()
    step = AdversarialGame(
        generator, critic, prior, Wasserstein(), partial(Adam, lr=0.01, betas=(0.0, 0.9)), penalty=GradientPenalty()
    )
    x = batch(64) + 10
    for t in range(150):
        with scoped_seed(t):
            logs = step(x)
    assert logs["penalty"] < 1.0


@pytest.mark.parametrize("clip", [0.01, 0.3])
def test_clipping_holds_at_all_times(clip):
    step = game(loss=Wasserstein(), optim=partial(RMSprop, lr=0.5), clip=clip, critic_steps=2)
    generator = max(t.abs().max().item() for t in weights_of(step, "generator").values())
    for t in range(6):
        largest = max(t.abs().max() for t in weights_of(step, "critic").values())
        assert largest <= clip
        assert largest == torch.tensor(clip)  # reached: the critic would move further
        step(batch(seed=t))
    assert generator > clip
    assert max(t.abs().max() for t in weights_of(step, "generator").values()) > clip


# Turns


@pytest.mark.parametrize("critic_steps", [1, 3, 5])
def test_generator_moves_at_every_kth_call(critic_steps):
    step = game(critic_steps=critic_steps)
    moved, latest = [], []
    for t in range(1, 11):
        before = weights_of(step, "generator"), weights_of(step, "critic")
        latest.append(float(step(batch(seed=t)).get("generator_loss", torch.zeros(()))))
        moved.append(not same(before[0], weights_of(step, "generator")))
        assert not same(before[1], weights_of(step, "critic"))
    assert moved == [t % critic_steps == 0 for t in range(1, 11)]
    # The reported loss of the generator is its latest.
    assert [a != b for a, b in pairwise(latest)] == moved[1:]


def test_updates_leave_the_other_player_alone():
    generator, critic = players()
    own, others = [], []

    class Watched(SGD):
        """Notes, at each move of the critic, its gradients and those of the generator."""

        def step(self, closure=None):
            own.append([p.grad.clone() for p in critic.parameters()])
            others.append([p.grad.clone() for p in generator.parameters()])
            super().step(closure)

    step = AdversarialGame(generator, critic, prior, optim=(partial(SGD, lr=0.1), partial(Watched, lr=0.0)))
    for p in generator.parameters():
        p.grad = torch.full_like(p, 7.0)
    before = weights_of(step, "critic")
    step(batch())
    assert all((grad == 7).all() for grad in others[0])  # the critic's move has not added to them
    assert any(grad.any() for grad in own[0])
    assert all(torch.equal(p.grad, grad) for p, grad in zip(critic.parameters(), own[0], strict=True))
    assert all((p.grad != 7).any() for p in generator.parameters())
    assert same(before, weights_of(step, "critic"))  # at a rate of 0 only the generator could have moved it


def test_update_is_the_gradient_step_of_each_players_loss():
    """One SGD step of both players, recomputed by hand."""
    step = game(optim=(partial(SGD, lr=0.3), partial(SGD, lr=0.7)))
    generator, critic = players()
    x = batch()
    with scoped_seed(0):
        step(x)
    with scoped_seed(0):
        fake = generator(prior(16)).detach()
        loss = NonSaturating().critic(critic(x), critic(fake))
        for p, g in zip(critic.parameters(), torch.autograd.grad(loss, list(critic.parameters())), strict=True):
            p.data -= 0.7 * g
        loss = NonSaturating().generator(critic(generator(prior(16))), None)
        for p, g in zip(generator.parameters(), torch.autograd.grad(loss, list(generator.parameters())), strict=True):
            p.data -= 0.3 * g
    expected = {f"generator.{n}": p for n, p in generator.named_parameters()}
    expected |= {f"critic.{n}": p for n, p in critic.named_parameters()}
    assert step.weights().keys() == expected.keys()
    assert all(torch.allclose(t, expected[n], atol=1e-6) for n, t in step.weights().items())


def test_each_player_has_an_optimiser_of_its_own():
    generator, critic = players()
    step = AdversarialGame(generator, critic, prior, optim=(partial(Adam, lr=0.1), partial(RMSprop, lr=0.2)))
    assert isinstance(step.optimizers["generator"], Adam)
    assert isinstance(step.optimizers["critic"], RMSprop)
    for name, network in (("generator", generator), ("critic", critic)):
        owned = [id(p) for group in step.optimizers[name].param_groups for p in group["params"]]
        assert owned == [id(p) for p in network.parameters()]
    shared = game(optim=partial(SGD, lr=0.1))
    assert shared.optimizers["generator"] is not shared.optimizers["critic"]


def test_schedules_step_with_each_batch():
    step = game(schedule=partial(StepLR, step_size=2, gamma=0.5), optim=partial(SGD, lr=1.0))
    for _ in range(4):
        step(batch())
    assert [o.param_groups[0]["lr"] for o in step.optimizers.values()] == [0.25, 0.25]


def test_schedule_of_the_generator_waits_for_its_first_move():
    step = game(schedule=partial(StepLR, step_size=1, gamma=0.5), optim=partial(SGD, lr=1.0), critic_steps=3)
    rates = []
    for _ in range(4):
        step(batch())
        rates.append([o.param_groups[0]["lr"] for o in step.optimizers.values()])
    assert rates == [[1.0, 0.5], [1.0, 0.25], [0.5, 0.125], [0.25, 0.0625]]


# State


MAKE = {
    "plain": lambda: game(critic_steps=2),
    "penalty": lambda: game(loss=Wasserstein(), penalty=GradientPenalty(), critic_steps=3),
    "clip": lambda: game(loss=Wasserstein(), clip=0.05, optim=partial(RMSprop, lr=0.01)),
    "schedule": lambda: game(schedule=partial(StepLR, step_size=3, gamma=0.5)),
    "dcgan": lambda: adversary(DCGAN((1, 8, 8), 3, 4)),
}


@pytest.mark.parametrize("kind", MAKE)
def test_continues_bit_for_bit(kind):
    x = batch(64) if kind != "dcgan" else torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def run(step, start, steps):
        return [dict(logs) for _, logs in fit(step, x, steps=steps, batch_size=16, seed=5, start=start)]

    with scoped_seed(0):
        whole, half = MAKE[kind](), MAKE[kind]()
    with scoped_seed(1):
        other = MAKE[kind]()
    half.load_state_dict(copy.deepcopy(whole.state_dict()))
    logs = run(whole, 0, 11)
    run(half, 0, 7)
    state = copy.deepcopy(half.state_dict())
    run(half, 7, 9)  # what happens to the first does not reach the state that was taken
    other.load_state_dict(state)
    rest = run(other, 7, 11)
    assert rest == logs[7:]
    assert same(whole.state_dict()["weights"], other.state_dict()["weights"])


def test_state_of_other_networks_is_refused():
    with pytest.raises(KeyError, match=r"missing .*critic"):
        game().load_state_dict(adversary(GAN((2,), 3, (4,))).state_dict())


def test_evaluate_changes_nothing():
    model = DCGAN((1, 28, 28), 3, 4)
    step = adversary(model)
    x = torch.rand(6, 1, 28, 28)
    step(x)
    model.critic.layers[-1].eval()
    before = copy.deepcopy(step.state_dict())
    modes = [part.training for part in model.modules()]
    grads = [p.grad.clone() for p in model.parameters()]
    first = step.evaluate(x)
    assert step.evaluate(x) == first
    assert first.keys() == {"critic_loss", "generator_loss"}
    assert not any(value.requires_grad for value in first.values())
    after = step.state_dict()
    assert same(before["weights"], after["weights"])
    assert after["steps"] == [1, 1, 0]
    for name, optimizer in before["optimizers"].items():
        for index, slots in optimizer["state"].items():
            assert same(slots, after["optimizers"][name]["state"][index])
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads, strict=True))


def test_evaluate_is_the_loss_of_networks_in_evaluation_mode():
    generator = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    critic = nn.Sequential(nn.Linear(2, 1), nn.Dropout(0.5))
    step = AdversarialGame(generator, critic, prior)
    x = batch()
    logs = step.evaluate(x)
    with scoped_seed(EVALUATION), torch.no_grad():
        real, fake = critic[0](x), critic[0](generator[0](prior(16)))
    assert torch.allclose(logs["critic_loss"], NonSaturating().critic(real, fake))
    assert torch.allclose(logs["generator_loss"], NonSaturating().generator(fake, None))


# Learning


@pytest.mark.parametrize(
    "options",
    [
        {"optim": partial(Adam, lr=0.02, betas=(0.5, 0.9))},
        {"loss": Wasserstein(), "clip": 0.1, "optim": partial(RMSprop, lr=0.01), "critic_steps": 2},
        {"loss": Wasserstein(), "penalty": GradientPenalty(1.0), "optim": partial(Adam, lr=0.02, betas=(0.0, 0.9))},
    ],
    ids=["non-saturating", "clipped", "penalised"],
)
def test_generator_finds_the_data(options):
    generator, critic = players()
    step = AdversarialGame(generator, critic, prior, **options)
    x = 0.3 * torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)) + torch.tensor([2.0, -1.0])
    means = []
    for _t, _logs in fit(step, x, steps=500, batch_size=100):
        with torch.no_grad(), scoped_seed(0):
            means.append(generator(prior(200)).mean(0))
    # The players circle around the equilibrium: it is the average that is close.
    assert (means[0] - x.mean(0)).norm() > 1.5
    assert (torch.stack(means[-200:]).mean(0) - x.mean(0)).norm() < 0.4


# Schedules of turns, of the penalty and of noise


def test_bursts_are_the_schedule_of_wgan():
    often = wgan_critic_schedule(critic_steps=5, burst=100, first=25, every=500)
    assert [often(moves) for moves in (0, 24, 25, 499, 500, 501, 1000)] == [100, 100, 5, 5, 100, 5, 100]


def test_turns_by_a_schedule():
    step = game(critic_steps=lambda moves: 3 if moves < 2 else 1)
    moved = []
    for t in range(10):
        before = weights_of(step, "generator")
        step(batch(seed=t))
        moved.append(not same(before, weights_of(step, "generator")))
    assert [t for t, m in enumerate(moved, 1) if m] == [3, 6, 7, 8, 9, 10]


def test_easing_multiplies_the_penalty():
    step = game(
        penalty=lambda critic, real, fake: critic(real).square().mean(),
        penalty_schedule=lambda t: (1.0, 0.25)[t],
        optim=partial(SGD, lr=0.0),
    )
    first, second = (step(batch())["penalty"] for _ in range(2))
    assert first > 0
    assert second == 0.25 * first


def test_instance_noise_reaches_all_that_the_critic_sees():
    seen = []

    class Watched(nn.Linear):
        def forward(self, x):
            seen.append(x.detach())
            return super().forward(x)

    generator = nn.Linear(3, 2)
    nn.init.zeros_(generator.weight)
    still = partial(SGD, lr=0.0)
    step = AdversarialGame(generator, Watched(2, 1), prior, optim=still, noise=lambda t: 3.0 * (t == 0))
    x = torch.zeros(20_000, 2)
    step(x)
    assert len(seen) == 3  # data, samples, samples again
    assert all(s.std(0).mean().item() == pytest.approx(3, rel=0.02) for s in seen)
    assert not torch.equal(seen[0], seen[1])
    seen.clear()
    step(x)
    assert all(s.std(0).max() < 1e-6 for s in seen)
    step.evaluate(x)
    assert all(s.std(0).max() < 1e-6 for s in seen)


@pytest.mark.parametrize("critic_steps", [0, -1])
def test_impossible_numbers_of_critic_steps_are_refused(critic_steps):
    with pytest.raises(ConfigError, match="critic_steps"):
        game(critic_steps=critic_steps)


def test_negative_clip_is_refused():
    with pytest.raises(ConfigError, match="clip"):
        game(clip=-1.0)
