"""A loss or gradient that is not finite stops training before the update, and the message says where it comes from."""

import re
from functools import partial

import planted_faults
import pyro
import pyro.distributions as dist
import pytest
import torch
from games import game
from torch import nn
from torch.optim import SGD, Adam, RMSprop

import pyrogen
from pyrogen import SVI
from pyrogen.errors import DataError, Diverged
from pyrogen.steps import ClosedForm, GradientStep, SequentialSteps
from pyrogen.steps import guard as guard_module
from pyrogen.training import build, configure, train
from pyrogen.training.run import Run

pytestmark = pytest.mark.filterwarnings("ignore:Encountered:UserWarning")


@pytest.mark.parametrize("case", planted_faults.CASES, ids=lambda case: case.__name__)
def test_planted_fault_is_named_before_it_reaches_a_weight(case):
    step, error, words = planted_faults.run(case)
    assert isinstance(error, DataError if case is planted_faults.histogram else Diverged)
    assert [word for word in words if not re.search(word, str(error))] == []
    assert all(t.isfinite().all() for t in tensors_of(step.state_dict()))
    assert getattr(step, "refused", None) is None


def tensors_of(state):
    """The floating tensors of a step's state without the template of its first batch, which holds data."""
    named = {k: v for k, v in state.items() if k != "template"}.values() if isinstance(state, dict) else state
    for part in named if isinstance(state, dict | list | tuple) else ():
        yield from [part] * part.is_floating_point() if isinstance(part, torch.Tensor) else tensors_of(part)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))

    def losses(self, x):
        return {"loss": (self.w * x).sum(1).square().mean()}


def steps():
    net = Scaled()

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(net.w, 1.0, validate_args=False).to_event(1), obs=x)

    generator, critic = nn.Linear(2, 3), nn.Linear(3, 1)
    play = partial(pyrogen.AdversarialGame, generator, critic, lambda n: torch.randn(n, 2))
    yield "svi", lambda **o: SVI(model, **o)
    yield "gradient", lambda **o: GradientStep(net.losses, **o)
    yield "game", play
    yield "sequence", lambda **o: SequentialSteps(fit=GradientStep(net.losses, **o), game=play(**o))


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in steps()])
@pytest.mark.parametrize("optim", [Adam, partial(SGD, momentum=0.9), RMSprop])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_neither_weights_nor_optimiser_see_a_batch_that_is_not_finite(make, optim, bad):
    step = make(optim=partial(optim, lr=0.01))
    x = torch.randn(8, 3)
    for _ in range(2):
        step(x)
    before = [t.clone() for t in tensors_of(step.state_dict())]
    broken = x.clone()
    broken[3] = bad
    with pytest.raises(Diverged, match=r"^step 3: "):
        step(broken)
    after = list(tensors_of(step.state_dict()))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    step(x)  # the next batch trains as if nothing had happened
    assert all(t.isfinite().all() for t in tensors_of(step.state_dict()))


@pytest.mark.parametrize("optim", [Adam, partial(SGD, momentum=0.9), RMSprop])
def test_a_device_that_is_not_waited_for_skips_every_update_after_the_fault(monkeypatch, optim):
    """The path of a GPU, on a CPU: the flag is set on the device and read in intervals."""
    monkeypatch.setattr(guard_module, "on_cpu", lambda values: False)
    step = GradientStep(Scaled().losses, partial(optim, lr=0.01))
    x = torch.randn(64, 3)
    x[5] = float("nan")
    seen = []

    def loop():
        for t, _ in pyrogen.fit(step, x, steps=60, batch_size=8, seed=1):
            seen.append((t, [p.detach().clone() for p in step.losses.__self__.parameters()]))

    with pytest.raises(Diverged, match=r"loss is nan in row \d+ of the batch \(index 5 ") as caught:
        loop()
    first = int(re.search(r"step (\d+)", str(caught.value))[1])
    assert seen[-1][0] == guard_module.READ_EVERY - 1
    assert all(w.isfinite().all() for _, weights in seen for w in weights)
    if optim is Adam:  # a fused update that obeys the flag
        still = [weights for t, weights in seen if t >= first - 1]
        assert all(torch.equal(a, b) for weights in still[1:] for a, b in zip(weights, still[0], strict=True))
    assert all(t.isfinite().all() for t in tensors_of(step.state_dict()))


def test_the_flag_is_read_at_the_end_and_when_asked(monkeypatch):
    monkeypatch.setattr(guard_module, "on_cpu", lambda values: False)
    step = game()
    good, bad = torch.randn(16, 2), torch.full((16, 2), float("nan"))
    step(good)
    step.guard.read()
    step(bad)
    step(good)
    with pytest.raises(Diverged, match="step 2: the loss or a gradient is not finite") as caught:
        step.guard.read()
    assert caught.value.ago == 1
    step.guard.read()  # it says so once
    with pytest.raises(Diverged, match=r"step 3: critic_loss is nan in all 16 rows"):
        for _ in pyrogen.fit(game(), bad, steps=3, batch_size=16, start=2):
            pass


def test_large_finite_gradients_and_sparse_ones_are_no_fault():
    guard_module.check_finite_update([1.0], [torch.full((9,), 3e38)], 1)  # their sum overflows
    sparse = torch.sparse_coo_tensor([[0, 0]], [1.0, float("inf")], (3,), check_invariants=True)
    with pytest.raises(Diverged, match=r"step 4: .* shape \(3,\)"):
        guard_module.check_finite_update([1.0], [sparse], 4)


def test_closed_form_needs_a_finite_fit_and_loss():
    class Constant(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.register_buffer("value", torch.tensor(value))

        def log_prob(self, x):
            return torch.where(x[:, 0] > 0, self.value, -torch.inf)

    x = torch.ones(8, 2)
    with pytest.raises(Diverged, match="step 1: the fit of value is not finite"):
        ClosedForm(Constant(0.0), lambda: Constant(float("nan")))(x)
    x[3] = -1
    step = ClosedForm(Constant(0.0), lambda: Constant(1.0))
    with pytest.raises(Diverged, match=r"loss is inf in row \d of the batch \(index 3 .*: the fitted model") as caught:
        list(pyrogen.fit(step, x, steps=1, batch_size=8))
    assert "learning rate" not in str(caught.value)


def test_an_error_of_the_user_is_not_taken_for_divergence():
    def model(x):
        pyro.sample("x", dist.Bernoulli(pyro.param("p", torch.tensor(0.5))).expand_by([len(x)]).to_event(1), obs=x)

    with pytest.raises(ValueError, match="within the support"):
        list(pyrogen.fit(SVI(model), torch.full((8,), 0.5), steps=1, batch_size=8))


def test_a_run_says_lr_and_which_checkpoint_is_from_before(tmp_path):
    options = {"steps": 40, "batch_size": 64, "hidden": (16,), "latent": 2}
    run = Run.create(tmp_path / "run", configure("vae", "digits", options=options))

    def poison(row):
        if row["t"] == 20:
            with torch.no_grad():
                setup.model.offset.fill_(float("nan"))

    setup = build(run.config)
    with pytest.raises(Diverged) as caught:
        train(run, poison, setup)
    assert re.search(r"step 2[01]: .*offset.*; the checkpoint of step (18|20) is from before$", str(caught.value))
