"""Encoders with convolutions and pooling, and decoders with unpooling.

    max      y = the maximum of each 2 × 2 window; unpooling writes y to the position of the maximum, 0 elsewhere
    average  y = the mean of each window; unpooling writes y to all four positions

Pooling is a left inverse of unpooling (for ``max`` if y ≥ 0, as after a ReLU). The positions of the maxima (Zeiler,
Taylor and Fergus, "Adaptive deconvolutional networks", ICCV 2011) carry more information about an image than its code;
without them, a maximum is written to the upper left corner of its window.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import unknown
from pyrogen.nn.conv import halved_sizes, image_shape

POOLINGS = ("max", "average")
PoolIndices = list[Tensor | None]
"""The indices of the maxima of each pooling layer, from first to last."""


def pool(x: Tensor, pooling: str) -> tuple[Tensor, Tensor | None]:
    """Halve both sides of ``(batch, channel, h, w)``, rounding down; ``max`` also returns the indices of the maxima."""
    if pooling == "max":
        y, indices = F.max_pool2d(x, 2, return_indices=True)
        return y, indices
    return F.avg_pool2d(x, 2), None


def unpool(y: Tensor, pooling: str, size: tuple[int, int], indices: Tensor | None = None) -> Tensor:
    """Undo ``pool`` to ``(batch, channel, *size)``; a row or column that pooling dropped becomes 0."""
    if pooling == "max":
        if indices is None:
            rows, columns = (2 * torch.arange(n, device=y.device) for n in y.shape[2:])
            indices = (rows[:, None] * size[1] + columns).expand_as(y)
        return F.max_unpool2d(y, indices, [2, 2], output_size=size)
    h, w = y.shape[2:]
    upsampled = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return F.pad(upsampled, (0, size[1] - 2 * w, 0, size[0] - 2 * h))


class PoolDown(nn.Module):
    """Map an image to a vector: at each size a 3 × 3 convolution, then pooling.

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
        *_, (h, w) = sizes = halved_sizes(height, side)
        widths = [channels, *(width * 2**i for i in range(len(sizes) - 1))]
        self.pooling = pooling
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.linear = nn.Linear(widths[-1] * h * w, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, PoolIndices]:
        """Return the vector ``(batch, outputs)`` and the indices of the maxima."""
        all_indices: PoolIndices = []
        for convolution in self.convolutions:
            x, indices = pool(F.relu(convolution(x)), self.pooling)
            all_indices.append(indices)
        return self.linear(x.flatten(1)), all_indices


class PoolUp(nn.Module):
    """Map a vector to an image: the mirror image of ``PoolDown``, with linear outputs.

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
        self.sizes = halved_sizes(height, side)[::-1]
        widths = [*(width * 2**i for i in reversed(range(len(self.sizes) - 1))), channels]
        self.start, self.pooling = (widths[0], *self.sizes[0]), pooling
        self.linear = nn.Linear(inputs, prod(self.start))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))

    def forward(self, z: Tensor, all_indices: PoolIndices | None = None) -> Tensor:
        """Return the image; maxima are written to ``all_indices`` if given."""
        h = self.linear(z).unflatten(1, self.start)
        all_indices = all_indices or [None] * len(self.convolutions)
        for convolution, size, indices in zip(self.convolutions, self.sizes[1:], reversed(all_indices), strict=True):
            h = convolution(unpool(F.relu(h), self.pooling, size, indices))
        return h
