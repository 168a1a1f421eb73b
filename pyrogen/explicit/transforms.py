"""Invertible maps from data to noise.

Each has ``forward(x, c=None) -> (z, log |det dz/dx|)``, the latter in nats, ``(batch,)``, and
``inverse(z, c=None) -> x``, where c are the side-information features, ``(batch, context)``, of maps whose network
takes them.
"""

from collections.abc import Iterable
from math import log, prod
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pyrogen.nn.masked import MaskedMLP
from pyrogen.nn.mlp import compress_tails


class Elementwise(Protocol):
    """An invertible elementwise map with ``outputs`` parameters per value, ``h (batch, outputs, *event)``."""

    outputs: int

    def forward(self, x: Tensor, h: Tensor, /) -> tuple[Tensor, Tensor]:
        """Map to z; return z and log dz/dx, both of the shape of x."""
        ...

    def inverse(self, z: Tensor, h: Tensor, /) -> Tensor:
        """The x that ``forward`` maps to z, of the shape of z."""
        ...


class Affine:
    """``z = (x - t) exp(-s)``, with s within ±5; without ``scale``, the volume-preserving ``z = x - t``."""

    def __init__(self, scale: bool = True) -> None:
        self.outputs = 1 + scale

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Map to z; return z and log dz/dx."""
        s = self._log_scale(h)
        return (x - h[:, 0]) * (-s).exp(), (-s).expand_as(x)

    def inverse(self, z: Tensor, h: Tensor) -> Tensor:
        """``x = z exp(s) + t``."""
        return z * self._log_scale(h).exp() + h[:, 0]

    def _log_scale(self, h: Tensor) -> Tensor:
        return 5 * (h[:, 1] / 5).tanh() if self.outputs == 2 else torch.zeros_like(h[:, 0])


class Chain(nn.Module):
    """The composition of maps, applied in order."""

    def __init__(self, steps: Iterable[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z, and the sum of the log-determinants."""
        total = x.new_zeros(x.shape[0])
        for step in self.steps:
            x, log_det = step(x, c)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Apply the inverse maps in reverse order."""
        for step in reversed(self.steps):
            undo: Any = step.inverse
            z = undo(z, c)
        return z


class Standardise(nn.Module):
    """``z = (x - mean) / scale``, fixed."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", scale.clone())

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Standardise."""
        return (x - self.mean) / self.scale, -self.scale.log().sum().expand(x.shape[0])

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Map back to data units."""
        return z * self.scale + self.mean


class Logit(nn.Module):
    """``z = logit(λ + (1 - 2 λ) x)`` for data on [0, 1]."""

    def __init__(self, squeeze: float = 0.01) -> None:
        super().__init__()
        self.squeeze = squeeze

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map [0, 1] to the real line."""
        p = self.squeeze + (1 - 2 * self.squeeze) * x
        log_det = log(1 - 2 * self.squeeze) - p.log() - (1 - p).log()
        return torch.logit(p), log_det.flatten(1).sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Map the real line to the interval (-λ, 1 + λ), approximately."""
        return (torch.sigmoid(z) - self.squeeze) / (1 - 2 * self.squeeze)


class Flatten(nn.Module):
    """Flatten each datum to a vector."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(batch, d)``."""
        return x.flatten(1), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """``(batch, *shape)``."""
        return z.view(z.shape[0], *self.shape)


class Reverse(nn.Module):
    """Reverse the order of the dimensions."""

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reverse."""
        return x.flip(1), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Reverse again."""
        return z.flip(1)


class Coupling(nn.Module):
    """An affine or other elementwise coupling layer, ``z = mask ∘ x + (1 - mask) ∘ f(x; net(mask ∘ x))``.

    Density and inverse both take one pass of the network.

    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017.

    Args:
        mask: zeros and ones of the shape of one datum.
        net: ``(batch, channel, …)`` to ``map.outputs`` times as many channels; side-information features are
            additional input channels.
        map: the elementwise map f.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, net: nn.Module, map: Elementwise) -> None:
        super().__init__()
        self.register_buffer("mask", mask.bool(), persistent=False)
        self.net, self.map = net, map

    def _parameters_for(self, x: Tensor, c: Tensor | None) -> Tensor:
        inputs = (compress_tails(x) if x.ndim == 2 else x) * self.mask
        if c is not None:
            inputs = torch.cat([inputs, c.view(*c.shape, *(1,) * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])], 1)
        h = self.net(inputs).to(x.dtype)  # the network may run in mixed precision
        return h.view(x.shape[0], self.map.outputs, *x.shape[1:])

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z, and the sum of the log-slopes of the transformed values."""
        z, log_slope = self.map.forward(x, self._parameters_for(x, c))
        return torch.where(self.mask, x, z), torch.where(self.mask, 0.0, log_slope).flatten(1).sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Invert the elementwise map, with parameters from the unchanged values."""
        return torch.where(self.mask, z, self.map.inverse(z, self._parameters_for(z, c)))


class Autoregressive(nn.Module):
    """``z_i = f(x_i; net(x_1 … x_{i-1}))``: one pass of the network for the density, d for the inverse.

    Papamakarios, Pavlakou and Murray, "Masked autoregressive flow for density estimation", NeurIPS 2017.

    Args:
        net: an autoregressive network with ``map.outputs`` outputs per dimension.
        map: the elementwise map f.
    """

    def __init__(self, net: MaskedMLP, map: Elementwise) -> None:
        super().__init__()
        self.net, self.map = net, map

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z, and the sum of the log-slopes."""
        z, log_slope = self.map.forward(x, self.net(x, c).to(x.dtype))
        return z, log_slope.sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Invert dimension by dimension."""
        x = torch.zeros_like(z)
        for i in range(z.shape[1]):
            column = self.map.inverse(z[:, i : i + 1], self.net.at(x, i, c))
            x = x.clone() if torch.is_grad_enabled() else x  # what a gradient needs is not overwritten
            x[:, i : i + 1] = column
        return x


class Squeeze(nn.Module):
    """Rearrange blocks of 2 x 2 pixels into channels, ``(c, h, w) -> (4 c, h / 2, w / 2)``."""

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rearrange pixels into channels."""
        return nn.functional.pixel_unshuffle(x, 2), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Rearrange channels into pixels."""
        return nn.functional.pixel_shuffle(z, 2)


class FactorOut(nn.Module):
    """Factor out half of the channels as noise and map the other half by ``inner``, to vectors ``(batch, d)``.

    Args:
        shape: the shape of one input, with an even number of channels.
        inner: maps ``(channel / 2, height, width)`` to vectors.
    """

    def __init__(self, shape: tuple[int, int, int], inner: nn.Module) -> None:
        super().__init__()
        self.factored_shape = (shape[0] // 2, shape[1], shape[2])
        self.inner = inner

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Concatenate the inner noise and the factored-out channels."""
        first, factored = x.chunk(2, 1)
        z, log_det = self.inner(first, c)
        return torch.cat([z, factored.flatten(1)], 1), log_det

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Split, and invert the inner half."""
        first, factored = z.split([z.shape[1] - prod(self.factored_shape), prod(self.factored_shape)], 1)
        undo: Any = self.inner.inverse
        return torch.cat([undo(first, c), factored.view(z.shape[0], *self.factored_shape)], 1)
