"""Multilayer perceptrons."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

TAIL = 5.0
"""Where ``compress_tails`` bends, in standard deviations of the data."""


def compress_tails(x: Tensor) -> Tensor:
    """``x (1 + (x / 5)²)^(-1/4)``: nearly x for standardised data, growing as ``√(5 |x|)`` beyond.

    As the input of a network it bounds how far an outlier reaches: 100 standard deviations become 22.
    """
    return x * (1 + (x / TAIL).square()).sqrt().rsqrt()


class FlattenData(nn.Module):
    """Flatten images, and compress the tails of vectors, which may have outliers: ``(batch, d)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Flatten."""
        return compress_tails(x) if x.ndim == 2 else x.flatten(1)


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    activation: Callable[[], nn.Module] = nn.SiLU,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Build fully connected layers ``inputs -> hidden… -> outputs`` with linear outputs.

    Args:
        inputs, outputs: the dimensions of input and output.
        hidden: the widths of the hidden layers; empty for a single linear layer.
        activation: the nonlinearity after each hidden layer.
        dropout: the dropout probability of hidden units.
    """
    layers: list[nn.Module] = []
    for a, b in pairwise((inputs, *hidden)):
        layers += [nn.Linear(a, b), activation()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear((inputs, *hidden)[-1], outputs))
