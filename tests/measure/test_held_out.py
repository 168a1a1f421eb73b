"""A model is not measured on test data that it was trained on."""

from functools import partial
from math import hypot

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import points
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import pyrogen
from pyrogen import SVI, AdversarialGame, fit, recipes, restore, save
from pyrogen.data import Dataset, Space, Split
from pyrogen.errors import ConfigError, DataError
from pyrogen.measure.evaluate import evaluate_run
from pyrogen.measure.held_out import check_held_out
from pyrogen.training import configure, train
from pyrogen.training.run import Run
from pyrogen.training.seen import seen_keys


class Mine(nn.Module):
    """A Gaussian, with a generator for a game."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(2))
        self.generator = nn.Linear(2, 2)

    def model(self, x, y=None):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(self.loc, 1.0).to_event(1), obs=x)

    def guide(self, x, y=None):
        pass

    def sample(self, n, y=None):
        return self.loc + torch.randn(n, 2)


def parts(seed=0, n=(200, 20, 50)):
    """A data set and another split of its rows."""
    x = points(sum(n), 2)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    splits = [Split(rows, space=Space("real")) for rows in x[order].split(n)]
    return Dataset("plane", *splits, (2,), Space("real"))


def trained(data, make=lambda mine: SVI(mine.model), steps=2, **settings):
    mine = Mine()
    step = make(mine)
    for _ in fit(step, data, steps=steps, batch_size=20, **settings):
        pass
    return mine, step


HOW = {
    "svi": lambda mine: SVI(mine.model),
    "game": lambda mine: AdversarialGame(mine.generator, nn.Linear(2, 1), lambda n: torch.randn(n, 2)),
    "several": lambda mine: pyrogen.steps.SequentialSteps(first=SVI(mine.model)),
}


@pytest.mark.parametrize("how", HOW)
def test_models_and_steps_are_refused_on_rows_of_another_split(how):
    data, other = parts(0), parts(1)
    mine, step = trained(data.train, HOW[how])
    seen = len(set(map(tuple, data.train.x.tolist())) & set(map(tuple, other.test.x.tolist())))
    for model in (mine, step):
        check_held_out(model, data)
        with pytest.raises(DataError, match=rf"was trained on {seen} of the 50 test rows of 'plane': train it on"):
            check_held_out(model, other)
    check_held_out(Mine(), other)


@pytest.mark.parametrize("form", ["tensor", "array", "tuple", "loader", "subset", "split"])
def test_every_form_of_rows_is_known(form):
    data, other = parts(0), parts(1)
    x = data.train.x
    forms = {"tensor": x, "array": x.numpy(), "tuple": (x, torch.zeros(200)), "split": Split(x[:150])}
    forms["loader"] = DataLoader(TensorDataset(x), batch_size=20)
    forms["subset"] = Subset(TensorDataset(x), range(100))
    mine, _ = trained(forms[form])
    check_held_out(mine, data)
    with pytest.raises(DataError, match="of the 50 test rows"):
        pyrogen.evaluate(mine, other)


def test_rows_that_cannot_be_known_pass():
    mine, _ = trained(DataLoader([(row,) for row in parts().train.x], batch_size=20))
    assert seen_keys(mine) is None
    check_held_out(mine, parts(1))
    unused, step = Mine(), SVI(Mine().model)
    fit(step, parts().train, steps=3, batch_size=20)  # the loop was never begun
    assert seen_keys(unused) is seen_keys(step) is None


def test_one_split_may_be_of_training_rows_and_says_so():
    data = parts()
    mine, step = trained(data.train)
    for model in (mine, step):
        score = pyrogen.evaluate(model, data.train)["log_likelihood"]
        assert score.detail["seen_in_training"] == 1
        assert "seen_in_training" not in pyrogen.evaluate(model, data.test)["log_likelihood"].detail
    half = torch.cat([data.train.x[:30], data.test.x[:30]])
    assert pyrogen.evaluate(mine, half)["log_likelihood"].detail["seen_in_training"] == 0.5
    with pytest.raises(DataError, match="50 of the 50"):
        check_held_out(trained(data.test)[0], data)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("size", [200, 2000])
def test_rows_that_are_equal_by_chance_are_not_refused(seed, size):
    """Independent draws of pairs of digits: a model of other draws has seen about as many test rows as chance gives."""
    draws = torch.Generator().manual_seed(seed)
    splits = [Split(torch.randint(6, (n, 4), generator=draws).float()) for n in (200, 20, 50)]
    data = Dataset("dice", *splits, (4,), Space("real"))
    model = nn.Linear(2, 2)
    pyrogen.training.seen.note_rows(model, Split(torch.randint(6, (size, 4), generator=draws).float()))
    check_held_out(model, data)
    other = nn.Linear(2, 2)  # of a split that has 40 of the test rows in place of 40 training rows
    pyrogen.training.seen.note_rows(other, Split(torch.cat([data.train.x[40:], data.test.x[:40]])))
    with pytest.raises(DataError, match=r"4\d of the 50 test rows"):
        check_held_out(other, data)


def test_what_was_seen_is_saved_and_restored(tmp_path):
    data, other = parts(0), parts(1)
    mine, step = trained(data.train)
    save(tmp_path, model=mine, step=step, t=2)
    again = Mine()
    for _ in fit(SVI(again.model), parts(2).train, steps=1, batch_size=20):
        pass
    restore(tmp_path, model=again)  # its weights, and so what they have seen, are those of the checkpoint
    assert (seen_keys(again) == seen_keys(mine)).all()
    check_held_out(again, data)
    fresh = SVI(Mine().model)
    restore(tmp_path, step=fresh)
    for model in (again, fresh):
        with pytest.raises(DataError, match="of the 50 test rows"):
            check_held_out(model, other)


@pytest.mark.parametrize("name", ["gaussian", "vae", "dcgan"])
def test_models_of_a_run_are_known(name, tmp_path):
    run = Run.create(tmp_path / "run", configure(name, options={"steps": 2}, compile=False))
    done = train(run)
    assert "+" in Run.open(tmp_path / "run").config.fingerprint
    for model in (done.model, pyrogen.open(tmp_path / "run").model):
        check_held_out(model, pyrogen.load("digits"))
        with pytest.raises(DataError, match="291 of the 450 test rows of 'digits'"):
            pyrogen.evaluate(model, pyrogen.load("digits", seed=1))


def test_a_run_remembers_rows_that_its_file_no_longer_has(tmp_path):
    x = points(100, 2).numpy()
    file = tmp_path / "x.npy"
    np.save(file, x)
    run = Run.create(tmp_path / "run", configure("gaussian", str(file), options={"steps": 1, "batch_size": 8}))
    train(run)
    assert evaluate_run(pyrogen.open(run.path))["n"] == 10
    np.save(file, np.concatenate([x, points(60, 2, seed=1).numpy()]))  # the rows are split anew
    with pytest.raises(DataError, match=r"was trained on \d+ of the 16 test rows"):
        evaluate_run(pyrogen.open(run.path), str(file))
    with pytest.raises(DataError, match="has changed since"):
        evaluate_run(pyrogen.open(run.path))


@pytest.mark.usefixtures("quick_measures")
def test_own_models_are_measured_on_every_seed(tmp_path):
    sets = [pyrogen.load("digits", seed=seed) for seed in (0, 1)]
    steps = []
    for data in sets:
        setup = recipes.recipe("vae")(data, latent=2, hidden=(8,))
        for _ in fit(setup.step, data.train, steps=2, batch_size=64):
            pass
        steps.append(setup.step)
    compare = partial(pyrogen.compare, steps=1, features=["values"])
    with pytest.raises(DataError, match=r"own model 'mine', seed 1: the model was trained on 291 of the 450 test rows"):
        compare(own={"mine": steps[0]}, seed=1, out=tmp_path / "a")
    with pytest.raises(DataError, match=r"seed 1: .*; own=\{'mine': \[…\]\} takes a model for each seed"):
        compare(own={"mine": steps[0]}, seeds=2, out=tmp_path / "b")
    with pytest.raises(ConfigError, match="own model 'mine': expected one model for each of 2 seeds, got 1"):
        compare(own={"mine": steps[:1]}, seeds=2, out=tmp_path / "c")
    card = compare(own={"mine": steps}, seeds=2, out=tmp_path / "d")
    singles = [compare(own={"mine": steps[i]}, seed=i, out=tmp_path / f"e{i}") for i in (0, 1)]
    for row in (lambda c: c["models"]["mine"], lambda c: c["anchors"]["train"], lambda c: c["anchors"]["gaussian"]):
        values = [row(single)["scores"]["mmd2"]["value"] for single in singles]
        score = row(card)["scores"]["mmd2"]
        assert score["value"] == pytest.approx(sum(values) / 2)
        assert score["stderr"] == pytest.approx(hypot((values[0] - values[1]) / 2, score["data_error"]))
        assert score["seeds"] == 2


def test_a_split_of_its_own_holds_for_all_seeds(tmp_path):
    """A model that has seen no test row of any seed is one for all."""
    model, _ = trained(parts().train)
    card = pyrogen.compare(own={"mine": model}, data=points(60, 2, seed=7), seeds=2, steps=1, out=tmp_path / "c")
    assert card["models"]["mine"]["scores"]["log_likelihood"]["seeds"] == 2
