"""Encoders and decoders by the name of their network: fully connected (``mlp``) or convolutional (``conv``)."""

from collections.abc import Callable, Sequence
from math import prod

from torch import nn

from pyrogen.errors import unknown
from pyrogen.nn.conv import ConvDown, ConvUp
from pyrogen.nn.mlp import FlattenData, mlp

NETWORKS = ("mlp", "conv")


def encoder_for(
    network: str,
    shape: Sequence[int],
    outputs: int,
    hidden: Sequence[int],
    activation: Callable[[], nn.Module] = nn.SiLU,
    layers: int = 0,
) -> nn.Module:
    """A network from data ``(batch, *shape)`` to vectors ``(batch, outputs)``.

    Args:
        network: of ``NETWORKS``.
        shape: the shape of one datum.
        outputs: the length of the vector.
        hidden: the widths of the hidden layers; for ``conv``, the first is the number of channels next to the image.
        activation: the nonlinearity after each hidden layer.
        layers: of ``conv``: how many convolutions; 0: until a side is less than 8.

    Raises:
        ConfigError: for an unknown network, or ``conv`` on data that are not images of at least 8 × 8.
    """
    if network == "mlp":
        first = FlattenData() if hidden else nn.Flatten()  # without hidden layers the network is linear
        return nn.Sequential(first, mlp(prod(shape), hidden, outputs, activation))
    if network == "conv":
        return ConvDown(shape, outputs, hidden[0], activation, layers=layers)
    raise unknown("network", network, NETWORKS)


def decoder_for(network: str, inputs: int, shape: Sequence[int], hidden: Sequence[int]) -> nn.Module:
    """The mirror image of ``encoder_for``: vectors ``(batch, inputs)`` to ``(batch, *shape)``, linear at the end.

    Args:
        network: of ``NETWORKS``.
        inputs: the length of the vector.
        shape: the shape of one result.
        hidden: the widths of the encoder's hidden layers, which are taken in the opposite order.

    Raises:
        ConfigError: as ``encoder_for``.
    """
    if network == "mlp":
        return nn.Sequential(mlp(inputs, hidden[::-1], prod(shape)), nn.Unflatten(1, tuple(shape)))
    if network == "conv":
        return ConvUp(inputs, shape, hidden[0])
    raise unknown("network", network, NETWORKS)
