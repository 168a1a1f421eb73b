"""PixelCNN: the chain rule over the pixels of an image, with conditionals computed by masked convolutions.

    p(x) = Π_i p(x_i | pixels above, and to the left in the same row)

Van den Oord et al., "Conditional image generation with PixelCNN decoders", NeurIPS 2016. The vertical
stack has all rows above in its receptive field, the horizontal stack the pixels to the left and, through the vertical
one, the rows above; together they have no blind spot. A linear map of the features of y is added to the input of every
gate.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError
from pyrogen.explicit.autoregressive import AutoregressiveDensity
from pyrogen.explicit.likelihoods import Likelihood
from pyrogen.nn.conditions import Condition, feature_count

FIRST_KERNEL = 7
"""The kernel size of the first layer."""


class CausalConv(nn.Conv2d):
    """A causal convolution: the half of a square kernel that lies above the current value, or to its left.

    Feature f belongs to image channel ``f % channels``. At the current pixel, the features of a channel depend on those
    of the preceding channels, and of the same channel unless ``strict``.

    Args:
        inputs, outputs: numbers of features.
        kernel: the kernel size, odd.
        rows: ``above`` for the rows down to the current one, ``left`` for the current row up to the current value.
        channels: channels of the image.
        strict: whether the current row (``above``) or value (``left``) is masked.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, rows: str, channels: int, strict: bool = False) -> None:
        reach = kernel // 2
        super().__init__(inputs, outputs, (reach + 1, kernel) if rows == "above" else (1, reach + 1))
        self.margin = (reach, reach, reach, 0) if rows == "above" else (reach, 0, 0, 0)
        mask = torch.ones_like(self.weight)
        if rows == "above":
            mask[:, :, -1] = not strict
        else:
            to, of = torch.arange(outputs)[:, None] % channels, torch.arange(inputs) % channels
            mask[:, :, 0, -1] = to > of if strict else to >= of
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; height and width are preserved."""
        return F.conv2d(F.pad(x, self.margin), self.weight * self.mask, self.bias)


class GatedLayer(nn.Module):
    """Gated activation ``tanh(a) σ(b)`` in both stacks; the horizontal stack has a residual connection.

    Args:
        inputs, width: numbers of input and output features, multiples of ``channels``.
        kernel: the kernel size.
        channels: channels of the image.
        first: whether the input is the image; then the current value is masked, and there is no residual connection.
        context: number of side-information features.
    """

    def __init__(
        self, inputs: int, width: int, kernel: int, channels: int, first: bool = False, context: int = 0
    ) -> None:
        super().__init__()
        self.condition_map = nn.Linear(context, 4 * width, bias=False) if context else None
        self.first = first
        self.vertical = CausalConv(inputs, 2 * width, kernel, "above", channels, first)
        self.horizontal = CausalConv(inputs, 2 * width, kernel, "left", channels, first)
        self.across = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = CausalConv(width, width, 1, "left", channels)

    def forward(self, v: Tensor, h: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The features of both stacks."""
        above = self.vertical(v)
        left = self.horizontal(h) + self.across(above)
        if self.condition_map is not None:
            to_above, to_left = self.condition_map(c)[:, :, None, None].chunk(2, 1)
            above, left = above + to_above, left + to_left
        made = self.out(_gate(left))
        return _gate(above), made if self.first else h + made


def _gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    return a.tanh() * b.sigmoid()


class GatedStack(nn.Module):
    """Gated layers and a head that computes the parameters of all conditionals.

    Args:
        channels: channels of the image.
        width: features per layer, a multiple of ``channels``.
        layers: number of layers; the first has a 7 x 7 kernel, the others ``kernel`` x ``kernel``.
        kernel: the kernel size, odd.
        outputs: parameters per value.
        context: number of side-information features.
    """

    def __init__(self, channels: int, width: int, layers: int, kernel: int, outputs: int, context: int = 0) -> None:
        super().__init__()
        first = GatedLayer(channels, width, FIRST_KERNEL, channels, first=True, context=context)
        others = (GatedLayer(width, width, kernel, channels, context=context) for _ in range(layers - 1))
        self.layers = nn.ModuleList([first, *others])
        self.head = nn.Sequential(
            CausalConv(width, width, 1, "left", channels),
            nn.SiLU(),
            CausalConv(width, outputs * channels, 1, "left", channels),
        )
        self.radius = FIRST_KERNEL // 2 + (layers - 1) * (kernel // 2)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """``x (batch, channel, height, width), c (batch, context) -> h (batch, outputs * channel, height, width)``."""
        v = h = x
        for layer in self.layers:
            v, h = layer(v, h, c)
        made: Tensor = self.head(F.silu(h))
        return made

    def at(self, x: Tensor, i: int, j: int, c: Tensor | None = None) -> Tensor:
        """The parameters of pixel (i, j) alone, ``(batch, outputs * channel, 1, 1)``, from its receptive field."""
        top, left = max(i - self.radius, 0), max(j - self.radius, 0)
        window = x[:, :, top : i + 1, left : j + self.radius + 1]
        return self(window, c)[:, :, i - top, j - left, None, None]


class PixelCNN(AutoregressiveDensity):
    """A gated PixelCNN; the channels of a pixel are ordered, and each depends on those before it.

    Args:
        shape: ``(channel, height, width)``.
        width: features per layer, rounded up to a multiple of the channels.
        layers: number of gated layers.
        likelihood: p(x_i | h_i) of one value.
        kernel: kernel size of all layers but the first, odd.
        mean, scale, condition: as in ``AutoregressiveDensity``.

    Raises:
        ConfigError: if ``shape`` is not that of an image, ``layers`` is less than 1 or ``kernel`` is even.
    """

    network: GatedStack

    def __init__(
        self,
        shape: Sequence[int],
        width: int,
        layers: int,
        likelihood: Likelihood,
        kernel: int = 3,
        mean: Tensor | None = None,
        scale: Tensor | None = None,
        condition: Condition | None = None,
    ) -> None:
        if len(shape) != 3:
            raise ConfigError(f"pixelcnn needs images (channel, height, width); got data of shape {tuple(shape)}")
        if layers < 1 or kernel < 1 or kernel % 2 == 0:
            raise ConfigError(f"pixelcnn needs layers >= 1 and an odd kernel; got {layers} and {kernel}")
        channels = shape[0]
        width, context = -(-width // channels) * channels, feature_count(condition)
        network = GatedStack(channels, width, layers, kernel, likelihood.outputs, context)
        super().__init__(shape, likelihood, network, mean, scale, condition)

    @property
    def places(self) -> list[tuple[int, ...]]:
        """The indices of the values in the order of the conditionals: the channels of a pixel come last."""
        channels, high, wide = self.shape
        return [(c, i, j) for i, j, c in product(range(high), range(wide), range(channels))]

    def conditional(self, x: Tensor, place: tuple[int, ...], c: Tensor | None) -> tuple[Any, int]:
        """The conditional of one value."""
        channel, i, j = place
        return self.likelihood(self.network.at((x - self.mean) / self.scale, i, j, c)), channel
