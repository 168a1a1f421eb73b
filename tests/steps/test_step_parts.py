"""The parts that steps are made of: optimisers, fits in closed form, steps in order, and what a game reports."""

import logging
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from games import batch, game, players, prior
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, config_enumerate
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop

from pyrogen import SVI, AdversarialGame
from pyrogen.errors import ConfigError
from pyrogen.random import scoped_seed
from pyrogen.steps import ClosedForm, GradientStep, SequentialSteps, diagnose
from pyrogen.steps.optimizers import NamedOptimizer, follow, make_optimizer


def parameter(value=0.0, dtype=torch.float32):
    return nn.Parameter(torch.tensor([value], dtype=dtype))


@pytest.mark.parametrize("make", [SGD, Adam, AdamW])
def test_updates_are_fused_where_nothing_else_was_chosen(make):
    (group,) = make_optimizer(partial(make, lr=0.1), [parameter()]).param_groups
    assert group["fused"] is True
    for ways in ({"foreach": True}, {"differentiable": True}, {"fused": False}):
        (group,) = make_optimizer(partial(make, lr=0.1, **ways), [parameter()]).param_groups
        assert not group["fused"]
    (group,) = make_optimizer(partial(make, lr=0.1), [parameter(dtype=torch.complex64)]).param_groups
    assert not group["fused"]


def test_capturable_and_other_optimisers_are_not_fused():
    (group,) = make_optimizer(partial(Adam, lr=0.1, capturable=True), [parameter()]).param_groups
    assert not group["fused"]
    assert "fused" not in make_optimizer(partial(RMSprop, lr=0.1), [parameter()]).param_groups[0]


def test_an_optimiser_follows_its_networks():
    a, b, c = parameter(1.0), parameter(2.0), parameter(3.0)
    frozen = parameter(4.0).requires_grad_(False)
    optimizer = SGD([a, b], lr=1.0)
    follow(optimizer, [a, b, frozen])
    assert len(optimizer.param_groups) == 1
    follow(optimizer, [a, c, frozen])
    assert [[id(p) for p in group["params"]] for group in optimizer.param_groups] == [[id(a)], [id(c)]]
    assert optimizer.param_groups[1]["lr"] == 1.0


def test_gradients_are_clipped_together_and_the_schedule_steps():
    a, b = parameter(), parameter()
    made = NamedOptimizer(
        partial(SGD, lr=1.0), partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5), clip_norm=1.0
    )
    made.begin({"a": a, "b": b}, {})
    for t in range(2):
        a.grad, b.grad = torch.tensor([3.0]), torch.tensor([4.0])
        made.step()
        assert made.schedule.last_epoch == t + 1
    assert a.item() == pytest.approx(-0.6 * 1.5, rel=1e-4)
    assert b.item() == pytest.approx(-0.8 * 1.5, rel=1e-4)
    assert made.trains(a)
    assert not made.trains(parameter())
    assert made.groups == [["a", "b"]]
    new = parameter(5.0)
    made.add({"a": new}, {})
    assert made.trains(new)
    assert not made.trains(a)
    assert [id(p) for p in made.optimizer.param_groups[0]["params"]] == [id(new), id(b)]
    made.add({"c": parameter()}, {})
    assert made.groups == [["a", "b"], ["c"]]


def test_optimisers_of_pyro_may_clip_and_depend_on_names():
    a, b = parameter(), parameter()
    rates = {"a": {"lr": 1.0}, "b": {"lr": 0.5}}
    made = NamedOptimizer(pyro.optim.SGD(lambda name: rates[name], clip_args={"clip_value": 0.1}))
    made.begin({"param.a": a, "param.b": b}, {"a": a, "b": b})
    a.grad, b.grad = torch.tensor([3.0]), torch.tensor([-4.0])
    made.step()
    assert (a.item(), b.item()) == (pytest.approx(-0.1), pytest.approx(0.05))
    clipped = NamedOptimizer(pyro.optim.SGD({"lr": 1.0}, clip_args={"clip_norm": 1.0}))
    c = parameter()
    clipped.begin({"param.c": c}, {"c": c})
    c.grad = torch.tensor([9.0])
    clipped.step()
    assert c.item() == pytest.approx(-1.0, rel=1e-4)
    with pytest.raises(ConfigError, match="'a' must be a dict; got int"):
        NamedOptimizer(pyro.optim.SGD(lambda name: 3)).begin({"param.a": a}, {"a": a})
    with pytest.raises(ConfigError, match=r"optim must make a torch optimiser.*got torch\.optim\.sgd\.SGD"):
        NamedOptimizer(SGD([a], lr=1.0))


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


def scaled(x, shift=0.0):
    loc = pyro.param("loc", torch.tensor(1.0))
    scale = pyro.param("scale", torch.tensor(2.0), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc + shift, scale), obs=x)
    return loc + shift


