"""Convolutions that keep the size of an image."""

from torch import Tensor, nn


class Residual(nn.Module):
    """``x + f(x)``.

    Args:
        inner: f, which keeps the shape.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return x + self.inner(x)


def residual_conv(inputs: int, width: int, blocks: int, outputs: int) -> nn.Sequential:
    """Residual blocks of 3 x 3 convolutions between two more, all of stride 1.

    Args:
        inputs, outputs: channels at both ends.
        width: channels between.
        blocks: how many residual blocks.
    """
    inner = [
        Residual(nn.Sequential(nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 1)))
        for _ in range(blocks)
    ]
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1), *inner, nn.SiLU(), nn.Conv2d(width, outputs, 3, padding=1)
    )
