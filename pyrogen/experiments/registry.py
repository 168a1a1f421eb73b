"""What an experiment is: models that differ in one thing, how each is scored, and what the scores say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyrogen.data.dataset import Dataset
from pyrogen.errors import unknown
from pyrogen.recipes.registry import Buildable

EXPERIMENTS: "dict[str, Experiment]" = {}
"""All experiments by name, in the order in which their modules are imported."""
Entry = dict[str, Any]
"""The scores of one model, as ``comparison.Scorer`` returns them: ``scores`` by name, and whatever belongs to them."""
Card = Mapping[str, Any]
"""The results of an experiment, as in ``results.json``."""
ScoreModel = Callable[[Any, Dataset], Entry]
"""``score(model, data)``, the entry of a trained model, given the data that it was trained on."""


@dataclass(frozen=True)
class Arm:
    """One model of an experiment, trained on every seed.

    Args:
        name: its name in tables, and of its run folders.
        recipe: the name of its recipe.
        options: those of the recipe that differ from its defaults.
        rows: how many training data it sees, those first in a random order of the seed; all by default.
        line: what it has in common with other arms: they are one line in a plot.
        at: its place along that line, such as the number of rows or steps; ``None`` where arms are no line.
    """

    name: str
    recipe: str
    options: Mapping[str, Any]
    rows: int | None = None
    line: str = ""
    at: float | None = None


def no_anchors(scorers: Mapping[int, Any]) -> dict[str, Any]:
    """No reference rows."""
    return {}


@dataclass(frozen=True)
class Plan:
    """An experiment on a data set.

    Args:
        arms: the models.
        scorer: ``scorer(data, part, seed)``, called once for each seed and size of the training data, with the whole
            data and those with that many training data; what it returns scores each model.
        columns: the names of the scores in the table.
        findings: sentences that the results support, computed from them.
        figures: plots of the results as SVG, by title.
        anchors: reference rows, given the scorers by seed.
        compared: the names of the arms whose differences are tested in pairs; all by default.
    """

    arms: Sequence[Arm]
    scorer: Callable[[Dataset, Dataset, int], ScoreModel]
    columns: Sequence[str]
    findings: Callable[[Card], list[str]]
    figures: Callable[[Card], dict[str, str]]
    anchors: Callable[[Mapping[int, Any]], dict[str, Any]] = no_anchors
    compared: Sequence[str] | None = None


@dataclass(frozen=True)
class Experiment(Buildable[Plan]):
    """A function that plans an experiment on a data set, ``plan(data, **options)``.

    Args:
        build: the decorated function ``(data, *, option=default, …)``.
        question: what it asks, in one sentence.
        differs: the one thing in which its models differ.
        example: the name of the data set that it takes by default.
    """

    question: str
    differs: str
    example: str = "digits"


def register(question: str, differs: str, example: str = "digits") -> Callable[[Callable[..., Plan]], Experiment]:
    """A decorator that makes a function an ``Experiment`` and adds it to ``EXPERIMENTS``; arguments as for it."""

    def enter(build: Callable[..., Plan]) -> Experiment:
        entry = Experiment(build, question, differs, example)
        EXPERIMENTS[entry.name] = entry
        return entry

    return enter


def experiment_called(name: str) -> Experiment:
    """The experiment called ``name``; raises ``ConfigError`` with the nearest name if there is none."""
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]
