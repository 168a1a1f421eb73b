"""The loop: order and noise are a pure function of (seed, t), whatever else is drawn."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import pyrogen
from pyrogen import EarlyStopping, fit
from pyrogen.data import batches
from pyrogen.errors import DataError
from pyrogen.random import derive, generator, scoped_seed


class Recorder:
    """A step that notes what it was given and what it would draw."""

    def __init__(self):
        self.seen = []

    def __call__(self, *batch):
        self.seen.append((*(b.clone() for b in batch), torch.rand(2)))
        return {"loss": batch[0].float().mean()}


def run(source, steps, start=0, seed=0, disturb=False, **kwargs):
    step = Recorder()
    for t, _logs in fit(step, source, steps=steps, start=start, seed=seed, **kwargs):
        assert t == start + len(step.seen)
        if disturb:
            torch.rand(t)
    return step.seen


def sources():
    x, y = torch.arange(50.0).view(50, 1), torch.arange(50)
    yield "tensors", (x, y)
    yield "tensor", x
    yield "split", pyrogen.load("digits").train
    yield "dataset", TensorDataset(x, y)
    yield "loader", DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True, drop_last=True)


@pytest.mark.parametrize(("name", "source"), list(sources()), ids=lambda v: v if isinstance(v, str) else "")
def test_a_run_can_be_taken_up_anywhere(name, source):
    whole = run(source, 20, batch_size=8)
    for start in (3, 6, 12):
        rest = run(source, 20, start=start, batch_size=8, disturb=True)
        for a, b in zip(whole[start:], rest, strict=True):
            assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))
    other = run(source, 20, seed=1, batch_size=8)
    assert not all(torch.equal(a[0], b[0]) for a, b in zip(whole, other, strict=True))


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


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    drawn = []
    for _ in fit(Recorder(), torch.zeros(10, 1), steps=4, batch_size=2):
        drawn.append(torch.rand(1))
    assert torch.equal(torch.cat(drawn), expected)


def test_streams_are_distinct_and_stable():
    assert derive(0, "init") != derive(1, "init") != derive(0, "step", 1)
    with scoped_seed(derive(0, "x")):
        a = torch.rand(3)
    assert torch.equal(a, torch.rand(3, generator=generator(0, "x")))


def test_too_few_rows_and_wrong_sources_are_named():
    with pytest.raises(DataError, match=r"10.*16"):
        fit(Recorder(), torch.zeros(10, 1), steps=1, batch_size=16)
    with pytest.raises(DataError, match="no batch"):
        next(batches(DataLoader(TensorDataset(torch.zeros(3, 1)), batch_size=8, drop_last=True)))
    with pytest.raises(DataError, match=r"data\.train"):
        fit(Recorder(), pyrogen.load("digits"), steps=1)
    with pytest.raises(DataError, match="list"):
        fit(Recorder(), [1, 2], steps=1)
    with pytest.raises(DataError, match="rows"):
        fit(Recorder(), (torch.zeros(4, 1), torch.zeros(3)), steps=1)


def test_early_stopping_counts_and_continues():
    stop = EarlyStopping(patience=2)
    assert [stop.after(s) for s in (3.0, 2.0, 2.5, 1.0, 1.5)] == [False] * 5
    again = EarlyStopping(patience=2)
    again.load_state_dict(stop.state_dict())
    assert again.after(1.2)
