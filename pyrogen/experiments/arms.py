"""Arms of experiments that take recipes by name: budgets of steps, and sizes of the training data."""

from math import sqrt
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.experiments.registry import Arm
from pyrogen.recipes import recipe
from pyrogen.recipes.options import Integers, split_values

Models = Annotated[
    tuple[str, ...],
    BeforeValidator(split_values),
    Field(min_length=1, description="names of recipes, at their own options"),
]
Sizes = Annotated[
    Integers | Literal["auto"],
    Field(description="numbers of training data; `auto`: 100, all, and their geometric mean"),
]
FEWEST = 100
"""The fewest training data of ``auto``."""


def budget_arms(models: tuple[str, ...], budgets: tuple[int, ...], batch_size: int, rows: int | None) -> list[Arm]:
    """Each model at each number of steps, with batches of at most ``rows``; one that is fitted in closed form once."""
    arms = []
    for name in models:
        for steps in (1,) if in_closed_form(name) else budgets:
            options = {"steps": steps, "batch_size": min(batch_size, rows or batch_size)}
            arms.append(Arm(f"{name}-{steps}", name, options, rows, line=name, at=steps))
    return arms


def size_arms(
    models: tuple[str, ...], sizes: tuple[int, ...] | str, data: Dataset, budget: dict[str, Any]
) -> list[Arm]:
    """Each model at each number of training data, with batches of at most as many.

    Args:
        models: names of recipes.
        sizes: the numbers, or ``auto``.
        data: the data set.
        budget: ``steps`` and ``batch_size``.

    Raises:
        ConfigError: for more training data than there are.
    """
    n = len(data.train)
    chosen = auto_sizes(n) if isinstance(sizes, str) else tuple(sorted(set(sizes)))
    if chosen[-1] > n:
        raise ConfigError(f"sizes must be at most {n:,}, the training data of {data.name!r}; got {chosen[-1]:,}")
    arms = []
    for name in dict.fromkeys(models):
        steps = {"steps": 1} if in_closed_form(name) else {}
        for size in chosen:
            options = {**budget, **steps, "batch_size": min(budget["batch_size"], size)}
            arms.append(Arm(f"{name}-{size}", name, options, size, line=name, at=size))
    return arms


def auto_sizes(n: int) -> tuple[int, ...]:
    """100, n, and their geometric mean; n alone if it is not above 100."""
    return (FEWEST, round(sqrt(FEWEST * n)), n) if n > FEWEST else (n,)


def in_closed_form(name: str) -> bool:
    """Whether one step fits the recipe called ``name``."""
    default: int = recipe(name).schema.model_fields["steps"].default
    return default == 1
