"""Noise that maps stored values to data: dequantisation for densities, binarisation for mass functions.

All are resampled on every read, in every training step, from a generator or from a ``Stream``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrogen.data.noise.uniform import Draws, uniform
from pyrogen.data.space import Space


class StreamedNoise(ABC):
    """Noise that can be drawn from a ``Stream``, so that it is a pure function of the row in a batch."""

    @property
    def exact(self) -> bool:
        """Whether it consists of correctly rounded operations alone, so that compiled code gives the same bits."""
        return True

    @abstractmethod
    def __call__(self, stored: Tensor, draws: Draws) -> Tensor:
        """Return data in torch's default dtype, on the device of ``stored`` and ``draws``."""


@dataclass(frozen=True)
class Dequantise(StreamedNoise):
    """Uniform dequantisation ``x = (k + u) / L`` with ``u ~ U(0, 1)``, mapped into ``space``.

    ``u`` keeps a distance of ``2^-14`` from 0 and 1: in float32, ``(255 + u) / 256`` would otherwise sometimes round
    to 1, and the inverse of the logit would give a neighbouring level.

    Args:
        space: ``unit`` or ``logit``, with the number of levels L, at most 512.
    """

    space: Space

    @property
    def exact(self) -> bool:
        """Whether it takes no logarithm."""
        return self.space.support != "logit"

    def __call__(self, stored: Tensor, draws: Draws) -> Tensor:
        """Return data of the shape of ``stored`` in torch's default dtype."""
        u = uniform(stored.shape, draws, bits=13)
        return self.space.from_unit(u.add_(stored).div_(self.space.levels))


@dataclass(frozen=True)
class Binarise(StreamedNoise):
    """Stochastic binarisation ``x ~ Bernoulli(k / K)`` of grey levels k in 0..K.

    Args:
        max_level: K, the level that always gives 1; level 0 always gives 0.
    """

    max_level: int

    def __call__(self, stored: Tensor, draws: Draws) -> Tensor:
        """Return zeros and ones of the shape of ``stored`` in torch's default dtype."""
        return uniform(stored.shape, draws, bits=16).mul_(self.max_level).lt_(stored)


@dataclass(frozen=True)
class ReadColumns(StreamedNoise):
    """Rows of a table in model coordinates, with values on a lattice dequantised by ``v + step u``, ``u ~ U(0, 1)``.

    Args:
        space: the space of the table.
    """

    space: Space

    def __call__(self, stored: Tensor, draws: Draws) -> Tensor:
        """Map ``(n, columns)`` to ``(n, D)`` in torch's default dtype."""
        if not self.space.is_lattice:
            return self.space.from_columns(stored)
        dims = sum(column.width for column in self.space.columns)
        return self.space.from_columns(stored, uniform(torch.Size((len(stored), dims)), draws, bits=13))
