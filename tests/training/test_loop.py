"""The loop: order and noise are a pure function of (seed, t), whatever else is drawn."""

import random
from collections import namedtuple
from functools import partial
from typing import ClassVar

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from hosts import interpret
from numpy.random import MT19937, PCG64, mtrand
from pyro.optim.clipped_adam import ClippedAdam
from recipe_cases import small
from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import ExponentialLR, StepLR
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

import pyrogen
from pyrogen import EarlyStopping, fit
from pyrogen.compile.verified import VerifiedFunction
from pyrogen.data import Split, batches
from pyrogen.data.step_arguments import select_arguments
from pyrogen.errors import ConfigError, DataError
from pyrogen.random import derive, generator, scoped_seed
from pyrogen.recipes import RECIPES
from pyrogen.steps import exclusive


class Recorder:
    """A step that notes what it was given and what it would draw, by torch, numpy and ``random``."""

    def __init__(self):
        self.seen = []

    def __call__(self, *batch):
        drawn = torch.tensor(np.random.randn(3)), torch.tensor([random.random(), random.gauss(0, 1)])
        self.seen.append((*(b.clone() for b in batch), torch.rand(2), *drawn))
        return {"loss": batch[0].float().mean()}


def run(source, steps, start=0, seed=0, disturb=False, **kwargs):
    step = Recorder()
    for t, _logs in fit(step, source, steps=steps, start=start, seed=seed, **kwargs):
        assert t == start + len(step.seen)
        if disturb:
            torch.rand(t), np.random.randn(t), random.gauss(0, 1)
    return step.seen


class Counting(IterableDataset):
    """Rows without a length."""

    def __iter__(self):
        return iter(torch.arange(20.0).view(20, 1))


class Drawing(TorchDataset):
    """Rows that are drawn when they are read: by every global generator, and by one of the data set's own."""

    def __init__(self):
        self.numpy, self.python, self.torch = np.random.default_rng(0), random.Random(0), torch.Generator()

    def __len__(self):
        return 50

    def __getitem__(self, i):
        drawn = [np.random.rand(), np.random.randn(), random.random(), random.gauss(0, 1), float(torch.rand(()))]
        own = [self.numpy.normal(), self.python.random(), float(torch.rand((), generator=self.torch))]
        return torch.tensor([i, *drawn, *own])


def shuffled(**options):
    """A loader with a generator of its own, as torch's notes on reproducibility have it."""
    own = torch.Generator().manual_seed(7)
    return DataLoader(Drawing(), batch_size=8, shuffle=True, drop_last=True, generator=own, **options)


def sources():
    x, y = torch.arange(50.0).view(50, 1), torch.arange(50)
    yield "tensors", (x, y)
    yield "three", (x, y, torch.rand(50, 2))
    yield "tensor", x
    yield "split", pyrogen.load("digits").train
    yield "more", Split(x, y, more=(torch.rand(50, 2), torch.arange(50)))
    yield "dataset", TensorDataset(x, y)
    yield "dataset of three", TensorDataset(x, y, torch.rand(50, 2))
    yield "loader", DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True, drop_last=True)
    yield "draws", Drawing()
    yield "two that draw", ConcatDataset([Drawing(), Drawing()])
    yield "own generator", shuffled()
    yield "workers", shuffled(num_workers=1)
    yield "persistent workers", shuffled(num_workers=1, persistent_workers=True)
    yield "side information that is drawn", Split(x, y, side_fn=lambda x, y: x + torch.rand_like(x) + np.random.rand())
    yield "loader without a length", DataLoader(Counting(), batch_size=8)


@pytest.mark.parametrize(("name", "source"), list(sources()), ids=lambda v: v if isinstance(v, str) else "")
def test_a_run_can_be_taken_up_anywhere(name, source):
    whole = run(source, 20, batch_size=8)
    for start in (3, 6, 12):
        rest = run(source, 20, start=start, batch_size=8, disturb=True)
        for a, b in zip(whole[start:], rest, strict=True):
            assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))
    for a, b in zip(whole, run(source, 20, batch_size=8, every=6), strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))
    other = run(source, 20, seed=1, batch_size=8)
    part = -3 if name == "loader without a length" else 0  # its order is fixed, and only what steps draw differs
    assert not all(torch.equal(a[part], b[part]) for a, b in zip(whole, other, strict=True))


