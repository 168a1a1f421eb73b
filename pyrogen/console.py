"""A console that shows texts as they are, whatever characters of a terminal they hold."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from pyrogen.errors import printable


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
