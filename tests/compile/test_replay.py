"""Replays of recorded graphs, tested on a CPU: a recording here is the code itself, run again into the same memory."""

from dataclasses import replace
from functools import partial

import pyro.infer
import pyro.optim
import pytest
import torch
from hosts import interpret
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim import SGD, Adagrad, Adam, RMSprop
from torch.optim.lr_scheduler import ExponentialLR

import pyrogen
from pyrogen.compile import CompiledNoise, CompiledTrace_ELBO
from pyrogen.compile.graph import replay
from pyrogen.compile.graph.replay import MOST, Replay, can_be_replayed
from pyrogen.data import Binarise, Split
from pyrogen.data.batches import batches
from pyrogen.errors import Diverged
from pyrogen.objectives import GradientPenalty, Wasserstein
from pyrogen.steps import SVI, AdversarialGame, GradientStep, guard
from pyrogen.steps.in_graph import update, updates

X = torch.linspace(-2, 2, 36).reshape(12, 3)


@pytest.fixture
def recordings(monkeypatch):
    """Record on the CPU; the list grows with each recording."""
    made = []

    def record(function):
        outputs = function()

        def again():
            for old, new in zip(outputs, function(), strict=True):
                old.copy_(new)

        made.append(function)
        return outputs, again

    monkeypatch.setattr("torch._inductor.compile", interpret)
    monkeypatch.setattr(replay, "REPLAYED", ("cpu",))
    monkeypatch.setattr(replay, "record", record)
    return made


@pytest.fixture
def waits(monkeypatch):
    """Treat the CPU as a device whose values are not read in every step."""
    for module in (guard, update, updates):
        monkeypatch.setattr(module, "waits", lambda value: True)


