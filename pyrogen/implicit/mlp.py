"""Fully connected generator and critic, for vectors and small images."""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor, nn

from pyrogen.implicit.base import OutputRange, one_hot
from pyrogen.nn.mlp import mlp
from pyrogen.nn.precision import at_least_float32


class MLPGenerator(nn.Module):
    """``z (batch, latent), y (batch,) -> x (batch, *shape)``.

    Args:
        latent: the dimension of z.
        shape: the shape of one datum.
        hidden: the widths of the hidden layers.
        unit: whether data lie in [0, 1]; otherwise they are unbounded.
        activation: the nonlinearity after each hidden layer.
        classes: number of classes, as a one-hot input in addition to z; 0 for none: labels are then ignored.
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        hidden: Sequence[int],
        unit: bool,
        activation: Callable[[], nn.Module] = nn.ReLU,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.classes = classes
        layers = mlp(latent + classes, hidden, prod(shape), activation)
        self.layers = nn.Sequential(layers, nn.Unflatten(1, tuple(shape)), OutputRange(unit))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate."""
        if self.classes:
            z = torch.cat([z, one_hot(y, self.classes).to(z)], 1)
        x: Tensor = at_least_float32(self.layers(z))
        return x


class MLPCritic(nn.Module):
    """``x (batch, *shape), y (batch,) -> score (batch,)``, without a sigmoid.

    Args:
        shape: the shape of one datum.
        hidden: the widths of the hidden layers.
        activation: the nonlinearity after each hidden layer.
        classes: number of classes, as a one-hot input in addition to x; 0 for none: labels are then ignored.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int],
        activation: Callable[[], nn.Module] = lambda: nn.LeakyReLU(0.2),
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.layers = mlp(prod(shape) + classes, hidden, 1, activation)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score."""
        score: Tensor = at_least_float32(self.layers(self._inputs(x, y))).squeeze(1)
        return score

    def features(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The last hidden layer, ``(batch, hidden[-1])``."""
        h = self._inputs(x, y)
        for layer in list(self.layers)[:-1]:
            h = layer(h)
        return at_least_float32(h)

    def _inputs(self, x: Tensor, y: Tensor | None) -> Tensor:
        x = x.flatten(1)
        return torch.cat([x, one_hot(y, self.classes).to(x)], 1) if self.classes else x
