"""Show images as a grid, and rows of a table as text."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.columns import array_names
from pyrogen.data.shown.image_grid import grid_png
from pyrogen.data.space import Space
from pyrogen.errors import DataError
from pyrogen.files import write_whole
from pyrogen.summary import html_table, text_table

IMAGES, ROWS, COLUMNS = 64, 10, 12
"""The most images, rows and columns of a table that are shown."""


@dataclass(frozen=True, repr=False)
class Shown:
    """A picture, or rows of a table: displayed in a notebook, printed in a terminal, saved by ``save``.

    Args:
        text: what a terminal shows.
        png: the picture; ``None`` for a table.
        html: the table; ``None`` for a picture.
    """

    text: str
    png: bytes | None = None
    html: str | None = None

    def save(self, path: str | Path) -> None:
        """Write the picture as PNG, or the table as text.

        Raises:
            RunError: if the file cannot be written.
        """
        write_whole(path, self.text.encode() if self.png is None else self.png)

    def __repr__(self) -> str:
        return self.text

    def _repr_png_(self) -> bytes | None:
        return self.png

    def _repr_html_(self) -> str | None:
        return self.html


def show(x: Tensor | NDArray[Any], space: Space | None = None, *, n: int | None = None) -> Shown:
    """Show data or samples.

    Args:
        x: images ``(n, c, h, w)`` in [0, 1] with 1 or 3 channels, or rows ``(n, d)``.
        space: the space of the data, if ``x`` is in model coordinates, as ``model.sample`` and a split return them: it
            is shown in the user's units, with the names of columns.
        n: how many; by default up to ``IMAGES`` images or ``ROWS`` rows.

    Raises:
        DataError: for another shape.
    """
    given = torch.as_tensor(x).detach().cpu()
    if given.ndim not in (2, 4) or not len(given):
        raise DataError(f"expected images (n, c, h, w) or rows (n, d), n > 0; got shape {tuple(given.shape)}")
    given = given[: n or (IMAGES if given.ndim == 4 else ROWS)]
    given = given if space is None else space.to_user(given)
    if given.ndim == 4:
        size = " x ".join(map(str, given.shape[1:]))
        return Shown(f"<{len(given)} images of {size}: save('FILE.png')>", png=grid_png(given.float()))
    header, cells = _table(given.double().numpy(), space)
    return Shown(text_table(header, cells), html=html_table(header, cells))


def _table(values: NDArray[np.float64], space: Space | None) -> tuple[list[str], list[list[str]]]:
    """The header and the cells of the first columns, with texts for categories."""
    columns = () if space is None else space.columns
    names = [column.name for column in columns] or list(array_names(values.shape[1]))
    texts = [
        [_short(v) for v in (columns[i].to_user(values[:, i]) if columns else values[:, i])]
        for i in range(min(len(names), COLUMNS))
    ]
    more = len(names) - COLUMNS
    header = ["", *names[:COLUMNS], *([f"… {more} more"] if more > 0 else [])]
    rows = [[str(i), *row, *([""] if more > 0 else [])] for i, row in enumerate(zip(*texts, strict=True))]
    return header, rows


def _short(value: Any) -> str:
    """A value of a table, with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def image_tag(png: bytes) -> str:
    """A picture within HTML."""
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}">'