class Pair(nn.Module):
    """A small VAE of vectors with dropout and batch normalisation."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 4))
        self.decoder = nn.Linear(2, 3)

    def model(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", pyro.distributions.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", pyro.distributions.Normal(self.decoder(z), 0.5).to_event(1), obs=x)

    def guide(self, x):
        loc, log_scale = self.encoder(x).chunk(2, 1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", pyro.distributions.Normal(loc, log_scale.exp()).to_event(1))


ADAM = partial(Adam, lr=0.01)


def svi(optim=ADAM, **options):
    torch.manual_seed(0)
    pair = Pair()
    return SVI(pair.model, pair.guide, optim, compile=True, **options)


def gradient_step():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3))
    return GradientStep(lambda x: {"loss": (net(x) - x).square().mean()}, ADAM, compile=True)


def game():
    torch.manual_seed(0)
    generator, critic = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1), nn.Flatten(0))
    return AdversarialGame(
        generator, critic, lambda n: torch.randn(n, 2), Wasserstein(), (ADAM, ADAM),
        critic_steps=2, penalty=GradientPenalty(1.0), compile=True,
    )  # fmt: skip


def run(step, steps=20, every=1, x=X):
    logs = []
    for _ in pyrogen.fit(step, x, steps=steps, batch_size=4, every=every, each=lambda t, found: logs.append(found)):
        pass
    losses = [{name: float(value) for name, value in found.items()} for found in logs]  # read after all steps
    return losses, {name: t.detach().clone() for name, t in step.weights().items()}


STEPS = {
    "svi": svi,
    "clipped, with a schedule": lambda: svi(clip_norm=0.1, schedule=partial(ExponentialLR, gamma=0.9)),
    "an optimiser without a rule": lambda: svi(partial(Adagrad, lr=0.01)),
    "RMSprop": lambda: svi(partial(RMSprop, lr=0.01)),
    "game": game,
}


@pytest.mark.parametrize("every", [1, 20])
@pytest.mark.parametrize("name", STEPS)
def test_replayed_steps_are_those_of_the_graph(name, every, recordings, monkeypatch):
    losses, weights = run(STEPS[name](), every=every)
    assert len(recordings) == (2 if name == "game" else 1)
    monkeypatch.setattr(replay, "REPLAYED", ())
    expected, expected_weights = run(STEPS[name]())
    assert losses == expected
    for key, weight in weights.items():
        assert torch.equal(weight, expected_weights[key]), key
    assert len(recordings) == (2 if name == "game" else 1)


@pytest.mark.parametrize("name", STEPS)
def test_delayed_reading_of_the_flag_changes_no_step(name, recordings, waits, monkeypatch):
    losses, weights = run(STEPS[name](), every=20)
    monkeypatch.undo()
    monkeypatch.setattr("torch._inductor.compile", interpret)
    expected, expected_weights = run(STEPS[name]())
    for one, two in zip(losses, expected, strict=True):
        assert one == pytest.approx(two, rel=1e-5)
    for key, weight in weights.items():
        assert torch.allclose(weight, expected_weights[key], atol=1e-6), key


def test_a_fault_that_is_read_late_is_named_by_its_step_and_changes_nothing_after_it(recordings, waits):
    step, spared = gradient_step(), gradient_step()
    batches = [X[i % 3 * 4 :][:4] for i in range(12)]
    for i, batch in enumerate(batches):
        step(torch.full_like(batch, torch.nan) if i == 7 else batch)
        if i < 7:
            spared(batch)
    assert_same_weights(step, spared)
    with pytest.raises(Diverged, match="step 8: the loss or a gradient is not finite"):
        step.guard.read()
    assert {int(own["step"]) for own in step.optimizer.state.values()} == {7}
    for _ in range(3):  # with the corrections of the updates that were made, not of those that were prevented
        step(X)
        spared(X)
    assert_same_weights(step, spared)
    step.guard.read()


def assert_same_weights(one, two):
    for name, weight in one.weights().items():
        assert torch.equal(weight, two.weights()[name]), name


def test_updates_that_python_counts_are_made_beside_a_graph_of_a_gpu(recordings, monkeypatch):
    step = svi(pyro.optim.ClippedAdam({"lr": 0.01, "lrd": 0.9}))
    step(X)
    assert step._update.optimizer.next_in_graph(step._update.guard) is not None
    monkeypatch.setattr(update, "waits", lambda value: True)
    step._update.optimizer.in_graph._last = None
    assert step._update.optimizer.next_in_graph(step._update.guard) is None


def test_weights_that_move_in_memory_are_recorded_again(recordings):
    step, moved = gradient_step(), gradient_step()
    expected = []
    for t in range(3 * MOST):
        expected.append(float(step(X)["loss"]))
        for weight in moved.weights().values() if t > 2 else ():
            weight.data = weight.data.clone()
        assert float(moved(X)["loss"]) == expected[-1]
    (graph,) = moved._verified.graphs.values()
    assert "have moved" in graph.graph.run.refused
    assert len(recordings) == MOST + 1


def test_code_that_cannot_be_recorded_runs_as_it_is(monkeypatch, caplog):
    def record(function):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(replay, "record", record)
    runs = Replay(lambda w, x: [w.add_(x)], slice(1, 2))
    weight = torch.zeros(2)
    for t in range(1, 4):
        assert runs(weight, torch.ones(2))[0].tolist() == [t, t]
    assert runs.refused == "operation not permitted when stream is capturing"
    assert caplog.text.count("runs without a CUDA graph: operation not permitted") == 1


def test_a_recording_restores_weights_and_random_state(recordings):
    weight, before = torch.zeros(3), torch.get_rng_state()
    runs = Replay(lambda w, x: [w.add_(torch.rand(3) + x)], slice(1, 2))
    (first,) = runs(weight, torch.zeros(3))
    torch.set_rng_state(before)
    assert torch.equal(first, torch.rand(3))


def test_added_gradients_are_not_overwritten(recordings):
    found = []
    for loss in (CompiledTrace_ELBO(), pyro.infer.Trace_ELBO()):
        torch.manual_seed(0)
        pair = Pair().eval()
        for i in range(6):
            pair.zero_grad()
            for j in range(2):
                torch.manual_seed(10 * i + j)
                loss.loss_and_grads(pair.model, pair.guide, X + j)
        found.append([p.grad for p in pair.parameters()])
    assert recordings
    for one, two in zip(*found, strict=True):
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-5)


def traced(function, *args):
    with FakeTensorMode():
        inputs = [torch.empty(2, device=device) for device in args]
        return can_be_replayed(make_fx(function)(*inputs), inputs)


def test_only_what_one_gpu_computes_is_recorded():
    assert traced(lambda x: x * 2 + torch.ones(()), "cuda")  # a constant
    assert traced(lambda x: x + torch.rand(2, device="cuda"), "cuda")
    assert not traced(lambda x: x * 2, "cpu")
    assert not traced(lambda x, y: x + y.to("cuda"), "cuda", "cpu")
    assert not traced(lambda x: x + torch.rand(2).to("cuda"), "cuda")  # a recording would keep this draw
    assert not traced(lambda x: (x.cpu() * 2).cuda(), "cuda")


def test_a_guard_on_another_device_leaves_the_update_to_the_optimiser(recordings, waits):
    step = svi(partial(SGD, lr=0.01))
    step(X)
    assert step._update.optimizer.next_in_graph(step._update.guard) is not None
    elsewhere = guard.Guard()
    elsewhere.flags(torch.device("meta"))
    other = svi(partial(SGD, lr=0.01))
    other(X)
    assert other._update.optimizer.next_in_graph(elsewhere) is None


def test_noise_is_replayed(recordings):
    images = Split(torch.randint(0, 256, (60, 5), dtype=torch.uint8), noise=Binarise(255))
    compiled = replace(images, noise=CompiledNoise(Binarise(255)))
    found = [x for (x,), _ in zip(batches(compiled, 12), range(9), strict=False)]  # kept over later calls
    for x, (expected,) in zip(found, batches(images, 12), strict=False):
        assert torch.equal(x, expected)
    assert compiled.noise.refused is None
    assert len(recordings) == 1
