"""Files of samples: rows of a table as CSV or Parquet, arrays, and folders of images."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.columns import Column
from pyrogen.data.shown.image_grid import image_png
from pyrogen.data.sources.arrow import parquet_bytes
from pyrogen.errors import ConfigError
from pyrogen.files import whole_folder

Table = Mapping[str, NDArray[Any]]
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")  # as Python writes those of 64 bits


def user_columns(
    rows: Tensor, columns: Sequence[Column], labels: Tensor | None, classes: Sequence[str], label_name: str
) -> Table:
    """Samples as columns with the user's names and types, with the labels as the last one.

    Args:
        rows: ``(n, columns)`` in the user's units, with categories as codes.
        columns: the columns.
        labels: the class of each row, ``long (n,)``; ``None`` if there are no classes.
        classes: the class names.
        label_name: the name of the column of labels; with an underscore if another column has it.

    Raises:
        ConfigError: if a value is not finite.
    """
    broken = int((~rows.isfinite()).any(1).sum())
    if broken:
        raise ConfigError(f"{broken} of {len(rows)} samples are not finite, and cannot be written as rows of a table")
    numbers = rows.double().numpy()
    table = {column.name: column.to_user(numbers[:, i]) for i, column in enumerate(columns)}
    if labels is not None:
        while label_name in table:
            label_name += "_"
        table[label_name] = _class_values(classes)[labels.cpu().numpy()]
    return table


def _class_values(classes: Sequence[str]) -> NDArray[Any]:
    """The class names; as integers or booleans if all of them are."""
    if all(_INTEGER.fullmatch(name) for name in classes):
        return np.array([int(name) for name in classes])
    if set(classes) <= {"False", "True"}:
        return np.array([name == "True" for name in classes])
    return np.array(classes, dtype=object)


def csv_rows(table: Table) -> bytes:
    """A table as CSV in UTF-8: numbers with as many digits as tell them apart, booleans as ``True`` and ``False``."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table)
    # float32 has fewer digits than the float64 that tolist() returns.
    writer.writerows(zip(*(map(str, v) if v.dtype.kind == "f" else v.tolist() for v in table.values()), strict=True))
    return buffer.getvalue().encode()


def require_pyarrow() -> None:
    """Raise ``ConfigError`` unless pyarrow is installed."""
    if find_spec("pyarrow") is None:
        raise ConfigError("Parquet files need pyarrow: pip install 'pyrogen[tables]', or choose a .csv")


def parquet_rows(table: Table) -> bytes:
    """A table as Parquet."""
    import pyarrow

    arrays = {name: pyarrow.array(v.tolist() if v.dtype.kind == "O" else v) for name, v in table.items()}
    return parquet_bytes(pyarrow.table(arrays))


def npy_array(samples: Tensor) -> bytes:
    """Samples as the content of an ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, samples.numpy())
    return buffer.getvalue()


def write_images(folder: Path, images: Tensor, labels: Tensor | None, classes: Sequence[str]) -> None:
    """Write images as ``00000.png``, …, in a folder for each class where there are classes.

    Args:
        folder: the folder, absent or empty; either all images are written or none.
        images: ``(n, c, h, w)`` in [0, 1].
        labels: the class of each image, ``long (n,)``; ``None`` if there are no classes.
        classes: the class names.

    Raises:
        RunError: if the folder is not empty, or cannot be written.
    """
    names = [folder_name(name) for name in classes]
    digits = max(5, len(str(len(images) - 1)))
    pictures = [image_png(image) for image in images]
    with whole_folder(folder, sum(map(len, pictures))) as part:
        places = [part] * len(images) if labels is None else [part / names[i] for i in labels.tolist()]
        for place in set(places):
            place.mkdir(exist_ok=True)
        for i, (picture, place) in enumerate(zip(pictures, places, strict=True)):
            (place / f"{i:0{digits}}.png").write_bytes(picture)


def folder_name(name: str) -> str:
    """A class name as the name of a folder, without separators of paths and leading dots."""
    safe = "".join("_" if character in '/\\:*?"<>|' or not character.isprintable() else character for character in name)
    return safe if safe and not safe.startswith(".") else f"_{safe}"
