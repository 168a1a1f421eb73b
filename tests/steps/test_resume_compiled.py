"""A compiled run that is cut at any step and goes on in a new step is, bit for bit, the run that was never cut.

pytest -m slow -n 0 -s tests/steps/test_resume_compiled.py    # 39 cuts of 40 steps, some minutes
"""

from functools import cache

import pytest
import torch

import pyrogen
from pyrogen.random import scoped_seed
from pyrogen.recipes import recipe

DATA = {"vae": "digits-binary", "wgan": "digits"}


def begin(name):
    data = pyrogen.load(DATA[name])
    with scoped_seed(1):
        setup = recipe(name)(data, hidden=(16,), latent=3)
    setup.step.compile = True
    return setup


def train(setup, start, stop):
    rows = pyrogen.fit(setup.step, setup.data.train, steps=stop, batch_size=32, seed=3, start=start)
    return [{key: float(value) for key, value in logs.items()} for _, logs in rows]


@cache
def uncut(name, steps):
    setup = begin(name)
    return train(setup, 0, steps), setup.step.state_dict()["weights"]


def cut(name, at, steps, folder, caplog):
    """Whether a run that is saved at step ``at`` and restored into new networks ends as the uncut one."""
    logs, weights = uncut(name, steps)
    first = begin(name)
    before = train(first, 0, at)
    pyrogen.save(folder, t=at, model=first.model, step=first.step)
    second = begin(name)
    start = pyrogen.restore(folder, model=second.model, step=second.step)
    after = train(second, start, steps)
    assert not [r for r in caplog.records if "eagerly" in r.getMessage()]
    state = second.step.state_dict()["weights"]
    return before + after == logs and all(torch.equal(state[key], weights[key]) for key in weights)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("at", [1, 7])
def test_a_cut_compiled_run_is_the_uncut_one(name, at, tmp_path, caplog):
    assert cut(name, at, 12, tmp_path, caplog)


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA)
def test_every_cut_of_a_compiled_run(name, tmp_path, caplog):
    same = [cut(name, at, 40, tmp_path / str(at), caplog) for at in range(1, 40)]
    print(f"{name}: {sum(same)} of {len(same)}")
    assert all(same)
