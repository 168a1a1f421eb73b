"""The update as a part of the compiled step is that of the optimiser, and is left to it where there is no rule."""

from functools import partial

import pyro
import pyro.optim
import pytest
import torch
from hosts import interpret
from pyro.infer import Trace_ELBO
from pyro.optim.clipped_adam import ClippedAdam
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import ExponentialLR, OneCycleLR

import pyrogen
from pyrogen.errors import Diverged
from pyrogen.steps import SVI, AdversarialGame, GradientStep

OPTIMIZERS = {
    "Adam": partial(Adam, lr=0.01),
    "Adam, weight decay": partial(Adam, lr=0.01, betas=(0.5, 0.9), weight_decay=0.1),
    "AdamW": partial(AdamW, lr=0.01, weight_decay=0.5),
    "SGD": partial(SGD, lr=0.001),
    "SGD, Nesterov": partial(SGD, lr=0.001, momentum=0.9, nesterov=True, weight_decay=0.1),
    "SGD, dampening": partial(SGD, lr=0.001, momentum=0.5, dampening=0.2),
    "RMSprop": partial(RMSprop, lr=0.01, weight_decay=0.1),
    "ClippedAdam": partial(ClippedAdam, lr=0.01, lrd=0.97, clip_norm=0.05, weight_decay=0.1),
    "pyro.optim.ClippedAdam": pyro.optim.ClippedAdam({"lr": 0.01, "lrd": 0.99}),
}
EAGER = {
    "Adagrad": partial(Adagrad, lr=0.01),
    "AMSGrad": partial(Adam, lr=0.01, amsgrad=True),
    "maximize": partial(SGD, lr=0.01, maximize=True),
    "momentum": partial(RMSprop, lr=0.01, momentum=0.9),
    "rate as a tensor": partial(Adam, lr=torch.tensor(0.01), capturable=False, foreach=False),
}
X = torch.linspace(-2, 2, 24).reshape(8, 3)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Run traced graphs without generating code; the last tests of ``test_compiled`` use the real compiler."""
    monkeypatch.setattr("torch._inductor.compile", interpret)


class Regression(nn.Module):
    """A linear regression whose weights are latent, with a scalar parameter."""

    def __init__(self):
        super().__init__()
        self.loc, self.log_scale = nn.Linear(3, 4), nn.Parameter(torch.tensor(-1.0))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", pyro.distributions.Normal(x.new_zeros(len(x), 4), 1.0).to_event(1))
            pyro.sample("x", pyro.distributions.Normal(z.sum(1), 0.5), obs=x[:, 0])

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", pyro.distributions.Normal(self.loc(x), self.log_scale.exp()).to_event(1))


def svi(optim, compile, **options):
    torch.manual_seed(0)
    pair = Regression()
    return SVI(pair.model, pair.guide, optim, Trace_ELBO(), compile=compile, **options)


def run(step, steps=12, start=0, x=X):
    losses = [float(logs["loss"]) for _, logs in pyrogen.fit(step, x, steps=steps, start=start, batch_size=4)]
    return losses, {name: t.detach().clone() for name, t in step.weights().items()}


def in_graph(step):
    """How many graphs of the loss hold an update, and how many do not."""
    graphs = [graph for verified in step._compiled._verified.values() for graph in verified.graphs.values()]
    return sum(graph.updates for graph in graphs), sum(not graph.updates for graph in graphs)


def assert_same(step, other, **options):
    (losses, weights), (expected, expected_weights) = run(step, **options), run(other, **options)
    assert losses == pytest.approx(expected, rel=1e-3, abs=1e-4)
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected_weights[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_in_the_graph_is_that_of_the_optimiser(name):
    step = svi(OPTIMIZERS[name], True)
    assert_same(step, svi(OPTIMIZERS[name], False))
    assert in_graph(step) == (1, 0)
    state = [own.get("step") for own in step.optimizer.state.values()]
    assert all(t is None or int(t) == 12 for t in state)


@pytest.mark.parametrize("options", [{"clip_norm": 0.01}, {"schedule": partial(ExponentialLR, gamma=0.8)}], ids=str)
def test_clipping_and_schedules(options):
    step = svi(OPTIMIZERS["Adam"], True, **options)
    assert_same(step, svi(OPTIMIZERS["Adam"], False, **options))
    assert in_graph(step) == (1, 0)


@pytest.mark.parametrize("name", EAGER)
def test_an_update_without_a_rule_is_made_by_the_optimiser(name):
    step = svi(EAGER[name], True)
    assert_same(step, svi(EAGER[name], False))
    assert in_graph(step) == (0, 1)


def test_settings_that_change_in_every_step_cost_no_graph_each():
    def cycle(optimizer):
        return OneCycleLR(optimizer, max_lr=0.02, total_steps=40)  # which moves the betas, too

    step = svi(OPTIMIZERS["Adam"], True, schedule=cycle)
    assert_same(step, svi(OPTIMIZERS["Adam"], False, schedule=cycle))
    assert step.refused is None
    assert sum(in_graph(step)) <= 2


def test_hooks_of_an_optimiser_are_called():
    step, seen = svi(OPTIMIZERS["Adam"], True), []
    run(step, steps=3)
    step.optimizer.register_step_post_hook(lambda *_: seen.append(1))
    run(step, steps=6, start=3)
    assert len(seen) == 3


def test_weights_and_state_stay_as_they_were_where_the_loss_is_not_finite():
    step = svi(OPTIMIZERS["Adam"], True)
    before = run(step)[1]
    state = {k: v.clone() for own in step.optimizer.state.values() for k, v in own.items()}
    with pytest.raises(Diverged, match="step 13"):
        run(step, steps=13, start=12, x=torch.full_like(X, float("nan")))
    assert all(torch.equal(step.weights()[name], weight) for name, weight in before.items())
    assert all(torch.equal(v, state[k]) for own in list(step.optimizer.state.values())[-1:] for k, v in own.items())
    assert all(torch.isfinite(torch.tensor(run(step, steps=14, start=12)[0])))


def test_a_state_that_is_loaded_or_changed_between_two_calls_is_used():
    first, second = svi(OPTIMIZERS["Adam"], True), svi(OPTIMIZERS["Adam"], True)
    run(first, steps=5)
    run(second, steps=9)
    second.load_state_dict(first.state_dict())
    for a, b in zip(first.optimizer.state.values(), second.optimizer.state.values(), strict=True):
        a["exp_avg"], b["exp_avg"] = torch.ones_like(a["exp_avg"]), torch.ones_like(a["exp_avg"])
    assert_same(first, second, steps=8, start=5)


def test_gradients_are_those_of_the_step():
    step, other = svi(OPTIMIZERS["SGD"], True), svi(OPTIMIZERS["SGD"], False)
    run(step, steps=5)
    run(other, steps=5)
    pairs = zip(step.weights().values(), other.weights().values(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, rtol=1e-4) for a, b in pairs)


def test_a_loss_of_a_network():
    def gradient(compile):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 1))

        def losses(x):
            return {"loss": net(x).square().mean()}

        return GradientStep(losses, OPTIMIZERS["AdamW"], compile=compile)

    assert_same(gradient(True), gradient(False))


def game(compile, optim=OPTIMIZERS["RMSprop"]):
    torch.manual_seed(0)
    generator, critic = nn.Linear(2, 3), nn.Linear(3, 1)
    return AdversarialGame(generator, critic, lambda n: torch.randn(n, 2), optim=optim, clip=0.05, compile=compile)


def test_both_players_of_a_game():
    steps = game(True), game(False)
    for step in steps:
        list(pyrogen.fit(step, X, steps=12, batch_size=4))
    for (name, one), two in zip(steps[0].weights().items(), steps[1].weights().values(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6, msg=name)
    assert all(graph.updates for verified in steps[0]._verified.values() for graph in verified.graphs.values())


@pytest.mark.parametrize("compile", [True, False])
def test_two_steps_do_not_share_the_state_of_their_optimisers(compile):
    one, two, alone = (svi(OPTIMIZERS["Adam"], compile) for _ in range(3))
    run(one, steps=5)
    state = one.state_dict()
    two.load_state_dict(state)
    alone.load_state_dict(state)
    run(one, steps=9, start=5)
    assert_same(two, alone, steps=9, start=5)
    a, b = game(compile, OPTIMIZERS["Adam"]), game(compile, OPTIMIZERS["Adam"])
    list(pyrogen.fit(a, X, steps=3, batch_size=4))
    b.load_state_dict(a.state_dict())
    for x, y in zip(a.optimizers["critic"].state.values(), b.optimizers["critic"].state.values(), strict=True):
        assert x["exp_avg"].data_ptr() != y["exp_avg"].data_ptr()


@pytest.mark.parametrize("compile", [True, False])
def test_a_frozen_weight_of_a_player_does_not_move(compile):
    step = game(compile, OPTIMIZERS["Adam"])
    list(pyrogen.fit(step, X, steps=3, batch_size=4))
    frozen = next(step._networks["critic"].parameters()).requires_grad_(False)
    before = frozen.detach().clone()
    list(pyrogen.fit(step, X, steps=6, start=3, batch_size=4))
    assert torch.equal(frozen, before)


@pytest.mark.parametrize(
    "data", [(torch.arange(24.0) / 24).reshape(4, 6)[:, ::2], (torch.arange(12.0) / 12).reshape(3, 4).t()]
)
def test_a_weight_with_another_memory_layout_is_updated_by_its_own_gradient(data):
    steps = [svi(optim, False) for optim in (OPTIMIZERS["Adam"], partial(Adam, lr=0.01, fused=False))]
    for step in steps:
        run(step, steps=2)
    for step, values in zip(steps, (data, data.contiguous()), strict=True):
        step._model.__self__.loc.weight.data = values
    assert_same(*steps, steps=5, start=2)
