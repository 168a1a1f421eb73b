"""Fits in closed form, gradient steps, steps in order, and what a game reports."""

from functools import partial

import pytest
import torch
from games import batch, game, players, prior
from torch import nn
from torch.optim import SGD, Adam

from pyrogen import SVI, AdversarialGame
from pyrogen.errors import ConfigError
from pyrogen.random import scoped_seed
from pyrogen.steps import ClosedForm, GradientStep, Pretraining, SequentialSteps, diagnose


class Mean(nn.Module):
    """A density whose dropout must be off when it is evaluated."""

    def __init__(self, value=0.0):
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(value))
        self.drop = nn.Dropout(0.9)

    def log_prob(self, x):
        return self.drop(-(x - self.loc).abs())


def test_a_fit_in_closed_form_happens_once():
    fits = []
    model = Mean().train()
    step = ClosedForm(model, lambda: fits.append(1) or Mean(2.0))
    x = torch.tensor([1.0, 4.0])
    assert step.evaluate(x) == {"loss": 2.5}
    assert not step.fitted
    assert step(x) == step(x) == step.evaluate(x) == {"loss": 1.5}
    assert fits == [1]
    assert model.training
    assert not step(x)["loss"].requires_grad
    other = ClosedForm(Mean(), lambda: fits.append(2))
    other.load_state_dict(step.state_dict())
    assert other(x, torch.zeros(2)) == {"loss": 1.5}
    assert fits == [1]
    assert ClosedForm(model, Mean, loss=lambda x: x.sum()).evaluate(x) == {"loss": 5.0}


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.0))
        self.drop = nn.Dropout(0.5)

    def losses(self, x, y):
        error = self.drop(y - self.slope * x)
        return {"largest": error.abs().max(), "loss": error.square().mean()}


def test_a_gradient_step_in_closed_form():
    line = Line().eval()
    step = GradientStep(
        line.losses, partial(SGD, lr=0.1), schedule=partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    )
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])
    slope = 1.0
    for t in range(3):
        error = y - slope * x
        logs = step(x, y)
        assert list(logs) == ["loss", "largest"]
        assert logs["loss"].item() == pytest.approx(float(error.square().mean()), rel=1e-5)
        assert logs["largest"].item() == pytest.approx(float(error.abs().max()), rel=1e-5)
        assert not logs["loss"].requires_grad
        slope += 0.1 * 0.5**t * float((2 * error * x).mean())
        assert line.slope.item() == pytest.approx(slope, rel=1e-5)
        assert step.t == t + 1
    line.train()
    before = line.slope.item()
    found = step.evaluate(x, y)
    assert found["loss"].item() == pytest.approx(float((y - before * x).square().mean()), rel=1e-5)
    assert line.training
    assert line.drop in list(step.modules())
    other = Line()
    copy = GradientStep(
        other.losses, partial(SGD, lr=0.1), schedule=partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    )
    copy.load_state_dict(step.state_dict())
    line.eval(), other.eval()
    assert copy.t == 3
    assert copy(x, y) == step(x, y)
    assert torch.equal(other.slope, line.slope)


class Logs:
    """A step that notes what it is given."""

    def __init__(self, takes=None, **logs):
        self.logs, self.seen, self.state = logs, [], {"a": 1}
        if takes is not None:
            self.takes = {"model": takes}

    def __call__(self, *batch):
        self.seen.append(batch)
        return self.logs

    def evaluate(self, *batch):
        self.seen.append(("evaluated", *batch))
        return self.logs

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def test_steps_in_order():
    first, second = Logs(takes=1, loss=1, x=2), Logs(x=3)
    both = SequentialSteps(a=first, b=second)
    assert both(7, 8) == both.evaluate(7, 8) == {"loss": 1, "x": 3}
    assert first.seen == [(7,), ("evaluated", 7)]
    assert second.seen == [(7, 8), ("evaluated", 7, 8)]
    assert both.compile is None
    second.compile = None
    both.compile = True
    assert second.compile is both.compile is True
    assert not hasattr(first, "compile")
    second.state = {"b": 2}
    assert both.state_dict() == {"a": {"a": 1}, "b": {"b": 2}}
    both.load_state_dict({"a": 3, "b": 4})
    assert (first.state, second.state) == (3, 4)
    assert both.diagnose({"std_ratio": 0.01}) == diagnose({"std_ratio": 0.01})


