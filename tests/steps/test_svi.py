"""SVI: what is trained, who owns it, and that it is Pyro's own arithmetic."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO, config_enumerate
from pyro.infer.autoguide import AutoDelta, AutoNormal
from pyro.nn import PyroModule, PyroSample
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import StepLR

from pyrogen import SVI, fit
from pyrogen.errors import ConfigError
from pyrogen.random import scoped_seed


@pytest.fixture
def x():
    return 2.0 + 0.5 * torch.randn(200, 2, generator=torch.Generator().manual_seed(1))


def by_param(x):
    loc = pyro.param("loc", torch.zeros(2))
    scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc, scale).to_event(1), obs=x)


class Bayes(PyroModule):
    def __init__(self):
        super().__init__()
        self.loc = PyroSample(dist.Normal(0.0, 10.0).expand([2]).to_event(1))

    def forward(self, x):
        loc = self.loc
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)


class Net(nn.Module):
    """A pair whose networks are never registered with pyro.module."""

    def __init__(self, seed=0):
        super().__init__()
        with scoped_seed(seed):
            self.encoder, self.decoder = nn.Linear(2, 2), nn.Linear(1, 2)

    def model(self, x, y=None):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 0.5).to_event(1), obs=x)

    def guide(self, x, y=None):
        loc, log_scale = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def losses(step, x, steps=150, seed=0):
    return [float(logs["loss"]) for _, logs in fit(step, x, steps=steps, batch_size=len(x), seed=seed)]


@pytest.mark.parametrize("loss", [Trace_ELBO(), RenyiELBO()])
def test_gradients_that_another_step_has_left_do_not_count(x, loss):
    clean, left = Net(), Net()
    for parameter in left.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    for net in (clean, left):
        losses(SVI(net.model, net.guide, partial(SGD, lr=0.01), loss), x, 2)
    for name, parameter in left.named_parameters():
        assert torch.equal(parameter, dict(clean.named_parameters())[name]), name


def test_maximum_likelihood_by_an_empty_guide(x):
    step = SVI(by_param, optim=partial(Adam, lr=0.05))
    losses(step, x, 400)
    assert torch.allclose(step.param("loc"), x.mean(0), atol=1e-3)
    assert torch.allclose(step.param("scale"), x.std(0, correction=0), atol=1e-3)


def test_loss_is_in_nats_per_datum_whatever_the_plate(x):
    def subsampled(x):
        with pyro.plate("data", 1000, subsample_size=len(x)):
            pyro.sample("x", dist.Normal(pyro.param("loc", torch.zeros(2)), 1.0).to_event(1), obs=x)

    def plain(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(pyro.param("loc", torch.zeros(2)), 1.0).to_event(1), obs=x)

    expected = -dist.Normal(0.0, 1.0).log_prob(x).sum(1).mean()
    for model in (plain, subsampled):
        for rows in (x, x[:7]):
            wanted = -dist.Normal(0.0, 1.0).log_prob(rows).sum(1).mean()
            assert SVI(model)(rows)["loss"] == pytest.approx(float(wanted), rel=1e-5)
        step = SVI(model)
        step(x[:50])
        assert step.evaluate(x)["loss"] == pytest.approx(float(expected), rel=1e-2)


@pytest.mark.parametrize("loss", [Trace_ELBO, TraceMeanField_ELBO])
def test_same_trajectory_as_stock_pyro(x, loss):
    ours, theirs = Net(), Net()
    pyro.clear_param_store()

    def model(x):
        pyro.module("net", theirs)
        theirs.model(x)

    def guide(x):
        pyro.module("net", theirs)
        theirs.guide(x)

    stock = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), loss())
    step = SVI(ours.model, ours.guide, optim=partial(Adam, lr=0.01), loss=loss())
    for t in range(20):
        with scoped_seed(t):
            expected = stock.step(x) / len(x)
        with scoped_seed(t):
            assert float(step(x)["loss"]) == pytest.approx(expected, rel=1e-4)
    pyro.clear_param_store()


def test_two_models_of_the_same_names_both_learn(x):
    for _ in range(2):
        step = SVI(by_param, optim=partial(Adam, lr=0.05))
        curve = losses(step, x)
        assert curve[-1] < curve[0] - 1
    nets = [Net(seed) for seed in (0, 1)]
    for net in nets:
        before = net.decoder.weight.detach().clone()
        curve = losses(SVI(net.model, net.guide, optim=partial(Adam, lr=0.02)), x)
        assert curve[-1] < curve[0] - 1
        assert not torch.equal(net.decoder.weight, before)
    assert not list(pyro.get_param_store().keys())  # the global store was not touched


@pytest.mark.parametrize("reach", ["method", "closure", "plain object", "list"])
def test_unregistered_network_is_trained(x, reach):
    net = Net()
    if reach == "method":
        model, guide = net.model, net.guide
    elif reach == "closure":

        def model(x):
            return net.model(x)

        def guide(x):
            return net.guide(x)

    elif reach == "plain object":

        class Plain:
            def __init__(self):
                self.net = net

            def model(self, x):
                return self.net.model(x)

            def guide(self, x):
                return self.net.guide(x)

        model, guide = Plain().model, Plain().guide
    else:
        nets = [net]

        def model(x):
            return nets[0].model(x)

        def guide(x):
            return nets[0].guide(x)

    before = [p.detach().clone() for p in net.parameters()]
    SVI(model, guide, optim=partial(Adam, lr=0.1))(x)
    assert all(not torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))


def test_autoguide_and_pyro_module(x):
    model = Bayes()
    step = SVI(model, AutoNormal(model), optim=partial(Adam, lr=0.05))
    losses(step, x, 500)
    samples = step.sample(2000)
    assert samples.shape == (2000, 2)
    assert torch.allclose(samples.mean(0), x.mean(0), atol=0.1)
    assert torch.allclose(samples.std(0), torch.full((2,), 0.5), atol=0.05)


def test_autodelta_gives_maximum_a_posteriori(x):
    model = Bayes()
    slower = partial(StepLR, step_size=100, gamma=0.3)
    step = SVI(model, AutoDelta(model), optim=partial(Adam, lr=0.5), schedule=slower)
    losses(step, x, 400)
    exact = x.sum(0) / 0.25 / (len(x) / 0.25 + 1 / 100)
    assert torch.allclose(next(t for name, t in step.weights().items() if "loc" in name), exact, atol=1e-3)


def test_enumerated_mixture_finds_both_components():
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(100, generator=generator) - 4, torch.randn(300, generator=generator) + 4])

    @config_enumerate
    def mixture(x):
        weights = pyro.param("weights", torch.ones(2) / 2, constraint=dist.constraints.simplex)
        loc = pyro.param("loc", torch.tensor([-1.0, 1.0]))
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(weights))
            pyro.sample("x", dist.Normal(loc[k], 1.0), obs=x)

    step = SVI(mixture, optim=partial(Adam, lr=0.05), loss=TraceEnum_ELBO(max_plate_nesting=1))
    losses(step, x, 300)
    assert torch.allclose(step.param("weights"), torch.tensor([0.25, 0.75]), atol=0.02)
    assert torch.allclose(step.param("loc"), torch.stack([x[:100].mean(), x[100:].mean()]), atol=0.05)
    drawn = step.sample(4000)
    assert float((drawn > 0).float().mean()) == pytest.approx(0.75, abs=0.03)


def test_loss_that_differentiates_by_itself(x):
    net = Net()
    step = SVI(net.model, net.guide, optim=partial(Adam, lr=0.02), loss=RenyiELBO(alpha=0, num_particles=4))
    curve = losses(step, x)
    assert curve[-1] < curve[0] - 1


def test_particles_do_not_change_the_unit(x):
    def loss(particles):
        net = Net()
        elbo = Trace_ELBO(num_particles=particles, vectorize_particles=True, max_plate_nesting=1)
        with scoped_seed(0):
            return float(SVI(net.model, net.guide, loss=elbo)(x)["loss"])

    assert loss(1) == pytest.approx(loss(64), rel=0.1)


def test_parameter_that_appears_later_is_trained(x):
    calls = []

    def model(x):
        calls.append(1)
        loc = pyro.param("loc", torch.zeros(2))
        if len(calls) > 3:
            loc = loc + pyro.param("late", torch.zeros(2))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    step = SVI(model, optim=partial(Adam, lr=0.05))
    for _ in range(6):
        step(x)
    assert bool((step.weights()["param.late"] != 0).all())


def test_labels_go_to_a_model_that_has_a_place_for_them(x):
    y = torch.arange(len(x)) % 2
    seen = []

    def wants_labels(x, y=None):
        seen.append(y)
        by_param(x)

    with pytest.raises(TypeError, match="by_param"):
        SVI(by_param)(x, y)  # a step passes on exactly what it is given
    SVI(wants_labels)(x, y)
    assert seen
    assert all(torch.equal(s, y) for s in seen)


def test_clipping_schedule_and_optimiser(x):
    step = SVI(by_param, optim=partial(SGD, lr=1.0), clip_norm=0.1, schedule=partial(StepLR, step_size=1, gamma=0.5))
    step(x)
    with torch.no_grad():
        moved = step.weights()["param.loc"].norm() ** 2 + step.weights()["param.scale"].norm() ** 2
    assert float(moved) ** 0.5 == pytest.approx(0.1, rel=1e-4)
    assert step.optimizer.param_groups[0]["lr"] == 0.5


def test_evaluate_moves_nothing_and_is_in_evaluation_mode(x):
    class Noisy(Net):
        def __init__(self):
            super().__init__()
            self.decoder = nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))

    net = Noisy()
    step = SVI(net.model, net.guide)
    step(x)
    before = {k: v.clone() for k, v in step.state_dict()["weights"].items()}
    with scoped_seed(3):
        first = step.evaluate(x)["loss"]
    with scoped_seed(3):
        assert step.evaluate(x)["loss"] == first
    assert net.decoder.training
    assert net.decoder[1].training
    assert all(torch.equal(v, before[k]) for k, v in step.state_dict()["weights"].items())


@pytest.mark.parametrize("kind", ["net", "params", "autoguide"])
def test_continues_bit_for_bit(x, kind):
    def make():
        if kind == "net":
            net = Net()
            return SVI(net.model, net.guide, optim=partial(Adam, lr=0.02))
        if kind == "params":
            return SVI(by_param, optim=partial(Adam, lr=0.02))
        model = Bayes()
        return SVI(model, AutoNormal(model), optim=partial(Adam, lr=0.02))

    def run(step, start, steps):
        for _ in fit(step, x, steps=steps, batch_size=64, seed=5, start=start):
            pass
        return step

    with scoped_seed(0):
        whole = run(make(), 0, 12)
    with scoped_seed(0):
        half = run(make(), 0, 7)
    with scoped_seed(99):
        other = make()
        other.load_state_dict(half.state_dict())
        run(other, 7, 12)
    for name, value in whole.state_dict()["weights"].items():
        assert torch.equal(other.state_dict()["weights"][name], value), name


def test_state_of_another_model_is_refused(x):
    net = Net()
    a, b = SVI(net.model, net.guide), SVI(by_param)
    a(x)
    b(x)
    with pytest.raises(KeyError, match=r"missing .*decoder"):
        a.load_state_dict(b.state_dict())


def test_mistakes_are_named(x):
    with pytest.raises(ConfigError, match="partial"):
        SVI(by_param, optim=Adam([torch.zeros(1, requires_grad=True)]))

    def nothing(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1), obs=x)

    with pytest.raises(ConfigError, match="no trainable parameters"):
        SVI(nothing)(x)
    with pytest.raises(ConfigError, match="first step"):
        SVI(by_param).sample(3)


def test_validation_setting_and_global_random_state_are_left_alone(x):
    before = torch.get_rng_state()
    valid = pyro.settings.get("validate_poutine"), pyro.settings.get("validate_distributions_pyro")
    net = Net()
    for _ in fit(SVI(net.model, net.guide), x, steps=3, batch_size=32):
        pass
    assert torch.equal(torch.get_rng_state(), before)
    assert valid == (pyro.settings.get("validate_poutine"), pyro.settings.get("validate_distributions_pyro"))


def test_a_step_learns_under_no_grad():
    """Somebody's loop may stand inside ``torch.no_grad()``: the step is what differentiates."""
    loc = nn.Parameter(torch.zeros(2))

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    with torch.no_grad():
        step = SVI(model, optim=partial(Adam, lr=0.1))
        for _ in range(3):
            step(torch.ones(4, 2))
    assert bool((loc > 0.1).all())


