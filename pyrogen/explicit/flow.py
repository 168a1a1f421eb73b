"""Normalising flows: an invertible map of base noise.

z ~ base    x = f⁻¹(z)    log p(x) = log base(f(x)) + log |det df/dx|

In a conditional flow f depends on side information y: the networks of its coupling and autoregressive layers take the
features of y as further inputs.
"""

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigError
from pyrogen.explicit.tractable_density import TractableDensity
from pyrogen.explicit.transforms import (
    Affine,
    Autoregressive,
    Chain,
    Coupling,
    Elementwise,
    FactorOut,
    Flatten,
    Reverse,
    Squeeze,
)
from pyrogen.nn.conditions import Condition
from pyrogen.nn.masked import MaskedMLP
from pyrogen.nn.mlp import mlp
from pyrogen.nn.noise import NormalNoise
from pyrogen.nn.residual import residual_conv


class Flow(TractableDensity):
    """A normalising flow.

    Args:
        shape: the shape of one datum.
        transforms: maps of ``pyrogen.explicit.transforms``, from data to noise vectors ``(batch, d)``.
        base: the density of the noise vectors; a standard normal by default. A conditional base also receives y.
        condition: the kind of side information y, for maps built with ``context=condition.features``.
    """

    probability = "density"

    def __init__(
        self,
        shape: Sequence[int],
        transforms: Iterable[nn.Module],
        base: nn.Module | None = None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition)
        self.shape = tuple(shape)
        self.chain = Chain(transforms)
        self.base: Any = base or NormalNoise(prod(self.shape))

    def _log_prob(self, x: Tensor, y: Tensor | None) -> Tensor:
        z, log_det = self.chain(x, self.condition_features(y))
        log_prob: Tensor = self.base.log_prob(z, *self._for_base(y)) + log_det
        return log_prob

    def _draw(self, n: int, y: Tensor | None) -> Tensor:
        return self.chain.inverse(self.base.sample(n, *self._for_base(y)), self.condition_features(y))

    def _for_base(self, y: Tensor | None) -> tuple[Tensor, ...]:
        return () if y is None or getattr(self.base, "condition", None) is None else (y,)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The noise z of data, ``(batch, d)``."""
        z: Tensor = self.chain(x, self.condition_features(self.side(x.shape[0], y)))[0]
        return z

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The data of noise z, ``(batch, *shape)``."""
        return self.chain.inverse(z, self.condition_features(self.side(z.shape[0], y)))


def autoregressive(
    shape: Sequence[int], layers: int, hidden: Sequence[int], map: Elementwise | None = None, context: int = 0
) -> list[nn.Module]:
    """Masked autoregressive layers over the flattened data; the order of the dimensions is reversed between layers.

    Args:
        shape: the shape of one datum.
        layers: number of layers.
        hidden: widths of the hidden layers of each network.
        map: the elementwise map; affine by default.
        context: number of side-information features that each network takes.
    """
    map, dims = map or Affine(), prod(shape)
    chain: list[nn.Module] = [Flatten(tuple(shape))]
    for i in range(layers):
        net = MaskedMLP(dims, hidden, map.outputs, context=context)
        _initialise_identity(net.head)
        chain += [*([Reverse()] if i else []), Autoregressive(net, map)]
    return chain


def coupling(
    shape: Sequence[int], layers: int, hidden: Sequence[int], map: Elementwise | None = None, context: int = 0
) -> list[nn.Module]:
    """Coupling layers over the flattened data, which transform the even and the odd dimensions alternately.

    Args:
        shape: the shape of one datum, of at least two values.
        layers: number of layers.
        hidden: widths of the hidden layers of each network.
        map: the elementwise map; affine by default.
        context: number of side-information features that each network takes.

    Raises:
        ConfigError: if data have fewer than two values.
    """
    map, dims = map or Affine(), prod(shape)
    if dims < 2:
        raise ConfigError("coupling layers need data of at least 2 values; got 1")
    chain: list[nn.Module] = [Flatten(tuple(shape))]
    for i in range(layers):
        net = mlp(dims + context, hidden, map.outputs * dims)
        _initialise_identity(net[-1])
        chain.append(Coupling(torch.arange(dims) % 2 == i % 2, net, map))
    return chain


def multiscale(
    shape: Sequence[int],
    layers: int,
    width: int,
    blocks: int = 2,
    map: Elementwise | None = None,
    context: int = 0,
) -> list[nn.Module]:
    """Convolutional coupling layers at several scales, as in Real NVP.

    Each scale has ``layers`` layers with checkerboard masks. While height and width are even and at least 4, a squeeze
    and ``layers`` layers with channel masks follow, and half of the channels are factored out.

    Args:
        shape: ``(channel, height, width)``.
        layers: number of layers for each mask type at each scale.
        width: channels of each network.
        blocks: residual blocks of each network.
        map: the elementwise map; affine by default.
        context: number of side-information features that each network takes.
    """
    map = map or Affine()
    channels, high, wide = shape

    def couplings(mask: Tensor) -> list[nn.Module]:
        maps: list[nn.Module] = []
        for i in range(layers):
            net = residual_conv(len(mask) + context, width, blocks, map.outputs * len(mask))
            _initialise_identity(net[-1])
            maps.append(Coupling(mask ^ bool(i % 2), net, map))
        return maps

    checkerboard = (torch.arange(high)[:, None] + torch.arange(wide)) % 2 == 0
    chain = couplings(checkerboard.expand(channels, high, wide))
    if high % 2 or wide % 2 or min(high, wide) < 4:
        return [*chain, Flatten((channels, high, wide))]
    small = (4 * channels, high // 2, wide // 2)
    by_channel = (torch.arange(small[0]) % 2 == 0)[:, None, None].expand(small)
    inner = Chain(multiscale((small[0] // 2, *small[1:]), layers, width, blocks, map, context))
    return [*chain, Squeeze(), *couplings(by_channel), FactorOut(small, inner)]


def _initialise_identity(layer: Any) -> None:
    nn.init.normal_(layer.weight, std=1e-3)
    nn.init.zeros_(layer.bias)
