"""A data set: three splits, a shape, the class names, and the measure of its space."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Self

import torch
from torch import Tensor

from pyrogen.data.memmap import MemoryMapped
from pyrogen.data.space import Space
from pyrogen.data.toy import Toy
from pyrogen.errors import DataError

Noise = Callable[[Tensor, torch.Generator], Tensor]
"""How a stored row becomes a datum: dequantisation, binarisation; ``(stored, generator) -> x``."""
Side = Callable[[Tensor, Tensor | None], Tensor | None]
"""How the side information of a datum is computed, ``(x, y) -> y``."""


@dataclass(frozen=True)
class Split:
    """Rows held as one tensor, so that a batch is a gather and never a Python loop, or as files on disk.

    Args:
        x: the stored rows, ``(n, *event)``: ``uint8`` grey levels, or floats that are the data.
        y: labels, ``long (n,)``, or other side information with ``n`` rows; ``None`` if there is none.
        noise: turns stored rows into data, drawn anew at each reading; ``None`` if rows are the data.
        side: computes the side information from the data that were drawn, ``(x, y) -> y``.
        space: the space in which likelihoods on these rows are compared, where that is known.
        more: further tensors with ``n`` rows each (lengths, weights, masks), which come after x and y in every batch.

    Raises:
        DataError: if one of ``more`` has another number of rows.
    """

    x: Tensor | MemoryMapped
    y: Tensor | None = None
    noise: Noise | None = None
    side: Side | None = None
    space: Space | None = None
    more: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        for i, part in enumerate(self.more):
            if part.ndim == 0 or len(part) != len(self.x):
                raise DataError(f"more[{i}]: expected {len(self.x)} rows, as x has; got shape {tuple(part.shape)}")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def device(self) -> torch.device:
        """Where the rows lie; ``read`` wants its index and generator there."""
        return self.x.device

    def to(self, device: torch.device | str) -> Self:
        """The same split on another device."""
        y, more = None if self.y is None else self.y.to(device), tuple(part.to(device) for part in self.more)
        return replace(self, x=self.x.to(device), y=y, more=more)

    def read(self, index: Tensor | slice, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The data at ``index`` as ``(x, y, *more)``, without y where there is none."""
        return self.drawn(self.x[index], index, generator)

    def drawn(self, stored: Tensor, index: Tensor | slice, generator: torch.Generator) -> tuple[Tensor, ...]:
        """What ``read`` gives, where the stored rows at ``index`` are at hand."""
        x = self.noise(stored, generator) if self.noise else stored
        y = None if self.y is None else self.y[index]
        y = self.side(x, y) if self.side else y
        more = tuple(part[index] for part in self.more)
        return (x, *more) if y is None else (x, y, *more)

    @property
    def shown(self) -> Tensor | slice:
        """An index of all rows in order; of rows on disk of a sample that fits into memory."""
        return self.x.sample() if isinstance(self.x, MemoryMapped) else slice(None)

    def tensors(self, seed: int = 0) -> tuple[Tensor, ...]:
        """The rows ``shown``, under one draw of the noise."""
        return self.read(self.shown, torch.Generator(self.device).manual_seed(seed))

    def fixed(self, seed: int) -> Self:
        """The same split with its noise drawn once: every later reading gives the same data."""
        if self.noise is None:
            return self
        generator = torch.Generator(self.device).manual_seed(seed)
        return replace(self, x=self.noise(self.x[:], generator), noise=None)


@dataclass(frozen=True)
class Dataset:
    """What ``pyrogen.data.load`` returns.

    Args:
        name: the name it was loaded by.
        train, valid, test: the splits. ``valid`` and ``test`` are fixed; ``train`` may carry noise.
        shape: the shape of one datum, ``(channel, height, width)`` for images, ``(d,)`` for vectors.
        classes: the class names by label; empty where there are no labels.
        space: the space in which likelihoods on this data are compared.
        truth: for a toy density, the density itself (``log_prob``, ``entropy``, ``modes``).
    """

    name: str
    train: Split
    valid: Split
    test: Split
    shape: tuple[int, ...]
    space: Space
    classes: tuple[str, ...] = ()
    truth: Toy | Any = None  # Any stands for None: who loads a toy density knows that it has one

    @property
    def dims(self) -> int:
        """The number of dimensions of one datum."""
        return prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether a datum can be drawn as a picture."""
        return len(self.shape) == 3 and self.shape[0] in (1, 3)

    def to(self, device: torch.device | str) -> Self:
        """The same data set on another device."""
        return replace(self, train=self.train.to(device), valid=self.valid.to(device), test=self.test.to(device))

    def with_side(self, side: Side) -> Self:
        """The same data with ``side(x, y)`` in place of the labels, e.g. a partly hidden image."""
        splits = {name: replace(getattr(self, name), side=side) for name in ("train", "valid", "test")}
        return replace(self, **splits)
