"""The models of a comparison as they are written: recipes with settings, ``vae:latent=8``, and run folders."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from itertools import product
from math import prod
from pathlib import Path

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError, DataError, RunError, unknown
from pyrogen.recipes import RECIPES, recipe
from pyrogen.recipes.options import parse_pairs
from pyrogen.training.opened import Opened
from pyrogen.training.opened import open as open_run
from pyrogen.training.resume import changed_since
from pyrogen.training.run import CONFIG

MOST_MODELS = 100
"""The most models of a sweep."""
LONGEST = 100
"""The most characters of the name of a model that the name of a folder has."""


@dataclass(frozen=True)
class ModelSpec:
    """One model of a comparison: a recipe with settings, or a run folder.

    Args:
        given: as it is written; a path is absolute.
        name: what it is called in the comparison.
        recipe: the name of the recipe; ``None`` for a run folder.
        options: the settings, as text.
    """

    given: str
    name: str
    recipe: str | None
    options: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def opened(self) -> Opened:
        """What a run folder holds.

        Raises:
            RunError: if it holds nothing that pyrogen wrote.
        """
        return open_run(self.given)

    @property
    def folder_name(self) -> str:
        """A name for a folder in any file system."""
        safe = re.sub(r"[^\w.,=+-]", "-", self.name)
        return safe if len(safe) <= LONGEST else f"{safe[:LONGEST]}-{sha256(self.name.encode()).hexdigest()[:8]}"


def read_spec(given: str) -> ModelSpec:
    """A model as it is written, ``vae:latent=8:hidden=64,32`` or ``runs/vae``.

    The name of a recipe comes before a folder of the same name.

    Raises:
        ConfigError: naming every fault of the settings, or if there is neither such a recipe nor such a folder.
    """
    name, *settings = given.split(":")
    if name in RECIPES:
        options = parse_pairs(settings, f"a setting of {given!r}")
        if "steps" in options:
            raise ConfigError(f"{given!r}: steps are the budget of all models, which the comparison is given")
        recipe(name).bind(options)
        return ModelSpec(given, given, name, options)
    path = os.path.abspath(Path(given).expanduser())
    if os.sep not in given and not os.path.isfile(os.path.join(path, CONFIG)):
        raise unknown("model", name, RECIPES)
    return ModelSpec(path, Path(path).name, None)


def grid(model: str, settings: Iterable[str]) -> list[str]:
    """The models of a sweep: a recipe with each combination of the values of its settings.

    >>> grid("vae", ["latent=8,16", "lr=0.001"])
    ['vae:latent=8:lr=0.001', 'vae:latent=16:lr=0.001']

    Args:
        model: the name of the recipe.
        settings: as for ``--set``, with several values after ``=`` separated by commas, or the same name several times.
            A setting whose value is itself a list, such as ``hidden``, has one value in each.

    Raises:
        ConfigError: for an unknown model or option, more than ``MOST_MODELS`` models, or a single one.
    """
    options = recipe(model).schema.model_fields
    values: dict[str, list[str]] = {}
    for setting in settings:
        ((name, value),) = parse_pairs([setting], "--set").items()
        is_list = name in options and isinstance(options[name].default, tuple)
        values.setdefault(name, []).extend([value] if is_list else value.split(","))
    count = prod(len(each) for each in values.values())
    if not 1 < count <= MOST_MODELS:
        raise ConfigError(
            f"a sweep has 2 to {MOST_MODELS} models, one for each combination of values as in --set latent=8,16; "
            f"got {count:,}"
        )
    return [
        ":".join([model, *(f"{name}={value}" for name, value in zip(values, chosen, strict=True))])
        for chosen in product(*values.values())
    ]


def read_specs(models: Iterable[str]) -> list[ModelSpec]:
    """Models as they are written, each once; run folders are called by as many last parts of their paths as differ.

    Raises:
        ConfigError: as ``read_spec``.
    """
    specs = list({spec.given: spec for spec in map(read_spec, models)}.values())
    counts = Counter(name for spec in specs for name in _names(spec))
    return [
        replace(spec, name=next((name for name in _names(spec) if counts[name] == 1), spec.given)) for spec in specs
    ]


def _names(spec: ModelSpec) -> list[str]:
    """What a model can be called: a recipe as it is written, a run folder by the last parts of its path, or by all."""
    if spec.recipe is not None:
        return [spec.given]
    parts = Path(spec.given).parts
    return ["/".join(parts[-n:]) for n in range(1, len(parts))] + [spec.given]


def check_run(spec: ModelSpec, data: Dataset) -> None:
    """Raise unless the model of a run folder was trained on the training rows of ``data``, in their space.

    Raises:
        ConfigError: if it was trained in another space.
        DataError: if it was trained on other data, or on another split of them.
        RunError: if the folder holds no trained run.
    """
    opened, here = spec.opened, f"this comparison is of {data.name}, a {data.space}"
    config, known = opened.config, opened.description
    if not opened.t:
        raise RunError(f"{spec.given} is not trained yet")
    if (known.shape, known.space) != (data.shape, data.space):
        raise ConfigError(f"{spec.given} was trained on {known.name}, a {known.space}; {here}: not comparable")
    change = changed_since(config, data)
    if change is not None:
        raise DataError(
            f"{spec.given} was trained on other data than {data.name}, or on another split (its seed is "
            f"{config.seed}): {change}"
        )