def test_samples_of_a_model_that_observes_the_transpose():
    def model(x):
        offset = pyro.param("offset", torch.zeros(()))
        with pyro.plate("pixels", 3, dim=-2), pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(100.0 * torch.arange(3.0)[:, None] + offset, 1.0), obs=x.T)

    step = SVI(model)
    step(torch.randn(10, 3))
    drawn = step.sample(200)
    assert torch.allclose(drawn.mean(0), torch.tensor([0.0, 100.0, 200.0]), atol=1)


@pytest.mark.parametrize("loss", [Trace_ELBO(), TraceMeanField_ELBO()], ids=lambda loss: type(loss).__name__)
def test_losses_of_a_float64_model_are_not_rounded(loss):
    """Pyro's ``loss`` returns a Python float, which torch would round to its default type."""

    class Far(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = nn.Parameter(torch.zeros((), dtype=torch.float64))

        def model(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(self.loc, 1.0), obs=x)

    far, x = Far(), torch.linspace(0, 1, 7, dtype=torch.float64) / 3
    step = SVI(far.model, loss=loss)
    expected = -dist.Normal(far.loc, 1.0).log_prob(x).mean()
    for value in (step.evaluate(x)["loss"], step(x)["loss"]):
        assert value.dtype == torch.float64
        assert value.item() == pytest.approx(expected.item(), abs=1e-14)
