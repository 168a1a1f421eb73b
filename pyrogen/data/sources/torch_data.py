"""Data of torch: tensors in memory or in a ``.pt`` file, and map-style data sets."""

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from pyrogen.data.sources.arrays import x_and_y
from pyrogen.data.sources.decode import read_pixels
from pyrogen.errors import DataError
from pyrogen.torch_file import read_torch_file


class Arrays(NamedTuple):
    """Rows ``x``, and labels ``y`` or ``None``."""

    x: NDArray[Any]
    y: NDArray[Any] | None


def as_array(part: Any, where: str) -> NDArray[Any]:
    """A tensor or an array as an array, which shares its memory if it can.

    Raises:
        DataError: for sparse tensors, and for other types.
    """
    if isinstance(part, np.ndarray):
        return part
    if not isinstance(part, Tensor):
        raise DataError(f"{where}: expected a tensor or an array, got a {type(part).__name__}")
    if part.layout != torch.strided or part.is_quantized:
        raise DataError(f"{where}: expected a dense tensor, got one of layout {part.layout}, {part.dtype}")
    part = part.detach().cpu().resolve_conj().resolve_neg()
    return (part.float() if part.dtype == torch.bfloat16 else part).numpy()


def from_memory(source: Any, where: str) -> Arrays:
    """``x`` or ``(x, y)`` in memory.

    Raises:
        DataError: for another number of parts, or other types.
    """
    if not isinstance(source, tuple | list):
        return Arrays(as_array(source, where), None)
    if len(source) != 2:
        raise DataError(f"{where}: expected x, or x and labels y, got {len(source)} parts")
    return Arrays(as_array(source[0], f"{where}: x"), as_array(source[1], f"{where}: y"))


def from_torch_file(path: Path) -> Arrays:
    """A ``.pt`` file of a tensor, ``(x, y)`` or ``{"x": x, "y": y}``; it is read as data, without unpickling.

    Raises:
        DataError: naming the file, and what it holds instead.
    """
    saved = read_torch_file(path)
    if isinstance(saved, Mapping):
        x, y = x_and_y(saved, str(path), "a tensor")
        saved = x if y is None else (x, y)
    return from_memory(saved, str(path))


def from_torch_dataset(data: Dataset[Any], where: str) -> Arrays:
    """All items of a map-style data set, ``x`` or ``(x, y)``, each read once.

    Items are tensors, arrays, numbers or images of Pillow; y is a number or a text. If the data set has ``classes``,
    as those of torchvision do, labels are the names of the classes.

    Raises:
        DataError: naming an item that cannot be used.
    """
    if isinstance(data, TensorDataset):
        return from_memory(data.tensors if len(data.tensors) > 1 else data.tensors[0], where)
    if not isinstance(data, Sized) or not hasattr(data, "__getitem__"):
        raise DataError(f"{where}: expected a map-style data set, with a length; this one is iterable only")
    if not len(data):
        raise DataError(f"{where}: expected some items, got none")
    rows: list[NDArray[Any]] = []
    labels: list[Any] = []
    for i in range(len(data)):
        item = data[i]
        parts = item if isinstance(item, tuple | list) else (item,)
        if not 1 <= len(parts) <= 2:
            raise DataError(f"{where}: item {i}: expected x or (x, y), got {len(parts)} parts")
        rows.append(_item(parts[0], f"{where}: item {i}"))
        labels += [_label(part, f"{where}: item {i}") for part in parts[1:]]
        if rows[i].shape != rows[0].shape:
            raise DataError(f"{where}: item {i}: expected shape {rows[0].shape} as of item 0, got {rows[i].shape}")
        if len(labels) not in (0, i + 1):
            raise DataError(f"{where}: item {i}: expected (x, y) in all items or in none")
    return Arrays(np.stack(rows), _named(labels, getattr(data, "classes", None)) if labels else None)


def _item(x: Any, where: str) -> NDArray[Any]:
    if isinstance(x, Image.Image):
        pixels = read_pixels(x.copy())
        return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    return np.asarray(x) if isinstance(x, int | float | np.generic) else as_array(x, where)


def _label(y: Any, where: str) -> Any:
    if isinstance(y, Tensor | np.ndarray | np.generic):
        if y.ndim or (isinstance(y, Tensor) and y.is_complex()):
            raise DataError(f"{where}: expected one label y, got shape {tuple(y.shape)}")
        return y.item()
    if not isinstance(y, int | float | str):
        raise DataError(f"{where}: expected a label y, a number or a text; got a {type(y).__name__}")
    return y


def _named(labels: list[Any], classes: Any) -> NDArray[Any]:
    """Labels as an array; as names, if they are positions in ``classes``."""
    if isinstance(classes, Sequence) and set(labels) <= set(range(len(classes))):
        return np.array([str(classes[code]) for code in labels])
    return np.array(labels)
