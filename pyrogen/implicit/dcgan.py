"""The deep convolutional GAN.

The critic has strided convolutions, the generator transposed ones, without pooling; BatchNorm follows every layer but
the generator's output and the critic's input; activations are ReLU in the generator, with tanh at the output, and
LeakyReLU in the critic. Radford, Metz and Chintala, ICLR 2016.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyrogen.implicit.base import Adversarial, OutputRange, one_hot
from pyrogen.nn.conv import ConvDown, ConvUp, dcgan_init, halved_sizes, image_shape
from pyrogen.nn.precision import at_least_float32


def default_layers(shape: Sequence[int]) -> int:
    """The default number of strided convolutions: until the smaller side is below 8 pixels, and at least 2.

    With a single one, the critic would be a sum of scores of small patches, regardless of their arrangement.
    """
    _, height, width = image_shape(shape)
    return max(len(halved_sizes(height, width)) - 1, 2)


class ConvGenerator(nn.Module):
    """``z (batch, latent), y (batch,) -> x (batch, *shape)`` by transposed convolutions.

    Args:
        latent: the dimension of z.
        shape: ``(channel, height, width)``, sides of at least 8.
        width: channels before the last layer.
        classes: number of classes, as a one-hot input in addition to z; 0 for none.
        unit: whether data lie in [0, 1]; otherwise they are unbounded.
        layers: number of transposed convolutions; 0 for the default of ``default_layers``.
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        width: int = 32,
        classes: int = 0,
        unit: bool = True,
        layers: int = 0,
    ) -> None:
        super().__init__()
        self.classes = classes
        up = ConvUp(latent + classes, shape, width, nn.ReLU, "batch", layers or default_layers(shape))
        self.layers = nn.Sequential(up, OutputRange(unit))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate."""
        if self.classes:
            z = torch.cat([z, one_hot(y, self.classes).to(z)], 1)
        x: Tensor = at_least_float32(self.layers(z))
        return x


class ConvCritic(nn.Module):
    """``x (batch, *shape), y (batch,) -> score (batch,)`` by strided convolutions.

    Args:
        shape: ``(channel, height, width)``, sides of at least 8.
        width: channels after the first layer.
        classes: number of classes, as one-hot channels in addition to those of x; 0 for none.
        norm: normalisation after every convolution but the first, one of ``NORMS``; a gradient penalty needs ``layer``
            or ``none``, because with ``batch`` a score depends on the other rows.
        unit: whether data lie in [0, 1]; they are then scaled to [-1, 1].
        layers: number of convolutions; 0 for the default of ``default_layers``.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 32,
        classes: int = 0,
        norm: str = "batch",
        unit: bool = True,
        layers: int = 0,
    ) -> None:
        super().__init__()
        self.classes, self.unit = classes, unit
        planes = (shape[0] + classes, *shape[1:])
        self.layers = ConvDown(planes, 1, width, lambda: nn.LeakyReLU(0.2), norm, layers or default_layers(shape))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score."""
        score: Tensor = at_least_float32(self.layers(self._inputs(x, y))).squeeze(1)
        return score

    def features(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The output of the last convolution, flattened: ``(batch, channels · height · width)``."""
        h = self._inputs(x, y)
        for layer in list(self.layers)[:-1]:
            h = layer(h)
        return at_least_float32(h)

    def _inputs(self, x: Tensor, y: Tensor | None) -> Tensor:
        x = 2 * x - 1 if self.unit else x
        if not self.classes:
            return x
        planes = one_hot(y, self.classes).to(x)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return torch.cat([x, planes], 1)


class DCGAN(Adversarial):
    """A convolutional generator and discriminator, for images of any size from 8 × 8.

    Args:
        shape: ``(channel, height, width)``.
        latent: the dimension of z.
        width: channels at the image side; they double at each halving of the size.
        classes: number of classes, on which both networks are conditioned; 0 for an unconditional model.
        unit: whether data lie in [0, 1]; otherwise they are unbounded.
        n_binary: number of coordinates of z that are -1 or 1.
        norm: normalisation of the critic: ``batch``, ``layer`` or ``none``.
        layers: number of convolutions of each network; 0 for the default of ``default_layers``.

    Raises:
        ConfigError: for images smaller than 8 × 8 or too small for ``layers``, or an unknown norm.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 64,
        width: int = 32,
        classes: int = 0,
        unit: bool = True,
        n_binary: int = 0,
        norm: str = "batch",
        layers: int = 0,
    ) -> None:
        generator = ConvGenerator(latent, shape, width, classes, unit, layers)
        critic = ConvCritic(shape, width, classes, norm, unit, layers)
        super().__init__(generator.apply(dcgan_init), critic.apply(dcgan_init), latent, classes, n_binary)
        self.shape = tuple(shape)