def test_the_programs_of_a_step_see_its_parameters():
    pyro.clear_param_store()
    seen = []

    def guide(x, shift=0.0):
        seen.append(shift)
        return pyro.param("loc", torch.tensor(1.0))

    step = SVI(scaled, guide, partial(SGD, lr=0.5))
    x = torch.tensor([0.0, 3.0])
    logs = step(x, shift=1.0)
    expected = -dist.Normal(2.0, 2.0).log_prob(x).mean()
    assert logs["loss"].item() == pytest.approx(float(expected))
    assert step.evaluate_loss(x, shift=0.5) == pytest.approx(
        -dist.Normal(step.param("loc") + 0.5, step.param("scale")).log_prob(x).sum().item()
    )
    assert step.model(x, shift=3.0).item() == pytest.approx(step.param("loc").item() + 3)
    assert step.guide(x, shift=4.0) is not None
    assert seen[-1] == 4.0
    assert step.guide(x).item() == step.param("loc").item()
    assert list(pyro.get_param_store().keys()) == []
    with pytest.raises(ConfigError, match=r"no parameter site 'nope' \(known: loc, scale\)"):
        step.param("nope")
    with pytest.raises(ConfigError, match="known: none yet"):
        SVI(scaled).param("loc")
    assert step.t == 1
    assert step.refused is None
    assert step.schedule is None


def test_the_global_store_holds_the_sites_if_asked():
    pyro.clear_param_store()
    step = SVI(scaled, optim=partial(SGD, lr=0.5), store="global")
    step(torch.zeros(2))
    assert set(pyro.get_param_store().keys()) == {"loc", "scale"}
    assert pyro.param("loc").item() == step.param("loc").item() != 1.0
    pyro.clear_param_store()
    for wrong in ("mine", "GLOBAL", "OWN"):
        with pytest.raises(ConfigError, match=f"'own' or 'global'; got {wrong!r}"):
            SVI(scaled, store=wrong)


def test_a_model_with_a_sample_of_its_own_is_drawn_by_it():
    class Sampler(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = nn.Parameter(torch.tensor(0.0))

        def model(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(self.loc, 1.0), obs=x)

        def sample(self, n, y=None):
            return torch.full((n,), 7.0)

    model = Sampler()
    step = SVI(model.model)
    step(torch.zeros(3))
    assert step.sample(4).tolist() == [7.0] * 4
    bare = SVI(scaled)
    with pytest.raises(ConfigError, match="shape of the data"):
        bare.sample(2)
    bare(torch.zeros(3))
    with scoped_seed(0):
        assert bare.sample(5).shape == (5,)


def test_steps_as_pyro_counts_them():
    step = SVI(scaled, optim=partial(SGD, lr=0.0))
    x = torch.tensor([0.0, 3.0])
    value = step.step(x)
    assert isinstance(value, float)
    assert value == pytest.approx(2 * step.evaluate(x)["loss"].item(), rel=1e-6)
    assert step.run(x, num_steps=3) is step
    assert step.t == 4
    step.run(x)
    assert step.t == 5


def test_a_parameter_made_anew_in_each_step_is_named_once(caplog):
    weight = nn.Parameter(torch.tensor(1.0))

    def model(x):
        passing = nn.Parameter(torch.ones(3, 2))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(weight + passing.sum(), 1.0), obs=x)

    step = SVI(model, optim=partial(SGD, lr=0.1))
    with caplog.at_level(logging.WARNING, "pyrogen"):
        for _ in range(4):
            step(torch.zeros(2))
    messages = [r.getMessage() for r in caplog.records]
    assert len(messages) == 1
    assert "a parameter of shape (3, 2) in every step" in messages[0]
    assert weight.item() != 1.0


def test_a_loss_that_depends_on_no_parameter_is_still_a_loss():
    @config_enumerate
    def model(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(torch.tensor([0.3, 0.7])))
            pyro.sample("x", dist.Normal(torch.tensor([-1.0, 1.0])[k], 1.0), obs=x)

    x = torch.zeros(4)
    expected = -dist.Normal(1.0, 1.0).log_prob(torch.tensor(0.0))
    step = SVI(model, loss=TraceEnum_ELBO(max_plate_nesting=1))
    assert step.evaluate(x)["loss"].item() == pytest.approx(float(expected), rel=1e-5)
    assert step.step(x) == pytest.approx(4 * float(expected), rel=1e-5)
    with pytest.raises(ConfigError, match="no trainable parameters"):
        SVI(model, loss=TraceEnum_ELBO(max_plate_nesting=1))(x)
    with pytest.raises(ConfigError, match="no trainable parameters"):
        SVI(lambda x: None, loss=Trace_ELBO())(x)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.unused = nn.Linear(1, 2), nn.Linear(2, 2)

    def forward(self, x):
        loc, log_scale = self.net(x[:, None]).chunk(2, 1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc[:, 0], log_scale[:, 0].exp()))


def test_networks_of_model_and_guide_are_known_by_name():
    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(1, 1)

        def forward(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
                pyro.sample("x", dist.Normal(self.net(z[:, None])[:, 0], 1.0), obs=x)

    decoder, encoder = Decoder(), Encoder()
    step = SVI(decoder, encoder, partial(SGD, lr=0.1))
    step(torch.arange(3.0))
    names = {"net.weight", "net.bias"}
    unused = {"guide.unused.weight", "guide.unused.bias"}
    assert set(step.weights()) == {f"model.{n}" for n in names} | {f"guide.{n}" for n in names} | unused
    assert {decoder.net, encoder.net, encoder.unused} <= set(step.modules())


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
