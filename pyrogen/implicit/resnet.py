"""A residual generator and critic, for images of any size from 8 × 8.

Each block changes the size by a factor of 2 and has a resized shortcut. The networks are those of
Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017, and Miyato et al., "Spectral normalization
for generative adversarial networks", ICLR 2018.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.implicit.base import Adversarial, OutputRange, one_hot, require_labels
from pyrogen.nn.conv import halved_sizes, image_shape
from pyrogen.nn.precision import at_least_float32


class UpBlock(nn.Module):
    """``(batch, inputs, h, w) -> (batch, outputs, *size)``: BatchNorm, ReLU, nearest-neighbour upsampling, 3 × 3."""

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.before, self.between = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample."""
        h = self.first(F.interpolate(self.before(x).relu(), self.size))
        h = self.second(self.between(h).relu())
        grown: Tensor = h + F.interpolate(self.shortcut(x), self.size)
        return grown


class DownBlock(nn.Module):
    """``(batch, inputs, h, w) -> (batch, outputs, ⌊h / 2⌋, ⌊w / 2⌋)``: ReLU, 3 × 3, average pooling; no norm."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.at_image = first  # no ReLU on the image itself
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Downsample."""
        h = self.second(self.first(x if self.at_image else x.relu()).relu())
        return F.avg_pool2d(h, 2) + self.shortcut(F.avg_pool2d(x, 2))


class ResGenerator(nn.Module):
    """``z (batch, latent), y (batch,) -> x (batch, *shape)``.

    Args:
        latent: the dimension of z.
        shape: ``(channel, height, width)``, sides of at least 8.
        width: channels of every block.
        classes: number of classes, as a one-hot input in addition to z; 0 for none.
        unit: whether data lie in [0, 1]; otherwise they are unbounded.
    """

    def __init__(self, latent: int, shape: Sequence[int], width: int = 64, classes: int = 0, unit: bool = True) -> None:
        super().__init__()
        self.classes = classes
        channels, height, side = image_shape(shape)
        smallest, *sizes = halved_sizes(height, side)[::-1]
        start = (width, *smallest)
        self.layers = nn.Sequential(
            nn.Linear(latent + classes, prod(start)),
            nn.Unflatten(1, start),
            *(UpBlock(width, width, size) for size in sizes),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, channels, 3, padding=1),
            OutputRange(unit),
        )

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate."""
        if self.classes:
            z = torch.cat([z, one_hot(y, self.classes).to(z)], 1)
        x: Tensor = at_least_float32(self.layers(z))
        return x


class ResCritic(nn.Module):
    """``x (batch, *shape), y (batch,) -> score (batch,)``, with the label by projection.

    ``score = wᵀ φ(x) + e_yᵀ φ(x)``: Miyato and Koyama, "cGANs with projection discriminator", ICLR 2018.

    Args:
        shape: ``(channel, height, width)``, sides of at least 8.
        width: channels of every block.
        classes: number of classes, each with an embedding e; 0 for none.
        unit: whether data lie in [0, 1]; they are then scaled to [-1, 1].
    """

    def __init__(self, shape: Sequence[int], width: int = 64, classes: int = 0, unit: bool = True) -> None:
        super().__init__()
        self.classes, self.unit = classes, unit
        channels, height, side = image_shape(shape)
        count = len(halved_sizes(height, side)) - 1
        self.blocks = nn.Sequential(*(DownBlock(width if i else channels, width, not i) for i in range(count)))
        self.linear = nn.Linear(width, 1)
        self.embedding = nn.Embedding(classes, width) if classes else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score."""
        phi = self._phi(x)
        score: Tensor = self.linear(phi).squeeze(1)
        if self.embedding is not None:
            score = score + (self.embedding(require_labels(y)) * phi).sum(1)
        return at_least_float32(score)

    def features(self, x: Tensor) -> Tensor:
        """φ(x), ``(batch, width)``; it does not depend on the label."""
        return at_least_float32(self._phi(x))

    def _phi(self, x: Tensor) -> Tensor:
        phi: Tensor = self.blocks(2 * x - 1 if self.unit else x).relu().sum((2, 3))
        return phi


class ResGAN(Adversarial):
    """A residual generator and critic, for images of any size from 8 × 8.

    Args:
        shape: ``(channel, height, width)``.
        latent: the dimension of z.
        width: channels of every block.
        classes: number of classes, on which both networks are conditioned; 0 for an unconditional model.
        unit: whether data lie in [0, 1]; otherwise they are unbounded.

    Raises:
        ConfigError: for images smaller than 8 × 8.
    """

    def __init__(
        self, shape: Sequence[int], latent: int = 64, width: int = 64, classes: int = 0, unit: bool = True
    ) -> None:
        generator = ResGenerator(latent, shape, width, classes, unit)
        super().__init__(generator, ResCritic(shape, width, classes, unit), latent, classes)
        self.shape = tuple(shape)
