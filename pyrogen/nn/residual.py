"""Residual convolutions that preserve the size of an image."""

from torch import Tensor, nn


class Residual(nn.Module):
    """A residual connection, ``x + f(x)``.

    Args:
        inner: f, which must preserve the shape.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x + f(x)``."""
        return x + self.inner(x)


def residual_conv(inputs: int, width: int, blocks: int, outputs: int) -> nn.Sequential:
    """Build residual blocks of 3 x 3 and 1 x 1 convolutions between two 3 x 3 convolutions, all of stride 1.

    Args:
        inputs, outputs: the channels of input and output.
        width: the channels of the residual blocks.
        blocks: the number of residual blocks.
    """
    inner = [
        Residual(nn.Sequential(nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 1)))
        for _ in range(blocks)
    ]
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1), *inner, nn.SiLU(), nn.Conv2d(width, outputs, 3, padding=1)
    )
