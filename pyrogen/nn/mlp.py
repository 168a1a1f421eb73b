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
