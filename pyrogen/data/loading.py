"""Load a data set by name, or a user's own data, split it, and determine the coordinates in which models see it."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.datasets import Stored, names
from pyrogen.data.memmap import MemoryMapped
from pyrogen.data.noise import Dequantise, ReadColumns
from pyrogen.data.sources.arrow import Frame, is_frame
from pyrogen.data.sources.dispatch import read_user_data, title
from pyrogen.data.sources.origin import Origin
from pyrogen.data.sources.tensors import rows_as_they_are
from pyrogen.data.space import Space
from pyrogen.data.table import RawData, ReadOptions
from pyrogen.errors import ConfigError, DataError, DataWarning, unknown
from pyrogen.random import derive, generator

Rows = (
    Split
    | Tensor
    | NDArray[Any]
    | tuple[Tensor | NDArray[Any], ...]
    | DataLoader[Any]
    | TorchDataset[Any]
    | Frame
    | str
    | Path
)
"""What ``fit`` accepts: one split, or what ``as_data`` makes one of."""
Source = Rows | Dataset
"""What ``evaluate`` accepts."""
_MAX_HELD_OUT = 10_000  # for rows on disk: validation and test rows are loaded into memory


def load(
    source: Any,
    root: str | Path | None = None,
    seed: int = 0,
    *,
    space: Space | None = None,
    classes: Sequence[str] = (),
    **options: Any,
) -> Dataset:
    """Load a data set. Noise is resampled on every read of ``train``, and drawn once for ``valid`` and ``test``.

    A user's own data are shuffled and split 8 : 1 : 1, unless they have a split of their own. Where that has no
    validation or no test rows, a tenth of the training rows takes their place.

    Args:
        source: one of ``names()``; a path of a table (``.csv``, ``.parquet``, ``.arrow``, ``.feather``), an array
            (``.npy``, ``.npz``, ``.pt``), a folder or a ``.zip`` of images; or data in memory: a tensor, an array,
            ``(x, y)``, a pandas or polars ``DataFrame``, a pyarrow table or a map-style torch ``Dataset``.
        root: the folder of named data sets, in torchvision's layout; missing ones are downloaded into it. By default
            ``$PYROGEN_DATA``, else the folder ``pyrogen`` in the user's cache.
        seed: the seed of the noise in ``valid`` and ``test``, of the splits of ``digits`` and a user's data, and of
            toy samples. The splits of other data sets are fixed.
        space: the space of other data, such as those a model was trained on: the rows are mapped to its coordinates.
        classes: the class names of other data, by which labels are coded.
        options: for a user's own data, the fields of ``ReadOptions``: ``target``, ``categorical``, ``drop_constant``,
            ``drop_missing`` and ``size``.

    Raises:
        ConfigError: on an unknown name, with the closest known one.
        DataError: if the data are missing, damaged, of an unsupported type, or too few.
    """
    entry = names().get(str(source)) if isinstance(source, str | Path) else None
    origin = Origin(source, root, seed, options) if space is None and not classes else None
    if entry is not None:
        given = sorted(name for name, value in options.items() if value)
        if given:
            raise ConfigError(f"{given[0]} is an option of your own data; {source!r} is a data set of the catalogue")
        stored = entry.read(_root(root), seed)
        make, known, classes, truth = entry.noise, entry.space, entry.classes, entry.truth
    else:
        raw = _with_classes(read_user_data(source, _options(options), space), classes, title(source))
        stored = _split(raw, title(source), seed)
        stored, known = _varying_in_training(stored, raw.space, title(source), bool(options.get("drop_constant")))
        make, classes, truth = _noise, raw.classes, None
    if space is None:
        space = _standardised(known, Split(*stored[0], noise=make(known) if make else None))
    elif space != known:
        raise DataError(f"{title(source)}: expected a {space}, as in the training data; got a {known}")
    noise = make(space) if make else None
    train, valid, test = (Split(x, y, noise, space=space) for x, y in stored)
    valid, test = valid.freeze_noise(derive(seed, "valid")), test.freeze_noise(derive(seed, "test"))
    shape = tuple(valid.x.shape[1:])
    return Dataset(title(source), train, valid, test, shape, space, classes, truth, origin=origin)


def load_rows(
    source: Any,
    root: str | Path | None = None,
    seed: int = 0,
    *,
    space: Space,
    classes: Sequence[str] = (),
    **options: Any,
) -> tuple[Split, tuple[str, ...]]:
    """All rows of a user's data in their own order, for a model that was trained on others; and their files' names.

    Args:
        source, root, options: as for ``load``; of a data set of the catalogue, the test rows.
        seed: of the noise, which is drawn once.
        space: the space of the data that the model was trained on.
        classes: their class names, by which labels are coded.

    Returns:
        The rows, and the names of their files; no names where rows are not files.

    Raises:
        ConfigError: on an unknown name.
        DataError: as ``load``, and if the data are of another space.
    """
    if isinstance(source, str | Path) and str(source) in names():
        return load(source, root, seed, space=space, classes=classes, **options).test, ()
    raw = _with_classes(read_user_data(source, _options(options), space), classes, title(source))
    if raw.space != space:
        raise DataError(f"{title(source)}: expected a {space}, as in the training data; got a {raw.space}")
    rows = Split(raw.x, raw.y, _noise(space), space=space)
    return rows.freeze_noise(derive(seed, "rows")), raw.files


def _noise(space: Space) -> Any:
    """How stored rows of a user's data become data."""
    return Dequantise(space) if space.levels else ReadColumns(space) if space.support == "real" else None


