"""Fully connected players, for vectors and small images."""

from collections.abc import Callable, Sequence
from math import prod

from torch import Tensor, nn

from pyrogen.implicit.base import Range
from pyrogen.nn.mlp import mlp


class MLPGenerator(nn.Module):
    """``z (batch, latent) -> x (batch, *shape)``."""

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        hidden: Sequence[int],
        unit: bool,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            mlp(latent, hidden, prod(shape), activation), nn.Unflatten(1, tuple(shape)), Range(unit)
        )

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate; labels are accepted and ignored."""
        x: Tensor = self.layers(z).float()
        return x


class MLPCritic(nn.Module):
    """``x (batch, *shape) -> score (batch,)``, without a sigmoid."""

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int],
        activation: Callable[[], nn.Module] = lambda: nn.LeakyReLU(0.2),
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), mlp(prod(shape), hidden, 1, activation))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score; labels are accepted and ignored."""
        score: Tensor = self.layers(x).float().squeeze(1)
        return score
