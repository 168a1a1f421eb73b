"""Direct labels of a plot that overlap neither each other nor what is drawn."""

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Box = tuple[float, float, float, float]
"""Left, bottom, right and top in pixels of the figure."""

_SIZE = 8.5  # points
_DISTANCES = (5, 12, 20, 30, 42, 56, 72, 90, 110)  # between a point and its label, in pixels
_SIDES = ((1, 0), (1, 1), (1, -1), (-1, 0), (-1, 1), (-1, -1), (0, 1), (0, -1))
_LEADER = 12  # from this distance on a line joins them
_MARKER = 5.0  # half the side of a marker, in pixels


class Labels:
    """Places of labels in the axes of a figure whose layout is final.

    Args:
        figure: the figure.
        stack: its axes, from left to right.
    """

    def __init__(self, figure: "Figure", stack: list[Any]) -> None:
        boxes = [axes.get_window_extent() for axes in stack]
        self.figure = figure
        self.frame = (boxes[0].x0 + 2, boxes[0].y0 + 2, boxes[-1].x1, boxes[0].y1)
        gaps = pairwise(boxes)
        self.taken: list[Box] = [(one.x1, one.y0, other.x0 + 1, one.y1) for one, other in gaps]

    def block_point(self, axes: Any, x: float, y: float) -> None:
        """Keep labels off a marker."""
        px, py = axes.transData.transform((x, y))
        self.taken.append((px - _MARKER, py - _MARKER, px + _MARKER, py + _MARKER))

    def block_line(self, axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Keep labels off a horizontal or vertical line."""
        (x0, y0), (x1, y1) = axes.transData.transform([start, end])
        self.taken.append((min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1))

    def place(self, text: str, axes: Any, x: float, y: float, colour: str) -> None:
        """Write a label beside a point, and join them by a line if it does not fit next to it."""
        px, py = axes.transData.transform((x, y))
        artist, width, height = self._measure(text, colour)
        places = [
            (d, (px + i * (d + width / 2) - width / 2, py + j * (d + height / 2) - height / 2))
            for d in _DISTANCES
            for i, j in _SIDES
        ]
        found = self._settle(artist, width, height, [place for _, place in places])
        distance = next(d for d, place in places if place == found)
        if distance >= _LEADER:
            near_x = min(max(px, found[0]), found[0] + width)
            near_y = min(max(py, found[1]), found[1] + height)
            self._leader((px, py), (near_x, near_y), colour)

    def along(self, axes: Any, y: float, text: str, colour: str) -> None:
        """Write a label above or below a horizontal line, as far left as it fits."""
        artist, width, height = self._measure(text, colour)
        py = axes.transData.transform((0.5, y))[1]
        steps = range(int(self.frame[0]) + 2, int(self.frame[2] - width), 6)
        self._settle(artist, width, height, [(left, bottom) for left in steps for bottom in (py + 2, py - height - 2)])

    def _measure(self, text: str, colour: str) -> tuple["Text", float, float]:
        artist = self.figure.text(0, 0, text, fontsize=_SIZE, color=colour, va="bottom", zorder=4)
        box = artist.get_window_extent()
        return artist, box.width, box.height

    def _settle(
        self, artist: "Text", width: float, height: float, places: Iterable[tuple[float, float]]
    ) -> tuple[float, float]:
        """Move a label to the first free place, or to the one with the least overlap."""

        def cost(place: tuple[float, float]) -> float:
            box = (place[0], place[1], place[0] + width, place[1] + height)
            left, bottom, right, top = self.frame
            outside = max(left - box[0], 0) + max(bottom - box[1], 0) + max(box[2] - right, 0) + max(box[3] - top, 0)
            return 1e4 * outside + sum(_overlap(box, other) for other in self.taken)

        found = min(places, key=cost)  # the first of equal cost
        artist.set_position(self._in_figure(found))
        self.taken.append((found[0] - 1, found[1], found[0] + width + 1, found[1] + height))
        return found

    def _leader(self, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        from matplotlib.lines import Line2D

        (x0, y0), (x1, y1) = start, end
        ends = zip(self._in_figure(start), self._in_figure(end), strict=True)
        self.figure.add_artist(Line2D(*map(list, ends), color=colour, linewidth=0.6))
        for k in range(1, 20):
            x, y = x0 + (x1 - x0) * k / 20, y0 + (y1 - y0) * k / 20
            self.taken.append((x - 1, y - 1, x + 1, y + 1))

    def _in_figure(self, place: tuple[float, float]) -> tuple[float, float]:
        """A place in pixels as shares of the figure, which hold for any resolution that it is written with."""
        x, y = self.figure.transFigure.inverted().transform(place)
        return float(x), float(y)


def _overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return across * up if across > 0 and up > 0 else 0.0
