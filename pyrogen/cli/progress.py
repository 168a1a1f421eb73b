"""Progress on standard error: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from pyrogen.errors import printable
from pyrogen.report.formatting import format_duration
from pyrogen.training.trainer import Watcher

if TYPE_CHECKING:
    from pyrogen.measure.annealing import Annealing

LINE_SECONDS = 5.0
"""The minimum interval between lines if the output is not a terminal, in seconds."""


@contextmanager
def progress_display(title: str, steps: int, console: Console) -> Iterator[Watcher]:
    """Return a watcher for ``training.train`` that shows the step, the losses and the speed of a run.

    Args:
        title: the description of the run.
        steps: the number of steps; 0 where it is not known.
        console: the console to print on.
    """
    if not console.is_terminal:
        if not steps:
            console.print(printable(title), soft_wrap=True)
        yield _LineProgress(title, steps, console)
        return
    whole = Column(no_wrap=True, min_width=min(len(title), 40))  # long logs are cut, and not the title
    columns = (
        TextColumn("{task.description}", markup=False, table_column=whole),
        BarColumn(),
        *((MofNCompleteColumn(),) if steps else ()),
        TextColumn("{task.fields[logs]}", markup=False),
        *((TimeRemainingColumn(),) if steps else ()),
    )
    with Progress(*columns, console=console) as bar:
        console.show_cursor()  # a process that is killed cannot show it again
        task = bar.add_task(title, total=steps or None, logs="")
        yield lambda row: bar.update(task, completed=row["t"], logs=_summary(row, steps))


def annealing_settings(folder: Path, gap: float | None, minutes: float | None) -> "Annealing":
    """Settings of annealed importance sampling that is kept in ``folder`` and prints each unit of work as a line."""
    from pyrogen.cli.console import given_options, message
    from pyrogen.measure.annealing import Annealing

    given = given_options(gap=gap, minutes=minutes)
    return Annealing(**given, folder=folder, show=lambda progress: message(f"ais: {progress.text}"))


class _LineProgress:
    def __init__(self, title: str, steps: int, console: Console) -> None:
        self.title, self.steps, self.console, self.last = title, steps, console, 0.0

    def __call__(self, row: dict[str, float]) -> None:
        now = time.monotonic()
        if row["t"] == self.steps or now - self.last > LINE_SECONDS:
            self.last = now
            count = f"step {row['t']:,.0f}/{self.steps:,}  " if self.steps else ""
            text = f"{self.title}  {count}{_summary(row, self.steps)}"
            self.console.print(printable(text), soft_wrap=True)


def _summary(row: dict[str, float], steps: int) -> str:
    """What a row says beside its step, and that where the number of steps is not known; what matters most first."""
    quiet = ("t", "seconds", "examples_per_second", "seconds_left")
    parts = [] if steps else [f"step {row['t']:,.0f}"]
    if "seconds_left" in row:
        parts.append(f"all models: {format_duration(row['seconds_left'])} left")
    parts += [f"{name} {value:.4g}" for name, value in row.items() if name not in quiet]
    return "  ".join([*parts, f"{row['examples_per_second']:,.0f} examples/s"])
