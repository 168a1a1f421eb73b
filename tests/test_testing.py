"""The public checks find what is broken, and say it in one sentence."""

import random
import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import pyrogen
from pyrogen.data import Split
from pyrogen.testing import (
    check_autoencoder,
    check_density,
    check_evaluates,
    check_family,
    check_implicit,
    check_latent_variable,
    check_pair,
    check_sampler,
    check_saves,
    check_trains,
)


class Whole(nn.Module):
    """z ~ N(0, 1), x | z ~ N(w z, 1) in the plane, with every capability that there is."""

    def __init__(self):
        super().__init__()
        self.generator = nn.Linear(1, 2, bias=False)

    def marginal(self):
        w = self.generator.weight
        return dist.MultivariateNormal(torch.zeros(2), w @ w.T + torch.eye(2))

    def model(self, x, y=None):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.generator(z), 1.0).to_event(1), obs=x)

    def guide(self, x, y=None):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(Whole.encode(self, x), 1.0).to_event(1))

    def prior(self, n):
        return torch.randn(n, 1)

    def log_prob(self, x, y=None):
        return self.marginal().log_prob(x)

    def encode(self, x, y=None):
        return x @ self.generator.weight / (1 + self.generator.weight.square().sum())

    def decode(self, z, y=None):
        return self.generator(z)

    def reconstruct(self, x, y=None):
        return self.decode(self.encode(x))

    @torch.no_grad()
    def sample(self, n, y=None):
        return self.marginal().sample((n,))


class Moody(Whole):
    """Its sampler moves running statistics."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    @torch.no_grad()
    def sample(self, n, y=None):
        return self.norm(torch.randn(max(n, 2), 2))[:n]


class Forgetful(Whole):
    """Its scale was drawn when it was made, and is in no state."""

    def __init__(self):
        super().__init__()
        self.scale = torch.rand(2)

    @torch.no_grad()
    def sample(self, n, y=None):
        return self.scale * torch.randn(n, 2)


def no_plate(model, x, y=None):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(model.generator(z), 1.0).to_event(2), obs=x)


def too_sure(model, x, y=None):
    """Its joint density is three nats too large."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(model.generator(z), 1.0).to_event(1), obs=x)
        pyro.factor("more", x.new_full((len(x),), 3.0))


def centred(model, x, y=None):
    """A density of another mean than that of ``log_prob``."""
    with pyro.plate("data", len(x)):
        pyro.sample("x", model.marginal(), obs=x - 1)


DATA = pyrogen.load("ring")
METHODS = [
    ("log_prob", lambda m, x, y=None: -x.square(), "log_prob of 16 data has shape (16, 2); expected (16,)"),
    ("log_prob", lambda m, x, y=None: -x.square().mean(), "log_prob of 16 data has shape (); expected (16,)"),
    ("log_prob", lambda m, x, y=None: -(x - x.mean(0)).sum(1), "log_prob of a datum depends on the others"),
    ("log_prob", lambda m, x, y=None: x.sum(1).log(), "log_prob of 16 data is not finite everywhere"),
    ("log_prob", lambda m, x, y=None: [0.0], "log_prob of 16 data is a list; expected a tensor of shape (16,)"),
    ("sample", lambda m, n, y=None: torch.randn(5, 2), "sample(16) has shape (5, 2); expected (16, 2)"),
    ("sample", lambda m, n: torch.randn(n, 2), "sample does not take y; expected sample(n, y=None)"),
    ("sample", lambda m, n, y=None: m.decode(m.prior(n)), "sample(16) carries a gradient; expected detached"),
    ("sample", lambda m, n, y=None: torch.ones(n, 2), "different seeds gave the same samples; expected them"),
    ("sample", lambda m, n, y=None: torch.tensor(np.random.default_rng().random((n, 2))), "one seed gave different samples"),
    ("sample", lambda m, n, y=None: torch.full((n, 2), torch.nan), "sample(16) is not finite everywhere"),
    ("sample", lambda m, n, y=None: torch.randint(2, (n, 2)), "sample(16) is of torch.int64; expected floats"),
    ("encode", lambda m, x, y=None: x[0], "encode of 16 data has shape (2,); expected (16, latent)"),
    ("decode", lambda m, z, y=None: z, "decode of 16 data has shape (16, 1); expected (16, 2)"),
    ("reconstruct", lambda m, x, y=None: x.mean(1), "reconstruct of 16 data has shape (16,); expected (16, 2)"),
    ("prior", lambda m, n: torch.randn(1), "prior(16) has shape (1,); expected (16, latent)"),
    ("model", no_plate, "site 'x' is observed outside a data plate"),
    ("model", too_sure, "nats above that of log_prob(x); expected a lower bound"),
]


def family(model, step=pyrogen.SVI, **options):
    """What makes the model and its step."""

    def make(data):
        made = model()
        return made, step(made.model, made.guide, partial(torch.optim.Adam, lr=0.1), **options)

    return make


def fails(sentence):
    return pytest.raises(AssertionError, match=re.escape(sentence))


def test_what_is_whole_passes():
    state = torch.get_rng_state()
    check_family(family(Whole), DATA)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(("name", "method", "sentence"), METHODS, ids=[sentence for *_, sentence in METHODS])
def test_a_broken_method_is_named(name, method, sentence):
    broken = type("Broken", (Whole,), {name: method})
    with fails(sentence):
        check_family(family(broken), DATA)