def test_two_phases():
    begun = []

    def make():
        steps = Logs(takes=1, loss=1), Logs(loss=2)
        return Pretraining(*steps, until=2, begin=lambda: begun.append(len(steps[0].seen))), *steps

    phases, first, second = make()
    assert [phases(7, 8)["loss"] for _ in range(2)] == [1, 1]
    assert first.seen == [(7,), (7,)]
    assert phases.evaluate(7, 8) == {"loss": 2}
    assert phases.state_dict() == {"t": 2, "begun": False, "step": {"a": 1}}
    assert begun == []
    assert [phases(7, 8)["loss"] for _ in range(2)] == [2, 2]
    assert begun == [2]
    assert second.seen == [("evaluated", 7, 8), (7, 8), (7, 8)]
    second.state = {"b": 2}
    state = phases.state_dict()
    assert state == {"t": 4, "begun": True, "step": {"b": 2}}
    again, untouched, joint = make()
    again.until = 9  # of a run of more steps
    again.load_state_dict(state)
    assert (untouched.state, joint.state) == ({"a": 1}, {"b": 2})
    assert again(7, 8) == {"loss": 2}
    assert begun == [2]


def test_limits_of_the_diagnosis():
    well = {"std_ratio": 0.05, "critic_loss": -1e4, "critic_accuracy": 0.999, "gradient": 1e-5}
    assert diagnose(well) is None
    assert diagnose({"std_ratio": 0.049}).startswith("the samples have collapsed")
    assert diagnose({"critic_loss": 10_001.0}).startswith("the critic's loss diverges (1e+04)")
    assert diagnose({"critic_loss": -10_001.0}).startswith("the critic's loss diverges")
    assert diagnose({"critic_accuracy": 0.9995, "gradient": 1e-4}) is None
    assert diagnose({"critic_accuracy": 0.9995}) is None
    assert diagnose({"gradient": 0.0}) is None
    assert diagnose({"critic_accuracy": 0.9995, "gradient": 9e-5}).startswith("the critic separates")


def test_numbers_of_a_game_at_their_limits():
    generator, critic = players()
    assert AdversarialGame(generator, critic, prior, critic_steps=1, clip=1e-9).critic_steps == 1
    for wrong in ({"critic_steps": 0}, {"clip": 0.0}, {"clip": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            AdversarialGame(generator, critic, prior, **wrong)
    defaults = AdversarialGame(generator, critic, prior)
    for optimizer in defaults.optimizers.values():
        (group,) = optimizer.param_groups
        assert (type(optimizer), group["lr"], group["betas"]) == (Adam, 2e-4, (0.5, 0.999))
    assert (defaults.t, defaults.generator_steps, defaults.compile, defaults.schedules) == (0, 0, None, {})


def test_a_game_of_given_gradients_logs_losses_before_the_update():
    step = game(optim=partial(SGD, lr=0.05), critic_steps=2)
    x = batch()
    with scoped_seed(3):
        first = step(x)
    assert set(first) == {"critic_loss", "critic_accuracy", "std_ratio"}
    with scoped_seed(3):
        second = step(x)
    assert second["critic_loss"] < first["critic_loss"]
    assert {"generator_loss", "gradient"} <= set(second)
    assert (step.t, step.generator_steps, step.critic_steps_taken) == (2, 1, 0)
    third = step(x)
    assert third["generator_loss"] == second["generator_loss"]
    assert (step.t, step.generator_steps, step.critic_steps_taken) == (3, 1, 1)


def test_a_gradient_step_may_be_compiled(monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", lambda traced, *_, **__: traced)  # no code is generated
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])
    slopes = []
    for compile in (False, True):
        line = Line().eval()
        step = GradientStep(line.losses, partial(SGD, lr=0.1), compile=compile)
        for _ in range(4):
            logs = step(x, y)
            assert list(logs) == ["loss", "largest"]
        slopes.append(line.slope.item())
        assert len(step._verified.graphs) == compile
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-6)
    state = step.state_dict()
    del state["names"]
    step.load_state_dict(state)  # of version 0.1
    assert list(step(x, y)) == ["loss", "largest"]


def test_names_of_constants_reach_every_compiled_function():
    names = ("seen",)
    functions = list(AdversarialGame(*players(), prior, constant=names)._verified.values())
    functions += [GradientStep(Line().losses, constant=names)._verified]
    assert len(functions) == 3
    assert all(function._constant == names for function in functions)
    assert SVI(lambda x: None, constant=names)._compiled.constant == names


def test_weights_that_a_score_does_not_depend_on_stay():
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.unused = nn.Linear(2, 1), nn.Linear(2, 1)

        def forward(self, x):
            return self.net(x)

    critic = Critic()
    before = critic.unused.weight.clone()
    logs = AdversarialGame(players()[0], critic, prior, optim=partial(SGD, lr=0.1))(batch())
    assert logs["critic_loss"].isfinite()
    assert torch.equal(critic.unused.weight, before)