def test_mixed_precision_sees_the_weights_that_the_step_itself_has_moved():
    net = torch.nn.Linear(1, 1, bias=False)

    def step(x):
        before = net(x)
        with torch.no_grad():
            net.weight.mul_(2)
        return {"before": before.sum().detach(), "after": net(x).sum().detach()}

    for _, logs in fit(step, torch.ones(4, 1), steps=2, batch_size=4, precision="bf16"):
        assert logs["after"] == 2 * logs["before"]
        assert logs["after"].dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["vae", "wgan-gp", "realnvp"])
@pytest.mark.parametrize("compile", [True, False])
def test_steps_without_a_body_between_them_are_the_same(name, compile, monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", interpret)

    def trained(every):
        with scoped_seed(0):
            setup = RECIPES[name](pyrogen.load(RECIPES[name].example), **small(name))
        setup.step.compile = compile
        rows, bodies = [], []

        def collect(t, logs):
            rows.append((t, {k: float(v) for k, v in logs.items()}))

        for t, logs in pyrogen.fit(setup.step, setup.data.train, steps=24, batch_size=16, every=every, each=collect):
            bodies.append(t)
            assert {k: float(v) for k, v in logs.items()} == rows[-1][1]
        assert getattr(setup.step, "refused", None) is None
        return rows, [w.clone() for w in setup.model.state_dict().values()], bodies

    (rows, weights, bodies), *others = map(trained, (1, 7, lambda t: t in (3, 20)))
    assert [t for t, _ in rows] == bodies == list(range(1, 25))
    assert [each[2] for each in others] == [[7, 14, 21, 24], [3, 20, 24]]
    for other in others:
        assert other[0] == rows
        assert all(torch.equal(a, b) for a, b in zip(other[1], weights, strict=True))


@pytest.mark.parametrize("call", ["__call__", "step"])
def test_both_calls_of_svi_run_the_graph_at_once_between_other_steps(call, monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", interpret)
    step, x = pyrogen.SVI(pyrogen.explicit.Gaussian((2,)).model, compile=True), torch.randn(16, 2)
    for _ in range(9):
        step(x)
    checked, whole = [], VerifiedFunction.__call__
    monkeypatch.setattr(VerifiedFunction, "__call__", lambda *args, **kw: checked.append(1) or whole(*args, **kw))
    with exclusive(step):
        for _ in range(5):
            getattr(step, call)(x)
    assert checked == [1]
    assert step.t == 14


@pytest.mark.parametrize(
    ("optim", "schedule"),
    [
        (Adam, partial(StepLR, step_size=5, gamma=0.5)),
        (Adam, partial(ExponentialLR, gamma=0.9)),
        (partial(ClippedAdam, lrd=0.9), None),
        (partial(ClippedAdam, lrd=0.9), partial(StepLR, step_size=3, gamma=0.5)),
    ],
)
def test_learning_rates_of_successive_updates(optim, schedule, monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", interpret)
    x = torch.randn(64, 2, generator=generator(0))

    def trained(every, compile=True):
        with scoped_seed(0):
            net = pyrogen.explicit.Gaussian((2,))
        step = pyrogen.SVI(net.model, optim=partial(optim, lr=0.1), schedule=schedule, compile=compile)
        for t, _ in pyrogen.fit(step, x, steps=50, batch_size=16, every=every):
            if t % 25 == 0:
                step.optimizer.param_groups[0]["lr"] *= 1.5
        assert step.refused is None
        return [w.clone() for w in step.weights().values()]

    alone, eager = trained(1), trained(1, compile=False)
    for a, b in zip(alone, eager, strict=True):
        torch.testing.assert_close(a, b)
    assert all(torch.equal(a, b) for a, b in zip(trained(25), alone, strict=True))


def test_a_body_may_change_what_a_compiled_step_reads(monkeypatch):
    net = nn.Linear(2, 2)
    scale = [1.0]

    def model(x):
        pyro.module("net", net)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(net(x), scale[0]).to_event(1), obs=x)

    monkeypatch.setattr("torch._inductor.compile", interpret)
    step, x = pyrogen.SVI(model, optim=partial(Adam, lr=0.0), compile=True), torch.ones(64, 2)
    losses = []
    for t, logs in pyrogen.fit(step, x, steps=30, batch_size=8, every=10):
        losses.append(float(logs["loss"]))
        scale[0] = 10.0 * t
    assert step.refused is None
    for found, spread in zip(losses, (1.0, 100.0, 200.0), strict=True):
        expected = -dist.Normal(net(x[:1]).detach(), spread).log_prob(x[:1]).sum()
        assert found == pytest.approx(float(expected), rel=1e-5)


def test_the_number_of_steps_between_bodies_is_positive():
    step = pyrogen.SVI(pyrogen.explicit.Gaussian((2,)).model)
    with pytest.raises(ConfigError, match="every must be a number of steps, at least 1; got 0"):
        pyrogen.fit(step, torch.randn(64, 2), steps=3, batch_size=8, every=0)


def test_every_epoch_is_a_fresh_permutation_without_repeats():
    rows = [x[0].flatten() for x in run(torch.arange(50.0).view(50, 1), 12, batch_size=8)]
    first, second = torch.cat(rows[:6]), torch.cat(rows[6:])
    assert len(first.unique()) == len(second.unique()) == 48
    assert not torch.equal(first, second)


def test_noise_is_drawn_anew_at_every_step():
    data = pyrogen.load("digits-binary")
    fixed = data.train.read(slice(0, 8), generator(0, "a"))[0]
    assert not torch.equal(fixed, data.train.read(slice(0, 8), generator(0, "b"))[0])
    assert torch.equal(fixed, data.train.read(slice(0, 8), generator(0, "a"))[0])
    assert torch.equal(data.test.tensors(0)[0], data.test.tensors(1)[0])


@pytest.mark.parametrize("numbers", [MT19937, PCG64])
def test_the_callers_random_state_is_left_alone(numbers):
    """Also the normal variate that the generators of numpy and Python have drawn ahead."""
    before = mtrand.get_bit_generator()
    mtrand.set_bit_generator(numbers(5))

    def begin():
        torch.manual_seed(5), random.seed(5)
        mtrand.get_bit_generator().state = numbers(5).state

    def draw():
        return float(torch.rand(1)), np.random.randn(), np.random.rand(), random.gauss(0, 1), random.random()

    try:
        begin()
        expected = [draw() for _ in range(6)]
        begin()
        drawn = [draw() for _ in fit(Recorder(), Drawing(), steps=6, batch_size=2)]
        assert drawn == expected
    finally:
        mtrand.set_bit_generator(before)


def test_nested_seeds_are_those_of_pyro_and_return_to_the_outer_one():
    with scoped_seed(3):
        outer = np.random.randn(3), random.gauss(0, 1), torch.rand(2)
        with scoped_seed(4):
            inner = np.random.randn(3), random.gauss(0, 1), torch.rand(2)
        outer_again = np.random.randn(3), random.gauss(0, 1), torch.rand(2)
    with scoped_seed(0):
        for seed, drawn in ((4, [inner]), (3, [outer, outer_again])):
            pyro.set_rng_seed(seed)
            for normal, gauss, uniform in drawn:
                assert np.array_equal(normal, np.random.randn(3))
                assert gauss == random.gauss(0, 1)
                assert torch.equal(uniform, torch.rand(2))


def test_streams_are_distinct_and_stable():
    assert derive(0, "init") != derive(1, "init") != derive(0, "step", 1)
    with scoped_seed(derive(0, "x")):
        a = torch.rand(3)
    assert torch.equal(a, torch.rand(3, generator=generator(0, "x")))


def test_a_loader_without_a_length_is_read_again_and_again():
    loader = DataLoader(Counting(), batch_size=8)
    whole = [int(x[0, 0]) for x, *_ in run(loader, 7)]
    assert whole == [0, 8, 16, 0, 8, 16, 0]
    assert [int(x[0, 0]) for x, *_ in run(loader, 7, start=4)] == whole[4:]


def test_too_few_rows_and_wrong_sources_are_named():
    with pytest.raises(DataError, match=r"16.*10"):
        fit(Recorder(), torch.zeros(10, 1), steps=1, batch_size=16)
    with pytest.raises(DataError, match="no batch"):
        next(batches(DataLoader(TensorDataset(torch.zeros(3, 1)), batch_size=8, drop_last=True)))
    with pytest.raises(DataError, match=r"data\.train"):
        fit(Recorder(), pyrogen.load("digits"), steps=1)
    with pytest.raises(DataError, match="Counting has no length: pass a DataLoader"):
        fit(Recorder(), Counting(), steps=1)
    with pytest.raises(DataError, match="list"):
        fit(Recorder(), [1, 2], steps=1)
    with pytest.raises(DataError, match="rows"):
        fit(Recorder(), (torch.zeros(4, 1), torch.zeros(3)), steps=1)
    with pytest.raises(DataError, match=r"rows.*\(4,\), \(3,\)"):
        fit(Recorder(), (torch.zeros(4, 1), torch.zeros(4), torch.zeros(3)), steps=1)
    with pytest.raises(DataError, match=r"more\[1\]: expected 4 rows.*\(3,\)"):
        Split(torch.zeros(4, 1), more=(torch.zeros(4), torch.zeros(3)))
    with pytest.raises(DataError, match="Tensor, int"):
        fit(Recorder(), (torch.zeros(4, 1), 3), steps=1)
    with pytest.raises(DataError, match=r"rows.*\(\)"):
        fit(Recorder(), (torch.zeros(4, 1), torch.tensor(3)), steps=1)


def test_early_stopping_counts_and_continues():
    stop = EarlyStopping(patience=2)
    assert [stop.after(s) for s in (3.0, 2.0, 2.5, 1.0, 1.5)] == [False] * 5
    again = EarlyStopping(patience=2)
    again.load_state_dict(stop.state_dict())
    assert not again.stopped
    assert again.after(1.2)
    assert again.stopped


def test_every_tensor_of_a_batch_is_of_the_same_rows():
    x, y, lengths = torch.arange(12.0).view(12, 1), torch.arange(12), 100 + torch.arange(12)
    sources = [(x, y, lengths), Split(x, y, more=(lengths,)), TensorDataset(x, y, lengths)]
    sources.append(DataLoader(TensorDataset(x, y, lengths), batch_size=4, shuffle=True))
    for source in sources:
        for seen in run(source, 6, batch_size=4, device="cpu"):
            batch = seen[:-3]
            assert len(batch) == 3
            assert torch.equal(batch[0].flatten().long(), batch[1])
            assert torch.equal(batch[1] + 100, batch[2])
    (batch,) = run(Split(x, more=(lengths,)), 1, batch_size=4)
    assert torch.equal(batch[0].flatten().long() + 100, batch[1])
    split = Split(x, y, more=(lengths,)).to("cpu")
    assert all(torch.equal(a, b) for a, b in zip(split.tensors(), (x, y, lengths), strict=True))


class Rows(TorchDataset):
    """Rows of another form than a tuple of tensors."""

    def __init__(self, row):
        self.row = row

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return self.row(torch.full((2,), float(i)), torch.tensor(i))


Named = namedtuple("Named", "x y")


@pytest.mark.parametrize(
    ("row", "form"),
    [
        (lambda x, i: {"x": x, "i": i}, lambda b: (b[0]["x"], b[0]["i"])),
        (lambda x, i: {"x": {"deep": [x, i]}}, lambda b: b[0]["x"]["deep"]),
        (lambda x, i: (x, [i, x]), lambda b: (b[0], b[1][0])),
        (lambda x, i: [x, {"i": i, "name": "a"}], lambda b: (b[0], b[1]["i"])),
        (Named, lambda b: b),
        (lambda x, i: ({"x": x}, Named(x, i)), lambda b: (b[0]["x"], b[1].y)),
    ],
    ids=["dict", "nested dict", "list in tuple", "dict in list", "named tuple", "named tuple in tuple"],
)
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_nested_batches_reach_the_step_in_their_form(row, form, precision):
    seen = []

    def step(*batch):
        seen.append(batch)
        return {"loss": torch.zeros(())}

    for device in (None, "meta"):
        loader = DataLoader(Rows(row), batch_size=4)
        for _ in fit(step, loader, steps=2, device=device, precision="32" if device else precision):
            x, i = form(seen[-1])
            assert x.device.type == i.device.type == (device or "cpu")
            assert x.shape == (4, 2)
            if device is None:
                assert torch.equal(x[:, 0].long(), i)


def test_a_step_that_says_what_it_takes_is_given_no_more():
    class Taking(Recorder):
        takes: ClassVar = {"model": 2, "guide": 1}

    source = (torch.zeros(8, 1), torch.arange(8), torch.arange(8))
    step = Taking()
    for _ in fit(step, source, steps=2, batch_size=4):
        pass
    assert [len(batch) - 3 for batch in step.seen] == [2, 2]
    assert len(run(source, 1, batch_size=4)[0]) - 3 == 3
    assert select_arguments(lambda x: x, (1, 2)) == (1, 2)
    assert select_arguments(step, (1,)) == (1,)


def test_a_program_of_x_alone_trains_on_data_with_labels():
    torch.manual_seed(0)
    net = torch.nn.Linear(1, 1)

    def model(x):
        pyro.module("net", net)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(net(torch.ones_like(x)), 1.0).to_event(1), obs=x)

    for _, logs in fit(
        pyrogen.SVI(model), (torch.zeros(8, 1), torch.arange(8), torch.arange(8)), steps=2, batch_size=4
    ):
        assert logs["loss"].isfinite()


@pytest.mark.parametrize(
    ("name", "wide"),
    [(name, wide) for name in ("vae", "dcgan", "autoencoder", "aae") for wide in ("data", "weights")]
    + [("realnvp", "data"), ("ppca", "data")],  # from float64 weights their sums are of float64 by themselves
)
def test_data_and_weights_of_different_types_are_both_named(name, wide):
    data = pyrogen.load("digits")
    setup = RECIPES[name](data)
    x, y = data.train.tensors()
    if wide == "data":
        x, expected = x.double(), r"data are torch\.float64 and the weights torch\.float32.*data\.to\(torch\.float32\)"
    else:
        setup.model.double()
        expected = r"data are torch\.float32 and the weights torch\.float64.*model\.to\(torch\.float32\)"
    with pytest.raises(ConfigError, match=expected):
        next(fit(setup.step, (x, y), steps=1, batch_size=32))


def test_other_errors_are_left_alone():
    net = torch.nn.Linear(2, 2)

    class Step:
        def weights(self):
            return dict(net.named_parameters())

        def __call__(self, x):
            return {"loss": net(x).sum().detach()}

    with pytest.raises(RuntimeError, match="shapes"):
        next(fit(Step(), torch.zeros(4, 3), steps=1, batch_size=4))
    with pytest.raises(RuntimeError, match="dtype"):  # of a step that tells of no weights
        next(fit(lambda x: {"loss": net(x).sum()}, torch.zeros(4, 2).double(), steps=1, batch_size=4))
    with pytest.raises(ConfigError, match="float64"):
        next(fit(Step(), torch.zeros(4, 2).double(), steps=1, batch_size=4))


def test_rows_are_drawn_by_weight():
    weights = torch.tensor([0.0, 3, 1, 0, 4])
    drawn = torch.cat([x for (x, *_) in run(torch.arange(5), 40, batch_size=5, weights=weights)])
    counts = drawn.bincount(minlength=5)
    assert counts[0] == counts[3] == 0
    assert (counts - torch.tensor([0, 75, 25, 0, 100])).abs().max() <= 20
    with pytest.raises(DataError, match="each of 5 rows"):
        fit(Recorder(), torch.arange(5), steps=1, weights=torch.ones(4))
    with pytest.raises(DataError, match="give a DataLoader a sampler"):
        fit(Recorder(), DataLoader(TensorDataset(torch.arange(5))), steps=1, weights=torch.ones(5))
