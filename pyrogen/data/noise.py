"""How stored grey levels become data: dequantisation for densities, binarisation for masses.

Both are applied anew at each reading, in every training step, so they are written for speed: most of
their time goes into drawing random bits, and one 64-bit draw serves four values.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrogen.data.space import Space
from pyrogen.nn.precision import standard


@dataclass(frozen=True)
class Dequantise:
    """``x = (k + u) / L`` with ``u ~ U(0, 1)``, carried into the measure's space.

    ``u`` stays ``2^-14`` away from 0 and 1. In float32 ``(255 + u) / 256`` would otherwise round to 1
    now and then, and the way back through the logit would end in a neighbouring level.

    Args:
        measure: ``unit`` or ``logit``, with its number of levels L, at most 256.
    """

    space: Space

    def __call__(self, stored: Tensor, generator: torch.Generator) -> Tensor:
        """Data of the shape of ``stored``, of torch's default type; all on the generator's device."""
        u = _uniform(stored.shape, generator, bits=13)
        return self.space.from_unit(u.add_(stored).div_(self.space.levels))


@dataclass(frozen=True)
class Binarise:
    """``x ~ Bernoulli(k / top)``: each grey level k of 0..top is the probability of a 1.

    Args:
        top: the level that is always 1; 0 is never.
    """

    top: int

    def __call__(self, stored: Tensor, generator: torch.Generator) -> Tensor:
        """Zeros and ones of the shape of ``stored``, of torch's default type; all on the generator's device."""
        return _uniform(stored.shape, generator, bits=16).mul_(self.top).lt_(stored)


def _uniform(shape: torch.Size, generator: torch.Generator, bits: int) -> Tensor:
    """Uniform draws from the ``2^bits`` midpoints of an even grid on (0, 1), exact in float32."""
    n = shape.numel()
    words = torch.empty(-(-n // 4), dtype=torch.int64, device=generator.device)
    words.random_(-(2**63), None, generator=generator)
    whole = words.view(torch.int16)[:n].view(shape) >> (16 - bits)
    return whole.to(standard()).add_(0.5).mul_(2.0**-bits).add_(0.5)
