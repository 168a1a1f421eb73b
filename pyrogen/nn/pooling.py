"""Convolutions with pooling on the way down and unpooling on the way up.

    max      y = the largest of each 2 × 2 window; unpooling puts y where it was found, and 0 elsewhere
    average  y = the mean of each window; unpooling gives y to all four places

Both are right inverses: pooling what was unpooled gives y again (for ``max``, where y ≥ 0, as it is after a ReLU).
The positions of maxima (Zeiler, Taylor and Fergus, "Adaptive deconvolutional networks", ICCV 2011) say more of an
image than its code does; where they are not kept, a maximum goes to its window's upper left.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import unknown
from pyrogen.nn.conv import halvings, image_shape

POOLINGS = ("max", "average")
Places = list[Tensor | None]
"""Where the maxima of each pooling were, the first pooling's first."""


def pool(x: Tensor, how: str) -> tuple[Tensor, Tensor | None]:
    """Halve both sides of ``(batch, channel, h, w)``, rounding down; the places of maxima come with ``max``."""
    if how == "max":
        y, places = F.max_pool2d(x, 2, return_indices=True)
        return y, places
    return F.avg_pool2d(x, 2), None


def unpool(y: Tensor, how: str, size: tuple[int, int], places: Tensor | None = None) -> Tensor:
    """The way back to ``(batch, channel, *size)``; a row or column that pooling left out is 0."""
    if how == "max":
        if places is None:
            rows, columns = (2 * torch.arange(n, device=y.device) for n in y.shape[2:])
            places = (rows[:, None] * size[1] + columns).expand_as(y)
        return F.max_unpool2d(y, places, [2, 2], output_size=size)
    h, w = y.shape[2:]
    wide = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return F.pad(wide, (0, size[1] - 2 * w, 0, size[0] - 2 * h))


class PoolDown(nn.Module):
    """An image to a vector: at each size a 3 × 3 convolution, then pooling.

    Args:
        shape: ``(channel, height, width)`` of the input.
        outputs: length of the result.
        width: channels after the first convolution; they double at each further one.
        pooling: ``max`` or ``average``.
    """

    def __init__(self, shape: Sequence[int], outputs: int, width: int = 32, pooling: str = "max") -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise unknown("pooling", pooling, POOLINGS)
        channels, height, side = image_shape(shape)
        *_, (h, w) = sizes = halvings(height, side)
        widths = [channels, *(width * 2**i for i in range(len(sizes) - 1))]
        self.pooling = pooling
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.linear = nn.Linear(widths[-1] * h * w, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Places]:
        """The vector ``(batch, outputs)``, and the places of the maxima."""
        kept: Places = []
        for convolution in self.convolutions:
            x, places = pool(F.relu(convolution(x)), self.pooling)
            kept.append(places)
        return self.linear(x.flatten(1)), kept


class PoolUp(nn.Module):
    """A vector to an image: the mirror of ``PoolDown``, linear at the end.

    Args:
        inputs: length of the vector.
        shape: ``(channel, height, width)`` of the result.
        width: channels before the last convolution; they double at each earlier one.
        pooling: ``max`` or ``average``.
    """

    def __init__(self, inputs: int, shape: Sequence[int], width: int = 32, pooling: str = "max") -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise unknown("pooling", pooling, POOLINGS)
        channels, height, side = image_shape(shape)
        self.sizes = halvings(height, side)[::-1]
        widths = [*(width * 2**i for i in reversed(range(len(self.sizes) - 1))), channels]
        self.start, self.pooling = (widths[0], *self.sizes[0]), pooling
        self.linear = nn.Linear(inputs, prod(self.start))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))

    def forward(self, z: Tensor, kept: Places | None = None) -> Tensor:
        """The image, with maxima at the places that were kept, if they were."""
        h = self.linear(z).unflatten(1, self.start)
        kept = kept or [None] * len(self.convolutions)
        for convolution, size, places in zip(self.convolutions, self.sizes[1:], reversed(kept), strict=True):
            h = convolution(unpool(F.relu(h), self.pooling, size, places))
        return h
