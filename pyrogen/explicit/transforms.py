"""Invertible maps from data to noise.

Each has ``forward(x, c=None) -> (z, log |det dz/dx|)``, the latter in nats, ``(batch,)``, and
``inverse(z, c=None) -> x``, where c are features of side information, ``(batch, context)``, for maps whose network
takes them.
"""

from collections.abc import Iterable
from math import log, prod
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pyrogen.nn.masked import MaskedMLP


class Elementwise(Protocol):
    """An invertible map of each value by itself, under ``h`` of ``outputs`` numbers for it, ``(batch, outputs, …)``."""

    outputs: int

    def forward(self, x: Tensor, h: Tensor, /) -> tuple[Tensor, Tensor]:
        """The image z and log dz/dx, both of the shape of x."""
        ...

    def inverse(self, z: Tensor, h: Tensor, /) -> Tensor:
        """x, the shape of z."""
        ...


class Affine:
    """``z = (x - t) exp(-s)``, with s within ±5; without ``scale``, the volume-preserving ``z = x - t``."""

    def __init__(self, scale: bool = True) -> None:
        self.outputs = 1 + scale

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The image z and log dz/dx."""
        s = self._log_scale(h)
        return (x - h[:, 0]) * (-s).exp(), (-s).expand_as(x)

    def inverse(self, z: Tensor, h: Tensor) -> Tensor:
        """``x = z exp(s) + t``."""
        return z * self._log_scale(h).exp() + h[:, 0]

    def _log_scale(self, h: Tensor) -> Tensor:
        return 5 * (h[:, 1] / 5).tanh() if self.outputs == 2 else torch.zeros_like(h[:, 0])


class Chain(nn.Module):
    """One map after another."""

    def __init__(self, steps: Iterable[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z, and the sum of the log-determinants."""
        total = x.new_zeros(len(x))
        for step in self.steps:
            x, log_det = step(x, c)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Back through the last one first."""
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
        """Zero mean and unit deviation."""
        return (x - self.mean) / self.scale, -self.scale.log().sum().expand(len(x))

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Data units."""
        return z * self.scale + self.mean


class Logit(nn.Module):
    """``z = logit(λ + (1 - 2 λ) x)`` for data on [0, 1]."""

    def __init__(self, squeeze: float = 0.01) -> None:
        super().__init__()
        self.squeeze = squeeze

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The real line."""
        p = self.squeeze + (1 - 2 * self.squeeze) * x
        log_det = log(1 - 2 * self.squeeze) - p.log() - (1 - p).log()
        return torch.logit(p), log_det.flatten(1).sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """[0, 1], and a margin of about λ."""
        return (torch.sigmoid(z) - self.squeeze) / (1 - 2 * self.squeeze)


class Flatten(nn.Module):
    """An image as a vector."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(batch, d)``."""
        return x.flatten(1), x.new_zeros(len(x))

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """``(batch, *shape)``."""
        return z.view(len(z), *self.shape)


class Reverse(nn.Module):
    """The dimensions in the opposite order."""

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The last comes first."""
        return x.flip(1), x.new_zeros(len(x))

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """The same again."""
        return z.flip(1)


class Coupling(nn.Module):
    """Where ``mask`` is one x stays, and says how the rest is mapped: ``z = f(x; net(mask ∘ x))``. Both ways are fast.

    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017.

    Args:
        mask: zeros and ones of the shape of one datum.
        net: ``(batch, channel, …)`` to ``map.outputs`` times as many channels; features of side information are further
            channels of its input.
        map: what happens to each value.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, net: nn.Module, map: Elementwise) -> None:
        super().__init__()
        self.register_buffer("mask", mask.bool(), persistent=False)
        self.net, self.map = net, map

    def _parameters_for(self, x: Tensor, c: Tensor | None) -> Tensor:
        seen = x * self.mask
        if c is not None:
            seen = torch.cat([seen, c.view(*c.shape, *(1,) * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])], 1)
        h = self.net(seen).to(x.dtype)  # out of mixed precision
        return h.view(len(x), self.map.outputs, *x.shape[1:])

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z, and the log-slopes of what moved."""
        z, log_slope = self.map.forward(x, self._parameters_for(x, c))
        return torch.where(self.mask, x, z), torch.where(self.mask, 0.0, log_slope).flatten(1).sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """What stayed says how the rest goes back."""
        return torch.where(self.mask, z, self.map.inverse(z, self._parameters_for(z, c)))


class Autoregressive(nn.Module):
    """``z_i = f(x_i; net(x_1 … x_{i-1}))``: one pass for the density, d passes for the inverse.

    Papamakarios, Pavlakou and Murray, "Masked autoregressive flow for density estimation", NeurIPS 2017.

    Args:
        net: autoregressive, with ``map.outputs`` numbers for each dimension.
        map: what happens to each value.
    """

    def __init__(self, net: MaskedMLP, map: Elementwise) -> None:
        super().__init__()
        self.net, self.map = net, map

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z, and the sum of the log-slopes."""
        z, log_slope = self.map.forward(x, self.net(x, c).to(x.dtype))
        return z, log_slope.sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Dimension after dimension."""
        x = torch.zeros_like(z)
        for i in range(z.shape[1]):
            x[:, i : i + 1] = self.map.inverse(z[:, i : i + 1], self.net.at(x, i, c))
        return x


class Squeeze(nn.Module):
    """Blocks of 2 x 2 pixels become channels: ``(c, h, w) -> (4 c, h / 2, w / 2)``."""

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Fewer pixels, more channels."""
        return nn.functional.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """More pixels, fewer channels."""
        return nn.functional.pixel_shuffle(z, 2)


class FactorOut(nn.Module):
    """Half of the channels are done; ``inner`` maps the others. Gives vectors ``(batch, d)``.

    Args:
        shape: the shape of one input, with an even number of channels.
        inner: maps ``(channel / 2, height, width)`` to vectors.
    """

    def __init__(self, shape: tuple[int, int, int], inner: nn.Module) -> None:
        super().__init__()
        self.kept = (shape[0] // 2, shape[1], shape[2])
        self.inner = inner

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The inner noise, then what was done."""
        first, done = x.chunk(2, 1)
        z, log_det = self.inner(first, c)
        return torch.cat([z, done.flatten(1)], 1), log_det

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Both halves as channels again."""
        first, done = z.split([z.shape[1] - prod(self.kept), prod(self.kept)], 1)
        undo: Any = self.inner.inverse
        return torch.cat([undo(first, c), done.view(len(z), *self.kept)], 1)
