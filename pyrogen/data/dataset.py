"""A data set: three splits, the shape of a datum, class names, and the space in which likelihoods are compared.

Its description is all of this but the rows, and has one form in JSON: a model is built from either.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, Self

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveInt, TypeAdapter
from torch import Tensor

from pyrogen.data.checks import check_weights
from pyrogen.data.fingerprint import Keys, row_keys
from pyrogen.data.memmap import MemoryMapped, NoRows
from pyrogen.data.noise import Draws
from pyrogen.data.shown.show import IMAGES, Shown, image_tag, show
from pyrogen.data.sources.origin import Origin
from pyrogen.data.space import Space
from pyrogen.data.toy import ToyDensity
from pyrogen.errors import DataError
from pyrogen.summary import Facts, Summarised

Noise = Callable[[Tensor, Any], Tensor]
"""The map from stored rows to data, such as dequantisation or binarisation: ``(stored, generator) -> x``.

It is called with a ``torch.Generator``, a ``StreamedNoise`` also with a ``Stream``.
"""
Side = Callable[[Tensor, Tensor | None], Tensor | None]
"""How the side information of a datum is computed, ``(x, y) -> y``."""


@dataclass(frozen=True, repr=False)
class Split(Summarised):
    """Rows stored as one tensor, so that a batch is a single gather, or on disk, or not at hand.

    Args:
        x: the stored rows, ``(n, *event)``: ``uint8`` grey levels, or floats that are the data.
        y: labels, ``long (n,)``, or other side information with ``n`` rows; ``None`` if there is none.
        noise: maps stored rows to data, resampled on every read; ``None`` if rows are the data.
        side_fn: computes side information from data and labels, ``(x, y) -> y``.
        space: the space in which likelihoods on these rows are compared, if known.
        more: further tensors with ``n`` rows each (lengths, weights, masks), which follow x and y in every batch.
        keys: the keys of the rows from which x was drawn, where x has drawn noise; by default those of x.
        weights: how often each row is drawn for a batch, in proportion, ``(n,)``; equally often by default.

    Raises:
        DataError: if a tensor in ``more`` has a different number of rows, or ``weights`` are not n numbers of at least
            0, one of them above.
    """

    x: Tensor | MemoryMapped | NoRows
    y: Tensor | None = None
    noise: Noise | None = None
    side_fn: Side | None = None
    space: Space | None = None
    more: tuple[Tensor, ...] = ()
    keys: Keys | None = field(default=None, compare=False, repr=False)
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        if self.weights is not None:
            check_weights(self.weights, len(self.x))
        for i, part in enumerate(self.more):
            if part.ndim == 0 or len(part) != len(self.x):
                raise DataError(f"more[{i}]: expected {len(self.x)} rows, as x has; got shape {tuple(part.shape)}")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int | slice | Tensor) -> tuple[Tensor, ...]:
        """The data at ``index`` as ``(x, y, *more)``, with the draw of the noise that ``tensors`` has for those rows.

        Raises:
            IndexError: for a number that is none of a row.
        """
        if isinstance(index, int):
            at = range(len(self))[index]
            return tuple(part[0] for part in self[at : at + 1])
        return self.read(index, torch.Generator(self.device).manual_seed(0))

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """The rows one by one."""
        return (self[i] for i in range(len(self)))

    def summary(self) -> tuple[str, Facts]:
        """Number of rows, shape of a datum, labels and space."""
        facts: dict[str, object] = {"shape": tuple(self.x.shape[1:])}
        facts |= {} if self.y is None else {"y": f"{str(self.y.dtype).removeprefix('torch.')} {tuple(self.y.shape)}"}
        return f"{len(self):,} rows", facts | ({} if self.space is None else {"space": self.space})

    def show(self, n: int | None = None) -> Shown:
        """The first ``n`` rows in the user's units: a grid of images, or a table."""
        return show(self[: n or IMAGES][0], self.space, n=n)

    @property
    def device(self) -> torch.device:
        """The device of the rows; the arguments of ``read`` must be on it."""
        return self.x.device

    @cached_property
    def row_keys(self) -> Keys:
        """The keys by which rows are recognised, ``(n,)``; see ``pyrogen.data.fingerprint``."""
        return self.keys if self.keys is not None and len(self.keys) == len(self.x) else row_keys(self.x)

    @cached_property
    def distinct_keys(self) -> Keys:
        """The keys of different rows, in ascending order."""
        return np.unique(self.row_keys)

    def to(self, device: torch.device | str) -> Self:
        """Return the split on another device."""
        y, weights = (None if part is None else part.to(device) for part in (self.y, self.weights))
        return replace(
            self, x=self.x.to(device), y=y, more=tuple(part.to(device) for part in self.more), weights=weights
        )

    def select(self, index: Tensor) -> Self:
        """Return the split with the rows at ``index``, ``long (m,)``, alone."""
        x = self.x.select(index) if isinstance(self.x, MemoryMapped) else self.x[index]
        y, weights = (None if part is None else part[index] for part in (self.y, self.weights))
        more, keys = tuple(part[index] for part in self.more), self.keys
        keys = None if keys is None else keys[index.cpu().numpy()]
        return replace(self, x=x, y=y, more=more, keys=keys, weights=weights)

    def read(self, index: Tensor | slice, draws: Draws) -> tuple[Tensor, ...]:
        """Return the data at ``index`` as ``(x, y, *more)``, without y if there is none."""
        return self.materialize(self.x[index], index, draws)

    def materialize(self, stored: Tensor, index: Tensor | slice, draws: Draws) -> tuple[Tensor, ...]:
        """Return the same as ``read``, given the stored rows at ``index``."""
        x = self.noise(stored, draws) if self.noise else stored
        y = None if self.y is None else self.y[index]
        y = self.side_fn(x, y) if self.side_fn else y
        more = tuple(part[index] for part in self.more)
        return (x, *more) if y is None else (x, y, *more)

    @property
    def sample_index(self) -> Tensor | slice:
        """An index of all rows in order, or, for rows on disk, of a sample that fits into memory."""
        return self.x.sample_index() if isinstance(self.x, MemoryMapped) else slice(None)

    def tensors(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Return the rows at ``sample_index`` with one draw of the noise."""
        return self.read(self.sample_index, torch.Generator(self.device).manual_seed(seed))

    def freeze_noise(self, seed: int) -> Self:
        """Return the split in memory with its noise drawn once, so that every read gives the same data."""
        if self.noise is None and isinstance(self.x, Tensor):
            return self
        generator = torch.Generator(self.device).manual_seed(seed)
        x = self.noise(self.x[:], generator) if self.noise else self.x[:]
        return replace(self, x=x, noise=None, keys=self.row_keys)


@dataclass(frozen=True)
class Description:
    """What a data set is without its rows: all that is needed to build a model for it, and to read its samples.

    Args:
        name: the name the data set was loaded by.
        shape: the shape of one datum.
        space: its space, with the coordinates in which models see it.
        rows: the number of rows of ``train``, ``valid`` and ``test``.
        classes: the class names by label; empty where there are no labels.
        label_counts: the number of training rows of each class; empty where there are no labels.
        attributes: the length of y, if it is a vector; 0 if it is a label or absent.
    """

    name: str
    shape: tuple[PositiveInt, ...]
    space: Space
    rows: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt]
    classes: tuple[str, ...] = ()
    label_counts: tuple[NonNegativeInt, ...] = ()
    attributes: NonNegativeInt = 0

    def to_json(self) -> dict[str, Any]:
        """A JSON object; floats keep all their digits, and what has its default is left out."""
        return _JSON.dump_python(self, mode="json", exclude_defaults=True)

    @classmethod
    def from_json(cls, value: Any) -> "Description":
        """The inverse of ``to_json``.

        Raises:
            ValueError: if it is not the form of a description.
        """
        return _JSON.validate_python(value)


_JSON = TypeAdapter(Description)


@dataclass(frozen=True, repr=False)
class Dataset(Summarised):
    """A data set with three splits, as ``pyrogen.data.load`` returns it.

    Args:
        name: the name it was loaded by.
        train, valid, test: the splits. The noise of ``valid`` and ``test`` is frozen; that of ``train`` is not.
        shape: the shape of one datum, ``(channel, height, width)`` for images, ``(d,)`` for vectors.
        classes: the class names by label; empty where there are no labels.
        space: the space in which likelihoods on this data are compared.
        truth: the true density, known for toy data (``log_prob``, ``entropy``, ``modes``).
        known: its description, where the rows are not at hand.
        origin: how it was loaded; ``None`` if it was not, or in the coordinates of other data.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    shape: tuple[int, ...]
    space: Space
    classes: tuple[str, ...] = ()
    truth: ToyDensity | Any = None  # Any stands for None: who loads a toy density knows that it has one
    known: Description | None = field(default=None, repr=False)
    origin: Origin | None = field(default=None, repr=False, compare=False)

    @classmethod
    def without_rows(cls, known: Description) -> "Dataset":
        """The data set of a description: it has everything but rows, and reading them raises ``DataError``."""
        train, valid, test = (Split(NoRows((n, *known.shape), known.name), space=known.space) for n in known.rows)
        return cls(known.name, train, valid, test, known.shape, known.space, known.classes, known=known)

    def summary(self) -> tuple[str, Facts]:
        """Name, numbers of rows, shape, classes and space."""
        rows = " + ".join(f"{n:,}" for n in self.description.rows)
        facts: dict[str, object] = {"rows": f"{rows} (train + valid + test)", "shape": self.shape}
        if self.classes:
            few = self.classes if len(self.classes) <= 10 else (*self.classes[:9], "…", self.classes[-1])
            facts["classes"] = f"{len(self.classes)} ({', '.join(few)})"
        return self.name, facts | {"space": self.space}

    def _repr_html_(self) -> str:
        shown = "" if not self.has_rows else self.show(20)
        picture = image_tag(shown.png) if isinstance(shown, Shown) and shown.png else getattr(shown, "html", "")
        return super()._repr_html_() + picture

    def show(self, n: int | None = None) -> Shown:
        """The first ``n`` test rows in the user's units: a grid of images, or a table."""
        return self.test.show(n)

    @property
    def has_rows(self) -> bool:
        """Whether rows can be read."""
        return self.known is None

    @cached_property
    def description(self) -> Description:
        """What the data set is without its rows."""
        if self.known is not None:
            return self.known
        y, rows = self.train.y, (len(self.train), len(self.valid), len(self.test))
        labels = y if y is not None and y.ndim == 1 and self.classes else torch.zeros(0, dtype=torch.long)
        counts = torch.bincount(labels, minlength=len(self.classes)).tolist() if len(labels) else []
        attributes = y.shape[1] if y is not None and y.ndim == 2 else 0
        return Description(self.name, self.shape, self.space, rows, self.classes, tuple(counts), attributes)

    @property
    def dims(self) -> int:
        """The number of dimensions of one datum."""
        return prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether a datum is an image with one or three channels."""
        return len(self.shape) == 3 and self.shape[0] in (1, 3)

    def to(self, device: torch.device | str) -> Self:
        """Return the data set on another device."""
        return replace(self, train=self.train.to(device), valid=self.valid.to(device), test=self.test.to(device))

    def with_side_information(self, side_fn: Side | None) -> Self:
        """Return the data set with ``side_fn(x, y)`` in place of the labels, e.g. a partly observed image.

        Args:
            side_fn: computes side information from data and labels; ``None`` for the labels themselves.
        """
        splits = {name: replace(getattr(self, name), side_fn=side_fn) for name in ("train", "valid", "test")}
        return replace(self, **splits)

    def side_information(self, n: int, seed: int = 0) -> Tensor | None:
        """The side information of ``n`` test data, from the first again after the last; ``None`` if there is none."""
        if self.test.side_fn is None:
            return None
        y = self.test.tensors(seed)[1]
        return y[torch.arange(n, device=y.device) % len(y)]
