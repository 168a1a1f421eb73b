"""Multilayer perceptrons."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    activation: Callable[[], nn.Module] = nn.SiLU,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Fully connected layers ``inputs -> hidden… -> outputs``, linear at the end.

    Args:
        inputs, outputs: the widths at both ends.
        hidden: the widths between; none makes one linear map.
        activation: the nonlinearity after each hidden layer.
        dropout: the share of hidden units dropped while training.
    """
    layers: list[nn.Module] = []
    for narrow, wide in pairwise((inputs, *hidden)):
        layers += [nn.Linear(narrow, wide), activation()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear((inputs, *hidden)[-1], outputs))
