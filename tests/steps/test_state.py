"""A restored step is the trained step: whatever is done with it, in any order, and in a new process."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from step_cases import STEPS, make

import pyrogen
from pyrogen.random import scoped_seed

X = torch.randn(12, 2, generator=torch.Generator().manual_seed(1))
ACTS = ("restore", "evaluate", "sample", "save", "fit 0", "fit 1")
FIRST = 2
"""How many steps were taken before the first save."""


def advance(step, start, steps):
    for _ in pyrogen.fit(step, X, steps=steps, start=start, batch_size=6, seed=3):
        pass


def answers(step):
    """What the step says of the data: its losses, and samples of its model."""
    with scoped_seed(7):
        losses = {name: value.clone() for name, value in step.evaluate(X).items()}
    if not isinstance(step, pyrogen.SVI):
        return losses, None
    with scoped_seed(7):
        return losses, step.sample(3)


def state(step):
    """All of a step's state; what follows from it and not from the steps taken is left out."""
    return flat(step.state_dict(), "")


def flat(value, where):
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in flat(inner, f"{where}.{key}").items()}
    if isinstance(value, list | tuple):
        return flat(dict(enumerate(value)), where)
    return {where: value.clone() if isinstance(value, torch.Tensor) else value}


def begun(name, steps=FIRST):
    step = make(name, 0)
    advance(step, 0, steps)
    return step


def assert_same(found, expected, history):
    assert found.keys() == expected.keys(), history
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[name], value), (name, history)
        else:
            assert found[name] == value, (name, history)


def tour(acts, length, seed=0):
    """A sequence of acts in which every run of ``length`` acts occurs (a de Bruijn sequence)."""
    k, a, sequence = len(acts), [0] * len(acts) * length, []

    def extend(t, p):
        if t > length:
            if length % p == 0:
                sequence.extend(a[1 : p + 1])
            return
        a[t] = a[t - p]
        extend(t + 1, p)
        for j in range(a[t - p] + 1, k):
            a[t] = j
            extend(t + 1, t)

    extend(1, 1)
    names = list(acts)
    random.Random(seed).shuffle(names)
    return [names[i] for i in sequence + sequence[: length - 1]]


def uncut(name, steps):
    """The states of a step that is only trained, and its answers, by the number of steps taken."""
    step = make(name, 0)
    states, said = {}, {}
    for t in range(1, steps + 1):
        advance(step, t - 1, t)
        states[t] = state(step)
    other = make(name, 0)
    for t in range(1, steps + 1):
        advance(other, t - 1, t)
        said[t] = answers(other)
    assert_same(state(other), states[steps], "answers moved something")
    return states, said


def live(name, acts, folder):
    """Do the acts with a step, which must be at each moment what the step is that was only trained."""
    states, said = uncut(name, FIRST + 2 + acts.count("fit 1"))
    step, t, saved, history = make(name, 0), FIRST, FIRST, []
    advance(step, 0, t)
    pyrogen.save(folder, t=t, step=step)
    for i, act in enumerate(["restore", *acts]):
        history.append(act)
        if act == "restore":
            step, t = make(name, 1 + i), saved
            assert pyrogen.restore(folder, step=step) == t
        elif act == "save":
            pyrogen.save(folder, t=t, step=step)
            saved = t
        elif act == "evaluate":
            assert_same(flat(answers(step)[0], ""), flat(said[t][0], ""), history)
        elif act == "sample":
            assert_same(flat(answers(step), ""), flat(said[t], ""), history)
        else:
            advance(step, t, t + int(act[-1]))
            t += int(act[-1])
        assert_same(state(step), states[t], history)


@pytest.mark.parametrize("name", STEPS)
def test_any_order_of_two(name, tmp_path):
    live(name, tour(ACTS, 2), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("length", [3, 4])
@pytest.mark.parametrize("name", STEPS)
def test_any_order_of_more(name, length, tmp_path):
    live(name, tour(ACTS, length, seed=length), tmp_path)


def test_the_tour_holds_every_order():
    sequence = tour(ACTS, 3)
    assert len({tuple(sequence[i : i + 3]) for i in range(len(sequence) - 2)}) == 6**3


@pytest.mark.parametrize("name", STEPS)
def test_the_state_of_another_model_is_refused_and_harms_nothing(name, tmp_path):
    other = "AutoNormal" if any("tril" in key for key in state(begun(name))) else "constrained sites"
    wrong, step = begun(other), begun(name)
    before = state(step)
    with pytest.raises(KeyError):
        step.load_state_dict(wrong.state_dict())
    assert_same(state(step), before, name)
    advance(step, FIRST, FIRST + 1)


@pytest.mark.parametrize("fresh", [True, False])
def test_what_is_missing_is_named(fresh):
    step, wrong = make("networks", 0) if fresh else begun("networks"), begun("constrained sites")
    with pytest.raises(KeyError, match=r"missing .*decoder\.0\.weight.*not expected .*param\.tril"):
        step.load_state_dict(wrong.state_dict())


@pytest.mark.parametrize("name", ["networks", "a Bayesian layer", "a site that comes late"])
def test_a_step_that_has_not_begun_refuses_the_state_of_another_model(name):
    wrong, step = begun("constrained sites"), make(name, 0)
    with pytest.raises(KeyError):
        step.load_state_dict(wrong.state_dict())
    assert step.t == 0
    advance(step, 0, FIRST)
    assert_same(state(step), state(begun(name)), name)


RESTORE = """
import torch
import pyrogen
from step_cases import make
from test_state import answers, flat
found = {{}}
for name in {names!r}:
    step = make(name, 5)
    found[name] = pyrogen.restore({folder!r} + "/" + name, step=step), flat(answers(step), "")
torch.save(found, {folder!r} + "/answers.pt")
"""


def test_answers_in_a_new_process_are_those_of_the_trained_step(tmp_path):
    root = Path(__file__).parents[1]
    names = ("a network in a list", "constrained sites", "AutoMultivariateNormal", "a site that comes late")
    steps = {name: begun(name, 5) for name in names}
    for name, step in steps.items():
        pyrogen.save(tmp_path / name, t=5, step=step)
    path = os.pathsep.join([str(root), str(root / "steps")])
    code = RESTORE.format(names=names, folder=str(tmp_path))
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": path})
    for name, (t, found) in torch.load(tmp_path / "answers.pt").items():
        assert t == 5
        assert_same(found, flat(answers(steps[name]), ""), name)
