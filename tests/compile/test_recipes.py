"""Compiled and eager training of every recipe log the same numbers.

PYROGEN_DATA=… pytest tests/compile/test_recipes.py -m slow -n 0 -s   # 200 steps, minutes
"""

import pytest
import torch

from pyrogen.recipes import RECIPES
from pyrogen.training import build, configure
from pyrogen.training.loop import fit

DATA = {
    "vqvae": "digits",
    "histogram": "ring",
    "made": "digits-binary",
    "realnvp": "digits-logit",
    "maf": "digits-logit",
}
OPTIONS = {
    "gaussian": {"covariance": "diagonal"},
    "wgan": {"hidden": (32,)},
    "dcgan": {"width": 8},
    "gan": {"r1": 0.01, "r1_start": 1.0},
    "iwae": {"hidden": (32,)},
    "spline": {"bins": 32},
}
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
    """Return the logs of every step of an eager and a compiled run; none for recipes that do not compile."""
    compiled, step = losses(name, True, steps)
    if not getattr(step, "compile", False):
        return {}  # fitted in closed form, or never compiled
    eager, _ = losses(name, False, steps)
    keys = [key for key in eager[-1] if key.endswith("loss")]
    return {key: [torch.stack([row[key] for row in rows if key in row]) for rows in (compiled, eager)] for key in keys}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_compiled_recipe_is_the_eager_one(name, caplog):
    for got, expected in both(name, STEPS).values():
        torch.testing.assert_close(got, expected, rtol=LOOSER.get(name, 1e-4), atol=1e-4)
    assert not [r for r in caplog.records if "eagerly" in r.getMessage()]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_200_steps_stay_together(name):
    for key, (got, expected) in both(name, 200).items():
        apart = (got - expected).abs() / expected.abs().clamp_min(1)
        print(f"{name}, {key}: {float(apart.max()):.1e} at most, {float(apart[-1]):.1e} at step 200")
        assert apart.max() < AMPLIFIED.get(name, 1e-4)
