"""PixelCNN: the chain rule over the pixels of an image, each factor given by masked convolutions.

    p(x) = Π_i p(x_i | the pixels above, and to the left in the same row)

Van den Oord et al., "Conditional image generation with PixelCNN decoders", NeurIPS 2016. Two stacks share the work: the
vertical one sees all rows above, the horizontal one the row so far and, through the vertical one, the rest; together
they have no blind spot. Features of side information y are added to what goes into every gate.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigError
from pyrogen.explicit.autoregressive import AutoregressiveDensity
from pyrogen.explicit.likelihoods import Likelihood
from pyrogen.nn.conditions import Condition

FIRST_KERNEL = 7
"""The side of the first layer's view."""


class CausalConv(nn.Conv2d):
    """A convolution over what comes before a value: the half of a square kernel that is above it, or to its left.

    Channels of an image, and the features made of them, come in turns: number f belongs to channel ``f % channels``. At
    the present pixel, features of a channel see the channels before it, and their own unless ``strict``.

    Args:
        inputs, outputs: features.
        kernel: the side of the square, odd.
        rows: ``above`` for the rows down to the present one, ``left`` for the present row up to the present value.
        channels: of the image.
        strict: whether the present row (``above``) or value (``left``) is hidden.
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
            seeing, seen = torch.arange(outputs)[:, None] % channels, torch.arange(inputs) % channels
            mask[:, :, 0, -1] = seeing > seen if strict else seeing >= seen
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The same height and width."""
        return F.conv2d(F.pad(x, self.margin), self.weight * self.mask, self.bias)


class GatedLayer(nn.Module):
    """``tanh(a) σ(b)`` in both stacks, the horizontal one with a residual connection.

    Args:
        inputs, width: features on the way in and out, multiples of ``channels``.
        kernel: the side of the convolutions.
        channels: of the image.
        first: whether the input is the image, of which the present value is hidden.
        context: how many features of side information there are.
    """

    def __init__(
        self, inputs: int, width: int, kernel: int, channels: int, first: bool = False, context: int = 0
    ) -> None:
        super().__init__()
        self.given = nn.Linear(context, 4 * width, bias=False) if context else None
        self.first = first
        self.vertical = CausalConv(inputs, 2 * width, kernel, "above", channels, first)
        self.horizontal = CausalConv(inputs, 2 * width, kernel, "left", channels, first)
        self.across = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = CausalConv(width, width, 1, "left", channels)

    def forward(self, v: Tensor, h: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The features of both stacks."""
        above = self.vertical(v)
        left = self.horizontal(h) + self.across(above)
        if self.given is not None:
            to_above, to_left = self.given(c)[:, :, None, None].chunk(2, 1)
            above, left = above + to_above, left + to_left
        made = self.out(_gate(left))
        return _gate(above), made if self.first else h + made


def _gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    return a.tanh() * b.sigmoid()


class GatedStack(nn.Module):
    """Gated layers, and a head that gives the parameters of every conditional.

    Args:
        channels: of the image.
        width: channels per layer, a multiple of ``channels``.
        layers: how many; the first looks at 7 x 7 pixels, the others at ``kernel`` x ``kernel``.
        kernel: their side, odd.
        outputs: numbers wanted for each value.
        context: how many features of side information there are.
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
        """``(batch, channel, height, width)``, with features ``(batch, context)``, to ``outputs * channel`` of them."""
        v = h = x
        for layer in self.layers:
            v, h = layer(v, h, c)
        made: Tensor = self.head(F.silu(h))
        return made

    def at(self, x: Tensor, i: int, j: int, c: Tensor | None = None) -> Tensor:
        """The same for pixel (i, j) alone, ``(batch, outputs * channel, 1, 1)``, from the pixels within its sight."""
        top, left = max(i - self.radius, 0), max(j - self.radius, 0)
        seen = x[:, :, top : i + 1, left : j + self.radius + 1]
        return self(seen, c)[:, :, i - top, j - left, None, None]


class PixelCNN(AutoregressiveDensity):
    """A gated PixelCNN; colours follow each other within a pixel.

    Args:
        shape: ``(channel, height, width)``.
        width: channels per layer, rounded up to a multiple of the channels.
        layers: how many gated layers.
        likelihood: p(x_i | h_i) of one value.
        kernel: an odd side.
        mean, scale, condition: as in ``AutoregressiveDensity``.

    Raises:
        ConfigError: for what is no image, no layer or an even kernel.
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
        width, context = -(-width // channels) * channels, 0 if condition is None else condition.features
        network = GatedStack(channels, width, layers, kernel, likelihood.outputs, context)
        super().__init__(shape, likelihood, network, mean, scale, condition)

    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        """Value after value from the same conditionals."""
        given = self.condition_features(y)
        channels, high, wide = self.shape
        x = self.mean.repeat(n, 1, 1, 1)
        for i in range(high):
            for j in range(wide):
                for c in range(channels):
                    h = self.network.at((x - self.mean) / self.scale, i, j, given)
                    drawn = self.likelihood(h).sample()[:, c, 0, 0]
                    x[:, c, i, j] = self.mean[c, i, j] + self.scale[c, i, j] * drawn if self.free else drawn
        return x
