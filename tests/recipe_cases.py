"""Every recipe with small options and a data set that it suits, so that a test of all families needs no list."""

from typing import Any

import pyrogen
from pyrogen.bench.gpu.small import small
from pyrogen.data import Dataset
from pyrogen.recipes import RECIPES, Recipe
from pyrogen.recipes.options import written

__all__ = ["by_label", "flags", "of", "small", "suited"]


def flags(name: str) -> tuple[str, ...]:
    """``small(name)`` as arguments of the command line."""
    return tuple(part for key, value in small(name).items() for part in ("--set", f"{key}={written(value)}"))


def suited(name: str) -> Dataset:
    """The small data set that the recipe ``name`` suits."""
    return pyrogen.load(RECIPES[name].example)


def of(**wanted: str) -> list[str]:
    """The names of the recipes with these attributes, e.g. ``of(family="explicit", likelihood="exact")``."""

    def has(recipe: Recipe) -> bool:
        return all(getattr(recipe, key) == value for key, value in wanted.items())

    return [name for name, recipe in RECIPES.items() if has(recipe)]


def by_label(name: str) -> dict[str, Any] | None:
    """The options that condition the model on the label; ``None`` if it cannot be."""
    fields = RECIPES[name].schema.model_fields
    if name == "cgan":
        return {}
    for option in ("condition", "prior"):
        if option in fields and "label" in getattr(fields[option].annotation, "__args__", ()):
            return {option: "label"}
    return None
