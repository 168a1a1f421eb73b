"""What the game tells of itself, and what it advises where it goes wrong."""

from functools import partial

import pytest
import torch
from games import batch, game, same
from torch import nn
from torch.optim import SGD, Adam

from pyrogen import AdversarialGame
from pyrogen.objectives import Wasserstein
from pyrogen.steps import diagnose


def test_spread_and_right_side_in_closed_form():
    generator = nn.Linear(1, 1, bias=False)
    nn.init.constant_(generator.weight, 0.5)
    step = AdversarialGame(generator, nn.Identity(), torch.zeros, optim=lambda _: SGD([nn.Parameter(torch.zeros(()))]))
    step.terms.prior = lambda n: torch.linspace(-1, 1, n)[:, None]
    logs = step(torch.linspace(-1, 3, 4)[:, None])
    x, z = torch.linspace(-1, 3, 4), torch.linspace(-1, 1, 4)
    assert logs["std_ratio"].item() == pytest.approx(float(0.5 * z.std() / x.std()))
    assert logs["critic_accuracy"].item() == pytest.approx(0.5 * (3 / 4 + 2 / 4))
    step.terms.loss = Wasserstein()
    assert "critic_accuracy" not in step(torch.linspace(-1, 3, 4)[:, None])


def test_gradient_is_the_norm_of_the_generators():
    step = game(optim=partial(SGD, lr=0.0))
    logs = step(batch())
    grads = [p.grad for p in step._networks["generator"].parameters()]
    assert logs["gradient"].item() == pytest.approx(float(torch.cat([g.flatten() for g in grads]).norm()))


def test_generator_loss_is_not_reported_before_it_exists():
    assert "generator_loss" not in game(critic_steps=3)(batch())


def test_no_weight_is_ever_nan():
    step = game(optim=partial(Adam, lr=0.1), critic_steps=2)
    before = {name: t.clone() for name, t in step.weights().items()}
    for t in range(6):
        step(batch(seed=t) * (1e38 if t == 3 else 1.0))
    assert all(t.isfinite().all() for t in step.weights().values())
    assert not same(before, step.weights())


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ({"std_ratio": 0.01}, "collapsed"),
        ({"critic_loss": -1e6}, "Lipschitz"),
        ({"critic_accuracy": 1.0, "gradient": 1e-9}, "gradient has vanished"),
    ],
)
def test_advice_names_the_fault_and_a_remedy(row, word):
    well = {"std_ratio": 0.9, "critic_loss": 1.2, "critic_accuracy": 0.6, "gradient": 0.1, "generator_loss": 0.8}
    assert diagnose(well) is None
    assert diagnose({}) is None
    advice = AdversarialGame.diagnose(well | row)
    assert word in advice
    assert "; try" in advice or ": try" in advice