def as_data(source: Source) -> Any:
    """What ``fit`` and ``evaluate`` accept, as a ``Dataset`` or a ``Split``; other objects are returned unchanged.

    Args:
        source: a path or a data frame, which ``load`` reads; or tensors or arrays ``x`` or ``(x, y, …)``, whose rows
            are the data as they are.

    Raises:
        DataError: if they have different numbers of rows, or another type.
    """
    if isinstance(source, str | Path) or is_frame(source):
        return load(source)
    if isinstance(source, Tensor | np.ndarray):
        source = (source,)
    if not isinstance(source, tuple):
        return source
    if not source or not all(isinstance(part, Tensor | np.ndarray) for part in source):
        given = ", ".join(type(part).__name__ for part in source) or "none"
        raise DataError(f"expected tensors or arrays (x, y, …); got {given}")
    if not all(part.ndim for part in source) or len({len(part) for part in source}) != 1:
        sizes = [tuple(part.shape) for part in source]
        raise DataError(f"expected x, or (x, y, …), with equal numbers of rows; got shapes {sizes}")
    x, *rest = (part if isinstance(part, Tensor) else rows_as_they_are(part) for part in source)
    return Split(x, rest[0] if rest else None, more=tuple(rest[1:]))


def _root(given: str | Path | None) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "pyrogen")
    return Path(os.path.expanduser(given or os.environ.get("PYROGEN_DATA") or cache))


def _options(given: dict[str, Any]) -> ReadOptions:
    known = {field.name for field in fields(ReadOptions)}
    for name in given:
        if name not in known:
            raise unknown("option", name, known)
    return ReadOptions(**given)


def _with_classes(raw: RawData, classes: Sequence[str], where: str) -> RawData:
    """The same data with labels coded by their position in ``classes``."""
    if not classes or raw.y is None:
        return raw
    new = [name for name in raw.classes if name not in classes]
    if new:
        raise DataError(f"{where}: expected the classes {', '.join(classes)}, as in the training data; got {new[0]!r}")
    codes = torch.tensor([list(classes).index(name) for name in raw.classes])
    return raw._replace(y=codes[raw.y], classes=tuple(classes))


def _split(raw: RawData, where: str, seed: int) -> list[Stored]:
    """Split the rows as the source does, or at random."""
    train, valid, test = raw.parts or (len(raw.x), 0, 0)
    held_out = (not valid) + (not test)
    if train < 1 + held_out:
        rows = "rows, for training, validation and test" if held_out == 2 else "training rows"
        raise DataError(f"{where}: expected at least {1 + held_out} {rows}; got {train}")
    # In random order also where the source has its own split, whose rows are often sorted by class.
    shuffle = generator(seed, "split")
    order = torch.randperm(train, generator=shuffle)
    tenth = max(1, train // 10)
    if isinstance(raw.x, MemoryMapped):
        tenth = min(tenth, raw.x.rows_in_memory(_MAX_HELD_OUT))
    kept, *taken = torch.split(order, [train - held_out * tenth, *[tenth] * held_out])
    parts = [kept]
    for start, n in ((train, valid), (train + valid, test)):
        parts.append(start + torch.randperm(n, generator=shuffle) if n else taken.pop(0))
    return [_rows(raw, part) for part in parts]


def _rows(raw: RawData, index: Tensor) -> Stored:
    rows = raw.x.select(index) if isinstance(raw.x, MemoryMapped) else raw.x[index]
    return rows, None if raw.y is None else raw.y[index]


def _varying_in_training(stored: list[Stored], space: Space, where: str, drop: bool) -> tuple[list[Stored], Space]:
    """Warn of discrete columns that have one value in all training rows; refuse or drop real ones."""
    x, _ = stored[0]
    if space.support != "real" or isinstance(x, MemoryMapped):
        return stored, space
    constant = [i for i, low, high in zip(range(x.shape[1]), x.amin(0), x.amax(0), strict=True) if low == high]
    for i in constant:
        column = space.columns[i]
        value = f"column {column.name!r} is {float(x[0, i]):g} in all {len(x)} training rows, but not in the others"
        if column.step and not drop:
            warnings.warn(f"{where}: {value}: models cannot learn how it varies", DataWarning, stacklevel=3)
        elif not drop:
            raise DataError(f"{where}: {value}; leave it out with --drop-constant (drop_constant=True)")
    if not (constant and drop):
        return stored, space
    kept = [i for i in range(x.shape[1]) if i not in constant]
    stored = [(rows[:][:, kept], y) for rows, y in stored]
    return stored, replace(space, columns=tuple(space.columns[i] for i in kept))


def _standardised(space: Space, train: Split) -> Space:
    """The space with the mean and standard deviation of the training rows; images in [0, 1] are left as they are."""
    if space.support == "real":
        return space.standardised(*space.moments(train.x[train.sample_index]))
    if space.support == "logit":
        x, *_ = train.tensors()
        return space.standardised(x.mean(0), x.std(0, correction=0))
    return space
