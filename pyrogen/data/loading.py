"""Load a data set by name, or a user's own data, split it, and determine the coordinates in which models see it."""

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.datasets import Sizes, Stored, names, shuffled
from pyrogen.data.memmap import MemoryMapped
from pyrogen.data.noise import Dequantise, ReadColumns
from pyrogen.data.space import Space
from pyrogen.data.table import RawData, ReadOptions
from pyrogen.data.user_data import read_user_data, title
from pyrogen.errors import ConfigError, DataError, DataWarning
from pyrogen.random import derive

_MAX_HELD_OUT = 10_000  # for rows on disk: validation and test rows are loaded into memory


def load(
    source: Any, root: str | Path | None = None, seed: int = 0, *, space: Space | None = None, **options: Any
) -> Dataset:
    """Load a data set. Noise is resampled on every read of ``train``, and drawn once for ``valid`` and ``test``.

    A user's own data are shuffled and split 8 : 1 : 1, unless they have a split of their own.

    Args:
        source: one of ``names()``; a path of a table, an array, a folder or a zip of images; or data in memory: a
            tensor, an array, ``(x, y)``, a pandas or polars ``DataFrame``, a pyarrow table or a torch ``Dataset``.
        root: the folder of named data sets, in torchvision's layout; missing ones are downloaded into it. By default
            ``$PYROGEN_DATA``, else the folder ``pyrogen`` in the user's cache.
        seed: the seed of the noise in ``valid`` and ``test``, of the splits of ``digits`` and a user's data, and of
            toy samples. The splits of other data sets are fixed.
        space: the space of other data, such as those a model was trained on: the rows are mapped to its coordinates.
        options: for a user's own data, the fields of ``ReadOptions``: ``target``, ``categorical``, ``drop_constant``,
            ``drop_missing`` and ``size``.

    Raises:
        ConfigError: on an unknown name, with the closest known one.
        DataError: if the data are missing, damaged, of an unsupported type, or too few.
    """
    entry = names().get(str(source)) if isinstance(source, str | Path) else None
    if entry is not None:
        given = sorted(name for name, value in options.items() if value)
        if given:
            raise ConfigError(f"{given[0]} is an option of your own data; {source!r} is a data set of the catalogue")
        stored = entry.read(_root(root), seed)
        make, known, classes, truth = entry.noise, entry.space, entry.classes, entry.truth
    else:
        raw = read_user_data(source, ReadOptions(**options), space)
        stored = _split(raw, title(source), seed)
        stored, known = _varying_in_training(stored, raw.space, title(source), bool(options.get("drop_constant")))
        make = Dequantise if known.levels else ReadColumns if known.support == "real" else None
        classes, truth = raw.classes, None
    if space is None:
        space = _standardised(known, Split(*stored[0], noise=make(known) if make else None))
    elif space != known:
        raise DataError(f"{title(source)}: expected a {space}, as in the training data; got a {known}")
    noise = make(space) if make else None
    train, valid, test = (Split(x, y, noise, space=space) for x, y in stored)
    valid, test = valid.freeze_noise(derive(seed, "valid")), test.freeze_noise(derive(seed, "test"))
    return Dataset(title(source), train, valid, test, tuple(valid.x.shape[1:]), space, classes, truth)


def _root(given: str | Path | None) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "pyrogen")
    return Path(given or os.environ.get("PYROGEN_DATA") or cache).expanduser()


def _split(raw: RawData, where: str, seed: int) -> list[Stored]:
    """Split the rows as the source does, or at random."""
    x, y, n = raw.x, raw.y, len(raw.x)
    if raw.parts is not None:
        train, valid, _ = raw.parts
        order = torch.arange(n)
        inside = [order[:train], order[train : train + valid], order[train + valid :]]
        rows = [x.select(part) if isinstance(x, MemoryMapped) and not i else x[part] for i, part in enumerate(inside)]
        return [(part, None if y is None else y[index]) for part, index in zip(rows, inside, strict=True)]
    if n < 3:
        raise DataError(f"{where}: expected at least 3 rows, for training, validation and test; got {n}")
    tenth = max(1, n // 10)
    if isinstance(x, MemoryMapped):
        tenth = min(tenth, x.rows_in_memory(_MAX_HELD_OUT))
    sizes: Sizes = (n - 2 * tenth, tenth, tenth)
    return shuffled(x, y, sizes, seed)


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
