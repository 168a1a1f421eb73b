"""The registry of recipes; the decorator declares a model's family, kind of likelihood and title."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from pyrogen.data.dataset import Dataset
from pyrogen.errors import unknown
from pyrogen.recipes.options import Option, bind, options_of, schema_of
from pyrogen.recipes.setup import TrainingSetup

Family = Literal["explicit", "implicit", "reconstruction"]
Likelihood = Literal["exact", "lower bound", "none"]

Built = TypeVar("Built")

RECIPES: "dict[str, Recipe]" = {}
"""All recipes by the name of their model, in the order in which their modules are imported."""


@dataclass(frozen=True)
class Buildable(Generic[Built]):
    """A function of a data set and options, such as a recipe, with the schema of its options.

    Args:
        build: the decorated function ``(data, *, option=default, …)``.
    """

    build: Callable[..., Built]

    def __call__(self, data: Dataset, **options: Any) -> Built:
        """What it builds.

        Raises:
            ConfigError: for an unknown option, a value outside its limits, or data that are not supported.
        """
        return self.build(data, **self.bind(options))

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return self.build.__name__.replace("_", "-")

    @cached_property
    def schema(self) -> type[BaseModel]:
        """The pydantic model of its options."""
        return schema_of(self.build)

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options, given ones converted and validated; raises ``ConfigError`` naming every fault."""
        return bind(self.schema, given, self.name)


@dataclass(frozen=True)
class Recipe(Buildable[TrainingSetup]):
    """A function that builds a model for a data set and the step that trains it, ``recipe(data, **options)``.

    Args:
        build: the decorated function ``(data, *, option=default, …)``.
        family: ``explicit`` for a model with a likelihood, ``implicit`` for one that only samples, ``reconstruction``
            for an autoencoder, which has neither a likelihood nor samples.
        likelihood: the kind of its log-likelihood: ``exact``, ``lower bound`` or ``none``.
        title: a description of the model in one line.
        example: the name of a small data set on which it can be trained.
    """

    family: Family
    likelihood: Likelihood
    title: str
    example: str = "digits"

    @property
    def options(self) -> list[Option]:
        """Its options, with defaults, limits and meanings."""
        return options_of(self.schema)


def register(
    family: Family, likelihood: Likelihood, title: str, example: str = "digits"
) -> Callable[[Callable[..., TrainingSetup]], Recipe]:
    """A decorator that makes a function a ``Recipe`` and adds it to ``RECIPES``; arguments as for ``Recipe``."""

    def enter(build: Callable[..., TrainingSetup]) -> Recipe:
        entry = Recipe(build, family, likelihood, title, example)
        RECIPES[entry.name] = entry
        return entry

    return enter


def recipe(name: str) -> Recipe:
    """The recipe called ``name``; raises ``ConfigError`` with the nearest name if there is none."""
    if name not in RECIPES:
        raise unknown("model", name, RECIPES)
    return RECIPES[name]
