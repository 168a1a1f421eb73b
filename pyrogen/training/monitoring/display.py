"""Progress in one line: a bar on a terminal, a display that is updated in a notebook, lines of text elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text
from torch import Tensor

from pyrogen.console import PlainConsole
from pyrogen.errors import printable
from pyrogen.report.formatting import format_duration

LINE_SECONDS, UPDATE_SECONDS = 5.0, 0.25
"""The minimum intervals between two lines of text, and between two updates of a display, in seconds."""
WIDTH = 80
"""The columns of a terminal that a line of progress fits into, whatever the model and its losses are called."""
REST = 54
"""The columns that bar, count, time left and loss take at ``WIDTH``; the title has the others."""
UNSEEN = ("t", "seconds", "examples_per_second", "seconds_left")


class Watcher(Protocol):
    """A callback for every logged row, such as a progress bar."""

    def __call__(self, row: dict[str, float], /) -> None:
        """Show ``{"t": …, "loss": …, "examples_per_second": …}``."""
        ...


class Display:
    """Shows one activity after another, ``with display(title, steps) as watch``, and plain lines by ``say``.

    Args:
        console: where; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or PlainConsole(stderr=True)

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(printable(text), soft_wrap=True)

    @contextmanager
    def __call__(self, title: str, steps: int) -> Iterator[Watcher]:
        """Return a watcher that shows step, time left and loss of a run.

        Args:
            title: the description of the activity.
            steps: the number of steps; 0 where it is not known.
        """
        if self.console.is_jupyter:
            yield _Cell(printable(title), steps)
        elif self.console.is_terminal:
            with _bar(self.console, steps) as bar:
                self.console.show_cursor()  # a process that is killed cannot show it again
                task = bar.add_task(printable(title), total=steps or None, row={})
                yield lambda row: bar.update(task, completed=row["t"], row=row)
        else:
            if not steps:
                self.say(title)
            yield _Lines(title, steps, self)


def _bar(console: Console, steps: int) -> Progress:
    """A line of title, bar, count, time left and loss, of which none is lost in ``WIDTH`` columns."""
    title = Column(no_wrap=True, overflow="ellipsis", max_width=max(console.width, WIDTH) - REST)
    whole = Column(no_wrap=True)
    count = "{task.completed:.0f}/{task.total:.0f}" if steps else "step {task.completed:.0f}"
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=title),
        BarColumn(bar_width=max(8, min(40, (console.width - WIDTH) // 2 + 8))),
        TextColumn(count, table_column=whole),
        _RowColumn(lambda row: _left(row, steps)),
        _RowColumn(main_loss),
        console=console,
    )


class _RowColumn(ProgressColumn):
    """A column with a text of the latest row."""

    def __init__(self, text: Callable[[Mapping[str, float]], str]) -> None:
        super().__init__(Column(no_wrap=True))
        self.text = text

    def render(self, task: Task) -> Text:
        """The text."""
        return Text(self.text(task.fields["row"]))


class _Lines:
    """Lines of text, at most one in ``LINE_SECONDS``, with all scalars."""

    def __init__(self, title: str, steps: int, display: Display) -> None:
        self.title, self.steps, self.display, self.last = title, steps, display, 0.0

    def __call__(self, row: dict[str, float]) -> None:
        now = time.monotonic()
        if row["t"] == self.steps or now - self.last > LINE_SECONDS:
            self.last = now
            count = f"step {row['t']:,.0f}" + (f"/{self.steps:,}" if self.steps else "")
            scalars = (f"{name} {value:.4g}" for name, value in row.items() if name not in UNSEEN)
            left = _left(row, self.steps)
            speed = f"{row['examples_per_second']:,.0f} examples/s" if "examples_per_second" in row else ""
            self.display.say("  ".join(part for part in (self.title, count, left, *scalars, speed) if part))


class _Cell:
    """One output of a notebook, which is updated in place: the file keeps the last state alone."""

    def __init__(self, title: str, steps: int) -> None:
        from IPython import display

        self.title, self.steps, self.last = title, steps, time.monotonic()
        self.handle: Any = display.display(self._shown({}), raw=True, display_id=True)

    def __call__(self, row: dict[str, float]) -> None:
        now = time.monotonic()
        if row["t"] == self.steps or now - self.last > UPDATE_SECONDS:
            self.last = now
            self.handle.update(self._shown(row), raw=True)

    def _shown(self, row: Mapping[str, float]) -> dict[str, str]:
        t = f"{row.get('t', 0):.0f}"
        count = f"{t}/{self.steps}" if self.steps else f"step {t}"
        text = "  ".join(part for part in (self.title, count, _left(row, self.steps), main_loss(row)) if part)
        bar = f'<progress value="{t}" max="{self.steps}"></progress> ' if self.steps else ""
        return {"text/plain": text, "text/html": f"<pre>{bar}{escape(text)}</pre>"}


def _left(row: Mapping[str, float], steps: int) -> str:
    """The time left: of all models, or of the run by its pace."""
    if "seconds_left" in row:
        return f"{format_duration(row['seconds_left'])} left for all"
    if not steps or not row.get("t") or "seconds" not in row:
        return ""
    return f"{format_duration(row['seconds'] * (steps - row['t']) / row['t'])} left"


def main_loss(row: Mapping[str, float]) -> str:
    """The one loss that matters: that of the step, or of the generator, or the first scalar."""
    names = [name for name in row if name not in UNSEEN]
    chosen = next((name for name in ("loss", "generator_loss") if name in names), next(iter(names), None))
    return "" if chosen is None else f"{printable(chosen.removeprefix('generator_'))} {row[chosen]:.4g}"


def watched(
    loop: Iterator[tuple[int, Mapping[str, Tensor]]], title: str, start: int, steps: int
) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
    """A loop whose progress is shown; scalars are read from the device at every update of the display alone."""
    began = latest = time.monotonic()
    with Display()(title, steps) as watch:
        for t, logs in loop:
            now = time.monotonic()
            if now - latest > UPDATE_SECONDS or t in (start + 1, steps):
                latest = now
                pace = (now - began) / (t - start)
                watch({"t": t, **{name: float(value) for name, value in logs.items()}, "seconds": pace * t})
            yield t, logs