def test_a_model_that_is_not_what_its_step_trains():
    broken = type("Broken", (Whole,), {"model": centred, "guide": lambda m, x, y=None: None})
    with fails("model(x), which has no latent variable, and log_prob(x) differ"):
        check_pair(broken(), DATA)
    without = type("Without", (Whole,), {"log_prob": None})()
    check_pair(without, DATA)
    with fails("nats above that of log_prob(x)"):
        check_pair(without, DATA, SimpleNamespace(log_prob=lambda x: Whole.log_prob(without, x) - 3))


def test_a_sampler_that_learns_and_a_state_that_is_not_all():
    with fails("sample(n) changed ['norm.num_batches_tracked']; expected it to change nothing"):
        check_sampler(Moody(), DATA)
    with fails("a loaded model draws other samples; expected state_dict to hold all that it is made of"):
        check_saves(family(Forgetful), DATA)


def test_labels_need_a_place():
    model = SimpleNamespace(log_prob=lambda x: x.sum(1), sample=lambda n, y: torch.randn(n, 2))
    check_density(model, Split(torch.randn(20, 2)))
    with fails("log_prob does not take y; expected log_prob(x, y=None)"):
        check_density(model, Split(torch.randn(20, 2), torch.arange(20)))


def test_one_row_is_enough_for_a_capability():
    model, one = Whole(), Split(torch.randn(1, 2))
    for check in (check_sampler, check_density, check_pair, check_latent_variable, check_implicit, check_autoencoder):
        check(model, one)


@pytest.mark.parametrize(
    ("check", "name"),
    [(check_sampler, "Sampler"), (check_density, "Density"), (check_pair, "Pair"), (check_implicit, "Implicit"),
     (check_latent_variable, "LatentVariable"), (check_autoencoder, "Reconstructing")],
)  # fmt: skip
def test_what_a_model_lacks_is_named(check, name):
    with fails(f"a Linear is not a {name}; expected "):
        check(nn.Linear(2, 2), DATA)


class Bare(nn.Module):
    """A pair without more: what can be measured is its step."""

    def __init__(self):
        super().__init__()
        self.generator = nn.Linear(1, 2)

    def model(self, x):
        Whole.model(self, x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, :1], 1.0).to_event(1))


def test_what_cannot_be_measured_is_named():
    with fails("a Bare has neither sample nor reconstruct; expected one of them"):
        check_family(family(Bare), DATA)
    check_family(lambda data: family(Bare)(data)[1], DATA)
    with fails("cannot evaluate a Linear"):
        check_evaluates(nn.Linear(2, 2), DATA)
    with fails("the score 'reconstruction' is nan; expected it finite"):
        check_evaluates(SimpleNamespace(reconstruct=lambda x: x * torch.nan), DATA)


class Changed(pyrogen.SVI):
    """A step, some method of which is replaced: ``change(step, loss of the batch)``."""

    def __init__(self, *args, logs=None, judge=None, keep=None):
        super().__init__(*args)
        self.logs, self.judge, self.keep, self.owner = logs, judge, keep, args[0].__self__

    def __call__(self, *batch):
        told = super().__call__(*batch)
        return self.logs(told["loss"]) if self.logs else told

    def evaluate(self, *batch):
        return self.judge(self, *batch) if self.judge else super().evaluate(*batch)

    def state_dict(self):
        return self.keep(super().state_dict()) if self.keep else super().state_dict()


class NoMemory(Changed):
    """Its optimiser begins anew after loading."""

    def load_state_dict(self, state):
        super().load_state_dict(state)
        if self.optimizer is not None:
            self.optimizer.state.clear()


def leave_in_evaluation(step, *batch):
    step.owner.eval()
    return {"loss": torch.tensor(0.0)}


STEPS = [
    ({"logs": lambda loss: {"loss": loss * torch.nan}}, "'loss' of step 1 is nan; expected a finite number"),
    ({"logs": lambda loss: {"loss": float(loss)}}, "expected a detached scalar tensor"),
    ({"logs": lambda loss: {"loss": loss.requires_grad_()}}, "expected a detached scalar tensor"),
    ({"logs": lambda loss: {"loss": loss.expand(3)}}, "expected a detached scalar tensor"),
    ({"logs": lambda loss: {"loss": loss.bfloat16()}}, "'loss' of step 1 is of torch.bfloat16; expected a sum"),
    ({"logs": lambda loss: loss}, "expected {name: scalar}"),
    ({"judge": lambda step, *batch: step(*batch)}, "evaluate(*batch) changed ['generator.weight']"),
    ({"judge": leave_in_evaluation}, "evaluate(*batch) changed ['generator.training']"),
    ({"judge": lambda step, *batch: {}}, "evaluate(*batch) gave {}; expected {name: scalar}"),
    ({"logs": lambda loss: {"loss": loss + random.SystemRandom().random()}}, "two runs under one seed differ in ['loss']"),
    ({"keep": lambda state: state | {"of": print}}, "state_dict cannot be saved and loaded: "),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), STEPS, ids=[sentence for _, sentence in STEPS])
def test_a_broken_step_is_named(change, sentence):
    with fails(sentence):
        check_family(family(Whole, Changed, **change), DATA)


def test_a_state_that_forgets_is_named():
    with fails("a run loaded after step 2 differs in ['generator.weight'"):
        check_saves(family(Whole, NoMemory), DATA)


def test_a_step_that_trains_nothing_is_named():
    with fails("4 steps moved none of 1 weights; expected training to move some"):
        check_trains(lambda data: (Whole(), family(Whole)(data)[1]), DATA)
