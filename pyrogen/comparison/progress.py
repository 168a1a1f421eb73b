"""Where a comparison stands: the number of the model, and the time left for all of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import mean

from pyrogen.training.config import RunConfig
from pyrogen.training.monitoring.display import Display, Watcher

Show = Callable[[str, int], AbstractContextManager[Watcher | None]]
"""Returns a context manager for the display of one activity, ``show(title, steps)``: the training of a model, with a
watcher for its logged rows, or its scores.

The steps are 0 where their number is not known beforehand: in a budget of seconds, and while scores are computed. A row
has the key ``seconds_left``, the time left for the whole comparison.
"""
ANCHORS = 2
"""The number of reference rows, each of which is scored like a model."""


def announce(show: Show | None, plan: str) -> None:
    """Say what will be done, where the display has lines of text."""
    if isinstance(show, Display):
        show.say(plan)


class Progress:
    """Calls a ``Show`` for each activity of a comparison.

    The time left is extrapolated: the present training by its pace, and each model that has not begun by the mean of
    those that have.

    Args:
        show: the display; none by default.
        models: the number of models.
        seeds: the number of seeds of each.
        processes: how many train models at the same time.
    """

    def __init__(self, show: Show | None, models: int, seeds: int, processes: int = 1) -> None:
        self.show: Show = show or (lambda title, steps: nullcontext())
        self.models, self.seeds, self.processes = models, seeds, processes
        self._begun: list[str] = []
        self._name = ""
        self._trained: list[float] = []
        self._scored: list[float] = []

    def begin(self, name: str) -> None:
        """Go on to a model."""
        self._begun += [] if name in self._begun else [name]
        self._name = name

    def done(self, trained: float, scored: float) -> None:
        """Note the seconds that the training and the scores of a model took with one seed."""
        self._trained.append(trained)
        self._scored.append(scored)

    @contextmanager
    def training(self, seed: int, config: RunConfig) -> Iterator[Watcher | None]:
        """Show the training of the present model."""
        steps = 0 if config.seconds is not None else config.options["steps"]
        with self.show(self._title(seed), steps) as watch:
            yield None if watch is None else self._watcher(watch, config)

    @contextmanager
    def scoring(self, seed: int) -> Iterator[Callable[[], float]]:
        """Show that the present model is scored; yield a function that returns the seconds since."""
        began = time.perf_counter()
        with self.show(f"{self._title(seed)}: scores", 0):
            yield lambda: time.perf_counter() - began

    def anchors(self) -> AbstractContextManager[Watcher | None]:
        """Show that the anchors are scored."""
        return self.show("anchors: scores", 0)

    def _title(self, seed: int) -> str:
        return f"model {self._begun.index(self._name) + 1} of {self.models}: {self._name}" + (
            f", seed {seed}" if self.seeds > 1 else ""
        )

    def _watcher(self, watch: Watcher, config: RunConfig) -> Watcher:
        def row_with_time_left(row: dict[str, float]) -> None:
            used, t = row["seconds"], row["t"]
            total = used * config.options["steps"] / t if config.seconds is None else config.seconds
            watch({**row, "seconds_left": round(self._left(total - used, total), 1)})

        return row_with_time_left

    def _left(self, training: float, total: float) -> float:
        """The seconds left, with so many of a total for the present training."""
        after = (self.models * self.seeds - len(self._trained) - 1) / self.processes
        scores = mean(self._scored) if self._scored else 0.0
        to_score = after + 1 + ANCHORS * self.seeds
        return max(training, 0.0) + after * mean([*self._trained, total]) + to_score * scores
