"""Every option of a recipe changes what the recipe builds or how it trains, and none is ignored."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
import torch
from pydantic.fields import FieldInfo
from recipe_cases import small, suited
from torch import nn

import pyrogen
from pyrogen.random import scoped_seed
from pyrogen.recipes import RECIPES, TrainingSetup

# What an option needs beside it to have an effect, in any recipe that has the other option, and in one.
BESIDE: dict[str, dict[str, Any]] = {
    "hidden": {"network": "mlp"},
    "width": {"network": "conv"},
    "layers": {"network": "conv"},
    "sigma": {"likelihood": "gaussian"},
    "r1_start": {"r1": 0.1},
    "free_bits": {"warmup": 0},
    "k": {"warmup": 0},
}
NEEDS: dict[tuple[str, str], dict[str, Any]] = {
    ("vae", "components"): {"prior": "vamp"},
    ("vae", "flows"): {"posterior": "planar"},
    ("cvae", "observed"): {"condition": "quadrants"},
    ("cvae", "condition"): {"condition": "quadrants"},
    ("wgan", "penalty"): {"lipschitz": "penalty"},
    ("dcgan", "r1"): {"norm": "layer"},
    **{("gmmn", option): {"loss": "wasserstein"} for option in ("penalty", "critic_steps", "average")},
    ("ppca", "lr"): {"fit": "svi"},
    ("ppca", "steps"): {"fit": "svi"},
}
# Options that are the trainer's: ``batch_size``, and ``steps`` where there is no schedule.
TRAINERS = {(name, "batch_size") for name in RECIPES}
TRAINERS |= {(name, "steps") for name in ("kde", "histogram", "pca")}
# Values that differ from the default where adding one does not serve.
OTHER = {"likelihood": "gaussian", "kernel": 5, "pack": 4, "steps": 100, "points": 100}
USUAL = {"auto": ("conv", "label")}
"""What ``auto`` stands for on digits."""


def another(option: str, field: FieldInfo, value: Any) -> Any:
    """A valid value that is not ``value``."""
    if option in OTHER:
        return OTHER[option]
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
    if choices:
        return next(choice for choice in choices if choice not in (value, "auto", *USUAL.get(value, ())))
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return (*value[:-1], value[-1] + 4)
    if isinstance(value, str):
        return 0.25  # "learned"
    if isinstance(value, int):
        return value * 2 if option == "prior_width" else value + 1
    return value / 2 if value else 0.25


def behaviour(setup: TrainingSetup) -> dict[str, Any]:
    """What a setup is: the shapes of its weights, two steps' logs, the weights after them, and learning rates."""
    steps = [setup.step, *getattr(setup.step, "steps", {}).values()]
    steps += [step.game for step in steps if hasattr(step, "game")]
    data = setup.data.train
    batch = data.read(slice(0, 12), torch.Generator().manual_seed(0))
    with scoped_seed(1):
        logs = [dict(row) for _, row in pyrogen.fit(setup.step, data, steps=2, batch_size=12)]
    batch = data.read(slice(0, 12), torch.Generator().manual_seed(0))
    rates = [
        [schedule.lr_lambdas[0](t) for t in (0, 1, 5, 50)]
        for step in steps
        for schedule in (getattr(step, "schedule", None), *getattr(step, "schedules", {}).values())
        if schedule is not None
    ]
    return {
        "weights": {name: (tuple(t.shape), float(t.double().sum())) for name, t in setup.model.state_dict().items()},
        "logs": [{name: float(value) for name, value in row.items()} for row in logs],
        "rates": rates,
        "average": setup.average,
        "batch": [float(part.double().sum()) for part in batch],
        "settings": [settings(step) for step in steps],
    }


def settings(step: Any) -> dict[str, Any]:
    """Plain values and functions of time that a step holds."""
    found = {name: value for name, value in vars(step).items() if isinstance(value, int | float | str)}
    for name in ("critic_steps", "penalty_schedule"):
        function = getattr(step, name, None)
        if callable(function):
            found[name] = [function(t) for t in (0, 1, 30)]
    loss = getattr(step, "loss", None)
    if isinstance(loss, nn.Module):
        found["loss"] = type(loss).__name__, {k: str(v) for k, v in vars(loss).items() if not k.startswith("_")}
    return found


def build(name: str, options: dict[str, Any]) -> TrainingSetup:
    with scoped_seed(0):
        return RECIPES[name](suited(name), **options)


def cases() -> Iterator[tuple[str, str]]:
    for name, recipe in RECIPES.items():
        yield from ((name, option) for option in recipe.schema.model_fields)


SEEN: dict[str, dict[str, Any]] = {}
"""The behaviour of a recipe by its options: most cases share one."""


def usual(name: str, options: dict[str, Any]) -> dict[str, Any]:
    key = f"{name} {options}"
    if key not in SEEN:
        SEEN[key] = behaviour(build(name, options))
    return SEEN[key]


@pytest.mark.parametrize(("name", "option"), [case for case in cases() if case not in TRAINERS])
def test_an_option_changes_what_is_built(name, option):
    fields = RECIPES[name].schema.model_fields
    beside = {key: value for key, value in BESIDE.get(option, {}).items() if key in fields}
    options = small(name) | beside | NEEDS.get((name, option), {})
    field = fields[option]
    value = options.get(option, field.default)
    other = options | {option: another(option, field, value)}
    assert behaviour(build(name, other)) != usual(name, options), (options, other)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_of_its_options_and_the_seed(name):
    assert behaviour(build(name, small(name))) == behaviour(build(name, small(name)))
