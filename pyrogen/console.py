"""A console that shows texts as they are, whatever characters of a terminal they hold."""

import random
from collections.abc import Iterable
from typing import Any

_before = random.getstate()  # rich draws from Python's generator while it is imported
import rich.progress  # noqa: E402, F401
from rich.console import Console, ConsoleOptions, RenderableType  # noqa: E402
from rich.segment import Segment  # noqa: E402

from pyrogen.errors import printable  # noqa: E402

random.setstate(_before)


class PlainConsole(Console):
    """A console that shows text as it is: without markup, and with escapes for what a terminal would obey.

    Args:
        settings: as for rich's ``Console``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, markup=False, emoji=False, highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render to segments; the control codes of a progress bar are kept, those in texts are not."""
        for text, style, control in super().render(renderable, options):
            lines = text if control else "\n".join(map(printable, text.split("\n")))
            yield Segment(lines, style, control)
