"""One function for each model of the command line; its signature is the model's configuration.

All modules of this package are imported here; the decorator of each recipe registers it.
"""

from importlib import import_module
from pkgutil import iter_modules

from pyrogen.recipes.registry import RECIPES, Recipe, recipe, register
from pyrogen.recipes.setup import TrainingSetup

__all__ = ["RECIPES", "Recipe", "TrainingSetup", "recipe", "register"]

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
