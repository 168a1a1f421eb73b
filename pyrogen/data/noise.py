"""Noise that maps stored values to data: dequantisation for densities, binarisation for mass functions.

All are resampled on every read, in every training step, and are optimised for speed: most of the time goes into
random bits, and one 64-bit draw serves four values.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrogen.data.space import Space
from pyrogen.nn.precision import default_dtype


@dataclass(frozen=True)
class Dequantise:
    """Uniform dequantisation ``x = (k + u) / L`` with ``u ~ U(0, 1)``, mapped into ``space``.

    ``u`` keeps a distance of ``2^-14`` from 0 and 1: in float32, ``(255 + u) / 256`` would otherwise sometimes round
    to 1, and the inverse of the logit would give a neighbouring level.

    Args:
        space: ``unit`` or ``logit``, with the number of levels L, at most 512.
    """

    space: Space

    def __call__(self, stored: Tensor, generator: torch.Generator) -> Tensor:
        """Return data of the shape of ``stored`` in torch's default dtype; all on the generator's device."""
        u = _uniform(stored.shape, generator, bits=13)
        return self.space.from_unit(u.add_(stored).div_(self.space.levels))


@dataclass(frozen=True)
class Binarise:
    """Stochastic binarisation ``x ~ Bernoulli(k / K)`` of grey levels k in 0..K.

    Args:
        max_level: K, the level that always gives 1; level 0 always gives 0.
    """

    max_level: int

    def __call__(self, stored: Tensor, generator: torch.Generator) -> Tensor:
        """Return zeros and ones of the shape of ``stored`` in torch's default dtype; all on the generator's device."""
        return _uniform(stored.shape, generator, bits=16).mul_(self.max_level).lt_(stored)


@dataclass(frozen=True)
class ReadColumns:
    """Rows of a table in model coordinates, with values on a lattice dequantised by ``v + step u``, ``u ~ U(0, 1)``.

    Args:
        space: the space of the table.
    """

    space: Space

    def __call__(self, stored: Tensor, generator: torch.Generator) -> Tensor:
        """Map ``(n, columns)`` to ``(n, D)`` in torch's default dtype; all on the generator's device."""
        if not self.space.is_lattice:
            return self.space.from_columns(stored)
        dims = sum(column.width for column in self.space.columns)
        return self.space.from_columns(stored, _uniform(torch.Size((len(stored), dims)), generator, bits=13))


def _uniform(shape: torch.Size, generator: torch.Generator, bits: int) -> Tensor:
    """Draw uniformly from the ``2^bits`` midpoints of a regular grid on (0, 1), exact in float32."""
    n = shape.numel()
    words = torch.empty(-(-n // 4), dtype=torch.int64, device=generator.device)
    words.random_(-(2**63), None, generator=generator)
    whole = words.view(torch.int16)[:n].view(shape)
    whole = whole if bits == 16 else whole >> (16 - bits)
    return whole.to(default_dtype()).mul_(2.0**-bits).add_(0.5 + 2.0 ** -(bits + 1))
