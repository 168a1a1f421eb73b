"""An ``SVI`` step and its programs: parameters, stores, states that wait for data, and what is logged."""

import logging
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import ReweightedWakeSleep, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, config_enumerate
from pyro.infer.autoguide import AutoNormal
from torch import nn
from torch.optim import SGD, Adam

from pyrogen import SVI
from pyrogen.errors import ConfigError
from pyrogen.random import scoped_seed


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


def test_errors_about_types_name_both_and_conditions_are_those_of_the_owner():
    class Owner(nn.Module):
        condition = "a label"

        def __init__(self):
            super().__init__()
            self.net = nn.Linear(1, 1)

        def model(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(self.net(x), 1.0).to_event(1), obs=x)

    step = SVI(Owner().model, optim=partial(SGD, lr=0.1))
    step(torch.zeros(3, 1))
    assert step.condition == "a label"
    assert SVI(scaled).condition is None
    for call in (step, step.evaluate):
        with pytest.raises(ConfigError, match=r"torch\.float64.*torch\.float32"):
            call(torch.zeros(3, 1, dtype=torch.float64))


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


class Thing:
    """An argument that a checkpoint cannot hold."""


def picky(x, thing=None):
    """A program that raises on the zeros of a template."""
    if not x.any():
        raise ValueError("no data")
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.mark.parametrize("loss", [Trace_ELBO, TraceGraph_ELBO])
def test_a_state_that_needs_data_waits_for_the_first_batch(loss):
    def begun():
        return SVI(picky, AutoNormal(picky), partial(Adam, lr=0.1), loss())

    x = torch.arange(1.0, 4.0)
    step = begun()
    with scoped_seed(0):
        for _ in range(2):
            step(x, Thing())
    state = step.state_dict()
    for first in ("setup", "evaluate", "model", "step"):
        other = begun()
        other.load_state_dict(state)
        with pytest.raises(ConfigError, match=r"needs one batch.*could not be described"):
            other.sample(2)
        with pytest.raises(ValueError, match="no data"):
            other.setup(torch.zeros(3), Thing())
        getattr(other, first)(x, Thing())
        assert other.t == 2 + (first == "step")
        assert other.weights().keys() == step.weights().keys()
        if first != "step":
            assert all(torch.equal(t, step.weights()[name]) for name, t in other.weights().items())
            with scoped_seed(1):
                moved = other(x, Thing())
            fresh = begun()
            fresh.load_state_dict(state)
            fresh.setup(x, Thing())
            with scoped_seed(1):
                assert fresh(x, Thing()) == moved


@pytest.mark.parametrize("loss", [Trace_ELBO, TraceGraph_ELBO])
def test_a_state_whose_parameters_a_template_makes_is_restored_at_once(loss):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def begun():
        return SVI(model, AutoNormal(model), partial(Adam, lr=0.1), loss())

    x = torch.arange(1.0, 4.0)
    step, other = begun(), begun()
    step(x)
    random = torch.get_rng_state()
    other.load_state_dict(step.state_dict())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(t, other.weights()[name]) for name, t in step.weights().items())
    assert other.t == 1
    with scoped_seed(2):
        first = step(x)
    with scoped_seed(2):
        assert other(x) == first


def test_free_leaves_are_called_by_their_place():
    free = {"w": nn.Parameter(torch.ones(2))}
    more = [torch.zeros(()), nn.Parameter(torch.ones(()))]

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(free["w"] + more[1] + more[0], 1.0).to_event(1), obs=x)

    step = SVI(model, optim=partial(SGD, lr=0.1))
    step(torch.zeros(3, 2))
    assert set(step.weights()) == {"leaf.free['w']", "leaf.more[1]"}
    assert step.weights()["leaf.more[1]"] is more[1]
    state = dict(step.state_dict())
    kept = {name: t.detach().clone() for name, t in step.weights().items()}
    with torch.no_grad():
        free["w"].zero_(), more[1].zero_()
    state["weights"] = kept
    other = SVI(model, optim=partial(SGD, lr=0.1))
    other.load_state_dict(state)
    assert {name: t.tolist() for name, t in other.weights().items()} == {n: t.tolist() for n, t in kept.items()}
    assert free["w"].tolist() == kept["leaf.free['w']"].tolist()


def test_why_a_step_is_not_compiled_is_part_of_its_state():
    def model(x):
        loc = pyro.param("loc", torch.tensor(1.0))
        if x.sum() > 0:  # a graph cannot follow this
            loc = loc + 1
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    step = SVI(model, optim=partial(SGD, lr=0.1), compile=True)
    for _ in range(2):
        step(torch.ones(3))
    assert "value of a tensor" in step.refused
    other = SVI(model, optim=partial(SGD, lr=0.1), compile=True)
    other.load_state_dict(step.state_dict())
    assert other.refused == step.refused
    assert other(torch.ones(3)) == step(torch.ones(3))


def test_setup_creates_parameters_and_moves_nothing():
    def model(x):
        loc = pyro.param("loc", lambda: torch.randn(()))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    found = []
    for seed in (1, 2):
        step = SVI(model, optim=partial(SGD, lr=0.1))
        with scoped_seed(seed):
            before = torch.get_rng_state()
            step.setup(torch.zeros(3))
            assert torch.equal(torch.get_rng_state(), before)
        assert step.t == 0
        assert step.optimizer is not None
        assert all(p.grad is None or not p.grad.any() for p in step.weights().values())
        found.append(step.param("loc").item())
        step.setup(torch.ones(3))
        assert step.param("loc").item() == found[-1]
    with scoped_seed(0):
        assert found == [torch.randn(()).item()] * 2
    logs = step(torch.zeros(3))
    assert logs["loss"].item() == pytest.approx(-dist.Normal(found[1], 1.0).log_prob(torch.tensor(0.0)).item())


def test_a_loss_of_two_parts_logs_both():
    def model(x, observed=True):
        p = pyro.param("p", torch.tensor(0.3), constraint=dist.constraints.unit_interval)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(p))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x if observed else None)

    def guide(x, observed=True):
        q = pyro.param("q", torch.tensor(0.6), constraint=dist.constraints.unit_interval)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(q))

    step = SVI(model, guide, partial(SGD, lr=0.1), ReweightedWakeSleep(num_particles=2, model_has_params=True))
    x = torch.zeros(4)
    logs = step(x)
    assert list(logs) == ["loss", "guide_loss"]
    assert all(value.isfinite() and value.shape == () for value in logs.values())
    theta, phi = step.step(x)
    assert isinstance(theta, float)
    assert isinstance(phi, float)


def test_modules_are_those_of_both_programs_and_of_what_they_refer_to():
    beside = nn.Linear(1, 1)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(1, 1)

        def forward(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(self.net(x) + beside(x), 1.0).to_event(1), obs=x)

    model = Model()
    step = SVI(model, optim=partial(SGD, lr=0.1))
    step(torch.ones(2, 1))
    assert {model, model.net, beside} <= set(step.modules())
