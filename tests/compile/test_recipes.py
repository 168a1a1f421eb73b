"""Compiled and eager training of every recipe log the same numbers.

PYROGEN_DATA=… pytest tests/compile/test_recipes.py -m slow -n 0 -s   # 200 steps, minutes
"""

import pytest
import torch

from pyrogen import AdversarialGame
from pyrogen.compile.verified import VerifiedFunction
from pyrogen.recipes import RECIPES
from pyrogen.steps.sequential import Pretraining, SequentialSteps
from pyrogen.training import build, configure
from pyrogen.training.loop import fit

DATA = {
    "vqvae": "digits",
    "histogram": "ring",
    "made": "digits-binary",
    "realnvp": "digits-logit",
    "maf": "digits-logit",
    # Convolutions are compiled with dcgan and sngan.
    "packed-gan": "ring",
    "relativistic-gan": "ring",
    "wgan-gp": "ring",
}
OPTIONS = {
    "gaussian": {"covariance": "diagonal"},
    "wgan": {"hidden": (32,), "critic_steps": 2},
    "wgan-gp": {"hidden": (32,), "critic_steps": 2},
    "dcgan": {"width": 8},
    "gan": {"r1": 0.01, "r1_start": 1.0},
    "iwae": {"hidden": (32,)},
    "spline": {"bins": 32},
    "packed-gan": {"hidden": (32,)},
    "relativistic-gan": {"hidden": (32,)},
    "vaegan": {"network": "mlp", "hidden": (32,)},
}
EAGER = {
    "histogram": "fitted in closed form",
    "kde": "fitted in closed form",
    "pca": "fitted in closed form",
    "ppca": "fitted in closed form",
    "vqvae": "codes that tie are told apart by the last bit",
    "vqvae2": "codes that tie are told apart by the last bit",
}
"""Recipes whose steps are never compiled, and why."""
COMPILED = sorted(set(RECIPES) - set(EAGER))
STEPS = 25
# Where a gradient is zero but for rounding, Adam makes a whole step of the rounding.
# Which bin of a spline a value falls into is a step as well.
LOOSER = {"ladder-vae": 1e-3, "spline": 1e-2}
# In 200 steps a game, or a spline's bins, make of a difference in the last bit one that is seen.
AMPLIFIED = {"gan": 0.1, "cgan": 0.01, "sngan": 0.01, "spline": 0.05}


def losses(name, compile, steps):
    options = {"batch_size": 32, "steps": steps} | OPTIONS.get(name, {})
    config = configure(name, DATA.get(name, "digits"), compile=compile, options=options)
    setup = build(config)
    logs = [dict(row) for _, row in fit(setup.step, setup.data.train, steps=steps, batch_size=32)]
    return logs, setup.step


def both(name, steps):
    """Return the logs of every step of an eager and a compiled run, by name, and the compiled step."""
    compiled, step = losses(name, True, steps)
    eager, _ = losses(name, False, steps)
    keys = [key for key in eager[-1] if key.endswith("loss")]
    logs = {key: [torch.stack([row[key] for row in rows if key in row]) for rows in (compiled, eager)] for key in keys}
    return logs, step


def graph_calls(step):
    """How often each function of a step is computed by a graph in ``STEPS`` steps: not in its first call."""
    if isinstance(step, Pretraining):
        return sorted([step.until - 1, STEPS - step.until - 1])
    if isinstance(step, SequentialSteps):
        return sorted(n for part in step.steps.values() for n in graph_calls(part))
    if isinstance(step, AdversarialGame):
        return sorted([STEPS - 1, STEPS // step.critic_steps - 1])  # the critic's loss and the generator's
    return [STEPS - 1] if getattr(step, "compile", False) else []


@pytest.fixture
def calls(monkeypatch):
    """For each function that a step may compile: whether a graph computed it, in each call."""
    given: dict[VerifiedFunction, list[bool]] = {}
    call = VerifiedFunction.__call__

    def watched(self, *args, **kwargs):
        found = call(self, *args, **kwargs)
        given.setdefault(self, []).append(found is not None)
        return found

    monkeypatch.setattr(VerifiedFunction, "__call__", watched)
    return given


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_recipe_is_the_eager_one(name, calls):
    logs, step = both(name, STEPS)
    assert "loss" in logs or {"critic_loss", "generator_loss"} <= logs.keys()
    for got, expected in logs.values():
        torch.testing.assert_close(got, expected, rtol=LOOSER.get(name, 1e-4), atol=1e-4)
    assert sorted(len(graphs) for graphs in calls.values()) == graph_calls(step)
    assert calls
    assert all(all(graphs) for graphs in calls.values())


@pytest.mark.parametrize("name", EAGER)
def test_the_other_recipes_are_never_compiled(name, calls):
    _, step = losses(name, True, 3)
    assert not getattr(step, "compile", False)
    assert not calls


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_200_steps_stay_together(name):
    for key, (got, expected) in both(name, 200)[0].items():
        apart = (got - expected).abs() / expected.abs().clamp_min(1)
        print(f"{name}, {key}: {float(apart.max()):.1e} at most, {float(apart[-1]):.1e} at step 200")
        assert apart.max() < AMPLIFIED.get(name, 1e-4)
