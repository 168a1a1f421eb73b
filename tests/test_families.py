"""Every family passes the public checks in either precision: each recipe, and each user's one file in ``own``."""

import importlib.util
from functools import partial
from pathlib import Path

import pytest
from recipe_cases import by_label, of, small, suited
from torch import nn

import pyrogen
from pyrogen.random import scoped_seed
from pyrogen.recipes import RECIPES
from pyrogen.testing import check_family

NETWORKS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
OWN = {path.stem: path for path in (Path(__file__).parent / "own").glob("*.py")}
DENSITIES = [name for name in of(likelihood="exact") if "condition" in RECIPES[name].schema.model_fields]
LABELLED = [name for name in RECIPES if by_label(name) is not None]
CONVOLUTIONAL = [name for name in of(family="implicit") if "layers" in RECIPES[name].schema.model_fields]


def family(name):
    """What makes a recipe or a user's own family, and the data it is made for."""
    if name in RECIPES:
        return partial(RECIPES[name], **small(name)), suited(name)
    spec = importlib.util.spec_from_file_location(name, OWN[name])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make, pyrogen.load("digits")


@pytest.mark.parametrize("name", DENSITIES)
def test_a_conditional_density_keeps_its_promises(name):
    make, data = family(name)
    check_family(partial(make, condition="label"), data)


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("name", [*RECIPES, *OWN])
def test_the_family_keeps_its_promises(name, precision):
    check_family(*family(name), precision)


@pytest.mark.parametrize("name", RECIPES)
def test_mixed_precision_reaches_the_networks(name):
    make, data = family(name)
    logs = []
    for precision in ("32", "bf16"):
        with scoped_seed(0):
            setup = make(data)
        logs += [[dict(row) for _, row in pyrogen.fit(setup.step, setup.data.train, steps=2, precision=precision)]]
    if any(isinstance(module, NETWORKS) for module in setup.model.modules()):
        assert logs[0] != logs[1]


@pytest.mark.parametrize("name", LABELLED)
def test_labels_are_drawn_as_often_as_they_occur(name):
    data = pyrogen.load("digits")
    model = RECIPES[name](data, **small(name), **by_label(name)).model
    assert model.condition.probs[7].item() == pytest.approx(float((data.train.y == 7).float().mean()), rel=1e-4)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_players_are_as_deep_as_asked(name):
    model = RECIPES[name](pyrogen.load("digits"), **small(name), layers=3).model
    for player, kind in ((model.generator, nn.ConvTranspose2d), (model.critic, nn.Conv2d)):
        assert sum(isinstance(layer, kind) for layer in player.modules()) == 3
    assert model.sample(2).shape == (2, 1, 8, 8)
