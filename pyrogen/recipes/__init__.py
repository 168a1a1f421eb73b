"""One function for each model of the command line; its signature is the model's configuration.

Every module of this room is imported here, and each of its recipes enters the registry by its decorator.
"""

from importlib import import_module
from pkgutil import iter_modules

from pyrogen.recipes.registry import RECIPES, Recipe, recipe, register
from pyrogen.recipes.setup import TrainingSetup

__all__ = ["RECIPES", "Recipe", "TrainingSetup", "recipe", "register"]

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
